"""Data sets: what they yield, how they are recognised and read, split and summarised."""

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.image_set import ImageSet
from plurimask.data.images import read_image, read_mask
from plurimask.data.source import Place, open_data
from plurimask.data.split import Selection, apply_split, draw_split
from plurimask.data.statistics import channel_statistics
from plurimask.data.unlabelled import open_images

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
