"""The built-in streets as a tree of Cityscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from plurimask.data import DataSource
from plurimask.data.layouts.cityscapes import ID_ENDING, IMAGE_ENDING, IMAGES, LABEL_IDS, LABELS, REDUCTION

CITYSCAPES_NAMES = {"pavement": "sidewalk", "tree": "vegetation"}
"""What the classes are called there, where the names differ."""


def write_cityscapes(source: DataSource, path: Path) -> None:
    """Save a source in the layout of Cityscapes, four times as large, so that it is read back as it is.

    Args:
        source: as `street_source` gives. "val" goes to the cities that are held out of the official training set, and
            "test" to the official validation set.
        path: a new folder.
    """
    ids = np.zeros(256, np.uint8)  # 0 is "unlabeled"
    for index, name in enumerate(source.description.class_names):
        ids[index] = LABEL_IDS[CITYSCAPES_NAMES.get(name, name)]
    places = {
        "train": ("train", ("aachen", "bochum", "bremen")),
        "val": ("train", ("darmstadt", "monchengladbach", "ulm")),
        "test": ("val", ("frankfurt", "lindau", "munster")),
    }
    for split, examples in source.splits.items():
        official, cities = places[split]
        for index in range(len(examples)):
            example, city = examples[index], cities[index % len(cities)]
            name = f"{city}_{index:06d}_000019"
            for kind, ending, values in (
                (IMAGES, IMAGE_ENDING, example.image.numpy().astype(np.uint8).transpose(1, 2, 0)),
                (LABELS, ID_ENDING, ids[example.labels[0].numpy()]),
            ):
                file = path / kind / official / city / f"{name}{ending}"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.repeat(REDUCTION, 0).repeat(REDUCTION, 1)).save(file)
