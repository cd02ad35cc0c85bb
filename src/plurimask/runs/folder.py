"""The run folder: the names of what lies in it."""

from __future__ import annotations

RECORD_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.csv"
RUN_FILES = (RECORD_FILE, WEIGHTS_FILE, METRICS_FILE, "checkpoints", "members")
"""All that a training writes: what is removed where a run is replaced."""
