"""Small data sets on disk, for the tests of reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 6, 9


def gray(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """An 8-bit image `(H, W)`."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def mask(*values: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A mask `(H, W)` that holds all of `values`, the first at its upper left."""
    return np.resize(np.array(values, dtype=np.uint8), (height, width))


def save(path: Path, values: np.ndarray) -> Path:
    """`values` as an image file; makes the folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def write_images(folder: Path, names: Sequence[str]) -> None:
    for seed, name in enumerate(names):
        save(folder / "images" / f"{name}.png", gray(seed))


def write_folder(folder: Path, masks: Mapping[str, Sequence[int]]) -> Path:
    """One image and one mask with the given values for each name."""
    write_images(folder, list(masks))
    for name, values in masks.items():
        save(folder / "masks" / f"{name}.png", mask(*values))
    return folder


def write_json(folder: Path, **content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder
