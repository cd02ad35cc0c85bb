"""Calls of plurimask as processes of their own, the workers of Dask below them, and what they have written."""

from __future__ import annotations

import os
import subprocess
import sys

from cohorts import tree as tree
from cohorts import workers_of as workers_of


def start(words: list[str]) -> subprocess.Popen[str]:
    """A call that runs; its output is what is said."""
    command = [sys.executable, "-m", "plurimask", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # rounding depends on the number of threads
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
