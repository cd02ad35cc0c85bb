"""Cityscapes as it is published (Cordts et al. 2016), at a quarter of its resolution.

    leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png
    gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png      or, if it is there, _gtFine_labelTrainIds.png

Images of 1024 x 2048 pixels become 256 x 512: the mean of each 4 x 4 pixels; of labels the pixel at the middle of them.
The split is that of Kohl et al. (A Probabilistic U-Net, 2018), who had to hold out a validation set, as the official
test set has no public labels: "val" are the cities darmstadt, monchengladbach and ulm of the official training set,
"train" the other cities of it, and "test" is the official validation set. Where `train` holds none of these three
cities, or nothing else, the official validation set is "val" and there is no "test".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.images import read_image, read_mask
from plurimask.data.layouts.cache import ArrayCache
from plurimask.data.layouts.files import Found
from plurimask.data.layouts.listing import contents, refuse_repeated
from plurimask.errors import InputError
from plurimask.sets.unjudged import IGNORE

Array = npt.NDArray[Any]

LAYOUT = "Cityscapes"
IMAGES, LABELS = "leftImg8bit", "gtFine"
IMAGE_ENDING, ID_ENDING, TRAIN_ID_ENDING = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"

LABEL_IDS: dict[str, int] = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The 19 classes of the benchmark, in the order of their train ids, with the ids in the files. Others are ignored."""

HELD_OUT = ("darmstadt", "monchengladbach", "ulm")
"""The cities of the official training set that validate."""

REDUCTION = 4
"""The official resolution over the one that is read, along each side."""

CACHE_BYTES = 2**31
"""All 3475 images and labels in quarter resolution take 1.7 GiB."""


@dataclass(frozen=True)
class StreetScene:
    """The files of one image."""

    name: str
    city: str
    image: Path
    labels: Path


class CityscapesSet(ExampleSet):
    """Images `(3, H/4, W/4)` of one split with the train ids of one annotator; cities are the groups."""

    def __init__(self, scenes: list[StreetScene], cache: ArrayCache) -> None:
        self.scenes, self.cache = tuple(scenes), cache
        self.names = tuple(scene.name for scene in scenes)
        self.groups = tuple(scene.city for scene in scenes)

    def __getitem__(self, index: int) -> Example:
        import torch

        scene = self.scenes[index]
        image, labels = self.cache.get(scene.image, _reduced_image), self.cache.get(scene.labels, _reduced_labels)
        if image.shape[1:] != labels.shape:
            raise InputError(
                f"{scene.labels} is {_size(labels)}, its image {scene.image} is {_size(image[0])} (height x width): "
                "copy both from the official archives again"
            )
        return Example(scene.name, torch.from_numpy(image.astype(np.float32)), torch.from_numpy(labels.copy())[None])

    def files(self, index: int) -> tuple[Path, ...]:
        return self.scenes[index].image, self.scenes[index].labels


def is_cityscapes(folder: Path) -> bool:
    """Whether `folder` is the root of this layout."""
    return (folder / IMAGES).is_dir()


def open_cityscapes(path: Path, expected: DataDescription | None) -> Found:
    """The splits of the tree at `path`. The files are listed here, and opened when they are asked for.

    Args:
        path: the folder that holds `leftImg8bit` and `gtFine`.
        expected: the description that a run was trained with, if there is one.

    Raises:
        InputError: an image has no labels, there are no images, or the run was trained on other classes.
    """
    names = tuple(LABEL_IDS)
    if expected is not None and expected.class_names != names:
        raise InputError(
            f"{path}: Cityscapes has the classes {', '.join(names)}, expected {', '.join(expected.class_names)}: "
            "use data with the classes that the run was trained on"
        )
    official = {split: _list_scenes(path, split) for split in ("train", "val")}
    everything = [scene for scenes in official.values() for scene in scenes]
    if not everything:
        raise InputError(
            f"{path}: no images found, looked for {IMAGES}/train/CITY/NAME{IMAGE_ENDING} and {IMAGES}/val/...; found "
            f"{IMAGES}/ with {contents(path / IMAGES)}: unpack leftImg8bit_trainvaltest.zip there"
        )
    refuse_repeated([scene.name for scene in everything], str(path))
    cache = ArrayCache(CACHE_BYTES)
    sets = {split: CityscapesSet(part, cache) for split, part in _published_split(official).items() if part}
    return Found(_description(names), sets)


def _description(names: tuple[str, ...]) -> DataDescription:
    return DataDescription(
        layout=LAYOUT,
        class_names=names,
        class_values=tuple(range(len(names))),
        ignore_value=IGNORE,
        has_background=False,
        encoding=f"Cityscapes train ids 0 to {len(names) - 1}, all other labels are not judged ({IGNORE}); "
        f"read at 1/{REDUCTION} of the official resolution.",
        channel_names=("R", "G", "B"),
        rater_names=("annotator",),
    )


def _published_split(official: dict[str, list[StreetScene]]) -> dict[str, list[StreetScene]]:
    held_out = [scene for scene in official["train"] if scene.city in HELD_OUT]
    others = [scene for scene in official["train"] if scene.city not in HELD_OUT]
    if held_out and others:
        return {"train": others, "val": held_out, "test": official["val"]}
    return {"train": official["train"], "val": official["val"]}


def _list_scenes(path: Path, split: str) -> list[StreetScene]:
    scenes = []
    for image in sorted((path / IMAGES / split).glob(f"*/*{IMAGE_ENDING}")):
        name, city = image.name.removesuffix(IMAGE_ENDING), image.parent.name
        folder = path / LABELS / split / city
        labels = next(
            (folder / f"{name}{end}" for end in (TRAIN_ID_ENDING, ID_ENDING) if (folder / f"{name}{end}").is_file()),
            None,
        )
        if labels is None:
            raise InputError(
                f"{image}: an image without labels: looked for {folder / name}{ID_ENDING} and {TRAIN_ID_ENDING}: "
                "unpack gtFine_trainvaltest.zip beside leftImg8bit"
            )
        scenes.append(StreetScene(name, city, image, labels))
    return scenes


def _reduced_image(path: Path) -> Array:
    """`(3, H/4, W/4)`, uint8: means over 4 x 4 pixels."""
    image = read_image(path)
    if image.dtype != np.uint8 or len(image) != 3:
        raise InputError(f"{path}: {len(image)} channels of {image.dtype}, expected R, G, B of 8 bits: export it again")
    _refuse_odd(path, image[0])
    return np.stack([np.asarray(Image.fromarray(channel).reduce(REDUCTION)) for channel in image])


def _reduced_labels(path: Path) -> Array:
    """`(H/4, W/4)`, uint8: train ids at the middle of 4 x 4 pixels."""
    labels = read_mask(path)
    _refuse_odd(path, labels)
    middle = labels[REDUCTION // 2 :: REDUCTION, REDUCTION // 2 :: REDUCTION]
    table = _TRAIN_IDS if path.name.endswith(TRAIN_ID_ENDING) else _IDS
    train_ids = np.where(middle > IGNORE, -1, table[np.minimum(middle, IGNORE)])
    if train_ids.min() < 0:
        kind = "train ids 0 to 18 and 255" if table is _TRAIN_IDS else "label ids 0 to 33 and 255"
        raise InputError(f"{path}: holds the value {middle[train_ids < 0].flat[0]}, expected {kind}: export it again")
    return train_ids.astype(np.uint8)


def _tables() -> tuple[Array, Array]:
    """Label ids and train ids `(256,)` -> train ids; -1 for what is neither."""
    from_train_ids = np.full(256, -1, np.int16)
    from_train_ids[: len(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    from_train_ids[IGNORE] = IGNORE
    from_ids = np.full(256, -1, np.int16)
    from_ids[:34], from_ids[IGNORE] = IGNORE, IGNORE
    from_ids[list(LABEL_IDS.values())] = np.arange(len(LABEL_IDS))
    return from_ids, from_train_ids


_IDS, _TRAIN_IDS = _tables()


def _refuse_odd(path: Path, values: Array) -> None:
    if any(side % REDUCTION for side in values.shape):
        raise InputError(
            f"{path} is {_size(values)}, and sides must be multiples of {REDUCTION}, as it is read at 1/{REDUCTION} of "
            "the resolution: give the official files of 1024x2048"
        )


def _size(values: Array) -> str:
    return "x".join(map(str, values.shape))
