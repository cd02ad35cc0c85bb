"""Data sets: what they yield, how they are recognised and read, split and summarised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.image_set import ImageSet
from plurimask.data.images import read_image, read_mask
from plurimask.data.source import Place, open_data
from plurimask.data.split import Selection, apply_split, draw_split
from plurimask.data.unlabelled import open_images

if TYPE_CHECKING:
    from plurimask.data.statistics import channel_statistics

__all__ = [
    "DataDescription",
    "DataSource",
    "Example",
    "ExampleSet",
    "ImageSet",
    "Place",
    "Selection",
    "apply_split",
    "channel_statistics",
    "draw_split",
    "open_data",
    "open_images",
    "read_image",
    "read_mask",
]


def __getattr__(name: str) -> Any:
    """torch, which takes long to import, waits until pixels are asked for."""
    if name == "channel_statistics":
        from plurimask.data import statistics

        return statistics.channel_statistics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
