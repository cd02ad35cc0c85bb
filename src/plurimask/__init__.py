"""Probabilistic segmentation of ambiguous images: many plausible masks, how likely each is, and where they disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plurimask.version import __version__

if TYPE_CHECKING:
    from plurimask.data import open_data
    from plurimask.distribution import IGNORE, MixtureSegmentation, SegmentationDistribution
    from plurimask.method import Loss, SegmentationMethod
    from plurimask.methods import METHODS, build_method
    from plurimask.nn.moments import Moments, Propagation, calibrate_moments, moment_network
    from plurimask.runs.load import load, load_pretrained, load_run
    from plurimask.runs.plan import Plan
    from plurimask.runs.train import train_run
    from plurimask.training.config import Hardware

_HOMES = {
    "IGNORE": "distribution",
    "Hardware": "training.config",
    "METHODS": "methods",
    "Loss": "method",
    "MixtureSegmentation": "distribution",
    "Moments": "nn.moments",
    "Plan": "runs.plan",
    "Propagation": "nn.moments",
    "SegmentationDistribution": "distribution",
    "SegmentationMethod": "method",
    "build_method": "methods",
    "calibrate_moments": "nn.moments",
    "load": "runs.load",
    "load_pretrained": "runs.load",
    "load_run": "runs.load",
    "moment_network": "nn.moments",
    "open_data": "data",
    "train_run": "runs.train",
}

__all__ = [
    "IGNORE",
    "METHODS",
    "Hardware",
    "Loss",
    "MixtureSegmentation",
    "Moments",
    "Plan",
    "Propagation",
    "SegmentationDistribution",
    "SegmentationMethod",
    "__version__",
    "build_method",
    "calibrate_moments",
    "load",
    "load_pretrained",
    "load_run",
    "moment_network",
    "open_data",
    "train_run",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `plurimask --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'plurimask' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"plurimask.{_HOMES[name]}"), name)
