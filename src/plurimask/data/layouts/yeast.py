"""Trapped yeast as its authors store it (Prangemeier et al.), tensors saved by PyTorch.

    [SPLIT/]inputs/K.pt            (H, W) or (1, H, W): brightfield, standardised by the authors
    [SPLIT/]instances/K.pt         (objects, H, W), 0 or 1: one map per object
    [SPLIT/]classes/K.pt           (objects,): 1 trap, 2 cell, 3 a further cell, outside of the pair of traps
    [SPLIT/]bounding_boxes/K.pt    not read

Files are read as data only, never as code (`weights_only=True`). The instances are merged to three classes: background,
trap and cell, which 2 and 3 both are. Where a cell and a trap overlap, the pixel is the cell's: traps stand still and
are known, and cells are what is counted. Images without instances are unlabelled, and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.images import image_numbers
from plurimask.data.images.limit import refuse_large
from plurimask.data.layouts.cache import ArrayCache
from plurimask.data.layouts.files import UNSPLIT, Found
from plurimask.data.layouts.listing import contents, natural_key
from plurimask.errors import InputError, reason_of
from plurimask.files.reading import load_tensors

Array = npt.NDArray[Any]

LAYOUT = "trapped yeast"
INPUTS, INSTANCES, CLASSES = "inputs", "instances", "classes"
SUFFIX = ".pt"
MAX_BYTES = 2**31
"""Of a file, also once it is unpacked."""

CLASS_NAMES = ("background", "trap", "cell")
CHANNEL_NAMES = ("brightfield",)
RATER_NAMES = ("annotator",)
TRAP, CELL = 1, 2
MERGED = {1: TRAP, 2: CELL, 3: CELL}
"""The authors' class of an object to the class of its pixels."""


@dataclass(frozen=True)
class TrapImage:
    """The files of one image with labels."""

    name: str
    image: Path
    instances: Path
    classes: Path

    def read_labels(self, _: Path) -> Array:
        """`(H, W)`, uint8: the merged classes. The argument is what a cache knows them by."""
        return _merge(self.instances, self.classes)


class YeastSet(ExampleSet):
    """Images `(1, H, W)` of one split with the merged classes of one annotator."""

    def __init__(self, items: Sequence[TrapImage], cache: ArrayCache) -> None:
        self.items, self.cache = tuple(items), cache
        self.names = tuple(item.name for item in items)
        self.groups = self.names

    def __getitem__(self, index: int) -> Example:
        import torch

        item = self.items[index]
        image = self.cache.get(item.image, read_input)
        labels = self.cache.get(item.instances, item.read_labels)
        if image.shape[1:] != labels.shape:
            raise InputError(
                f"{item.instances}: the instances are {_size(labels.shape)}, their image {item.image} is "
                f"{_size(image.shape[1:])} (height x width): save both in the same size"
            )
        return Example(item.name, torch.from_numpy(image.copy()), torch.from_numpy(labels.copy())[None])

    def files(self, index: int) -> tuple[Path, ...]:
        item = self.items[index]
        return item.image, item.instances, item.classes


def is_yeast(folder: Path) -> bool:
    """Whether `folder` is one split of this layout."""
    return (folder / INPUTS).is_dir() and (folder / INSTANCES).is_dir()


def has_inputs(folder: Path) -> bool:
    """Whether `folder` holds images of this layout, with or without labels."""
    return (folder / INPUTS).is_dir() and bool(_files(folder / INPUTS))


def open_yeast(splits: Mapping[str, Path], expected: DataDescription | None) -> Found:
    """The labelled images of each split; a split without any is left out. All files are read once here.

    Args:
        splits: the folder of each split.
        expected: the description that a run was trained with, if there is one.

    Raises:
        InputError: a file is damaged, images, instances and classes do not fit together, nothing is labelled, or the
            run was trained on other classes.
    """
    where = next(iter(splits.values()))
    if expected is not None and expected.class_names != CLASS_NAMES:
        raise InputError(
            f"{where}: trapped yeast has the classes {', '.join(CLASS_NAMES)}, expected "
            f"{', '.join(expected.class_names)}: use data with the classes that the run was trained on"
        )
    inputs = {split: find_inputs(folder) for split, folder in splits.items()}
    labelled = {split: _files(folder / INSTANCES) for split, folder in splits.items()}
    items = _items(splits, inputs, labelled)
    if not items:
        raise InputError(
            f"{where}: no image has labels: looked for {INSTANCES}/K{SUFFIX} and {CLASSES}/K{SUFFIX}, found "
            f"{INSTANCES}/ with {contents(where / INSTANCES)}: add them, or predict these images instead"
        )
    cache = ArrayCache()
    sets = {split: YeastSet(part, cache) for split, part in items.items()}
    for examples in sets.values():
        for index in range(len(examples)):
            examples[index]  # so that what does not fit is found now
    return Found(_description({split: (len(items.get(split, ())), len(inputs[split])) for split in splits}), sets)


def find_inputs(folder: Path) -> dict[str, Path]:
    """The files of the images of one split, by name, 2 before 10.

    Raises:
        InputError: there are none.
    """
    found = _files(folder / INPUTS)
    if not found:
        raise InputError(
            f"{folder / INPUTS}: no images found, looked for {INPUTS}/K{SUFFIX}; it holds {contents(folder / INPUTS)}: "
            "add one tensor per image"
        )
    return found


def read_input(path: Path) -> Array:
    """The image in `path`, `(1, H, W)`, float32, as stored.

    Raises:
        InputError: the file is damaged, holds no such tensor, or NaN or infinity.
    """
    values = _load(path)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or len(values) != 1 or not values.size:
        raise InputError(
            f"{path}: an image of the shape {_shape(values)}, expected (H, W) or (1, H, W): save one channel per image"
        )
    return image_numbers(values, str(path))


def _items(
    splits: Mapping[str, Path], inputs: Mapping[str, Mapping[str, Path]], labelled: Mapping[str, Mapping[str, Path]]
) -> dict[str, list[TrapImage]]:
    """The labelled images of the splits that have some."""
    # The authors number the images of each split from 0: names that occur twice say their split.
    repeated = max(Counter(name for found in inputs.values() for name in found).values()) > 1
    items = {}
    for split, folder in splits.items():
        part = []
        for name, instances in labelled[split].items():
            if name not in inputs[split]:
                raise InputError(
                    f"{instances}: instances without an image: add {INPUTS}/{name}{SUFFIX}, or remove them"
                )
            classes = folder / CLASSES / f"{name}{SUFFIX}"
            if not classes.exists():
                raise InputError(
                    f"{instances}: instances without classes: add {CLASSES}/{name}{SUFFIX} with the class of each "
                    "object, or remove the instances"
                )
            unique = f"{split}/{name}" if repeated else name
            part.append(TrapImage(unique, inputs[split][name], instances, classes))
        if part:
            items[split] = part
    return items


def _description(counts: Mapping[str, tuple[int, int]]) -> DataDescription:
    """`counts`: images with labels, and all images, of each split."""
    missing = {split: total - labelled for split, (labelled, total) in counts.items() if total > labelled}
    listed = ", ".join(
        f"{f'{split} ' if split != UNSPLIT else ''}{number} of {counts[split][1]}" for split, number in missing.items()
    )
    return DataDescription(
        layout=LAYOUT,
        class_names=CLASS_NAMES,
        class_values=(0, TRAP, CELL),
        ignore_value=None,
        has_background=True,
        encoding="Instances merged to 0 background, 1 trap, 2 cell (the authors' 2 and 3); a cell lies over a trap."
        + (f" Images without instances are left out: {listed}." if missing else ""),
        channel_names=CHANNEL_NAMES,
        rater_names=RATER_NAMES,
    )


def _files(folder: Path) -> dict[str, Path]:
    found = (path for path in folder.glob(f"*{SUFFIX}") if path.name[0] != "." and not path.is_dir())
    return {path.stem: path for path in sorted(found, key=lambda path: natural_key(path.stem))}


def _merge(instances_path: Path, classes_path: Path) -> Array:
    """`(H, W)`, uint8: background 0, traps 1, and over them cells 2."""
    instances, classes = _load(instances_path), _load(classes_path)
    if instances.ndim != 3:
        raise InputError(
            f"{instances_path}: instances of the shape {_shape(instances)}, expected (objects, H, W): "
            "save one map per object"
        )
    odd = instances[(instances != 0) & (instances != 1)]
    if odd.size:
        raise InputError(f"{instances_path}: holds {odd[0]:g}, expected 0 and 1: save one map per object")
    if classes.shape != instances.shape[:1]:
        raise InputError(
            f"{classes_path}: classes of the shape {_shape(classes)}, expected ({len(instances)},), one number for "
            f"each object of {instances_path}: save the class of each object"
        )
    unknown = classes[~np.isin(classes, tuple(MERGED))]
    if unknown.size:
        raise InputError(
            f"{classes_path}: holds the class {unknown[0]:g}, known are 1 (trap), 2 (cell) and "
            "3 (further cell): correct the number"
        )
    merged = np.array([MERGED[int(value)] for value in classes], np.uint8)
    # The larger class wins, which is the cell.
    labels: Array = (instances.astype(np.uint8) * merged[:, None, None]).max(0, initial=0)
    return labels


def _load(path: Path) -> Array:
    """The tensor in `path`, whatever its type and shape."""
    import torch

    try:
        values = load_tensors(path, MAX_BYTES)
    except InputError:
        raise
    except Exception as error:  # a damaged or foreign file can raise anything
        raise InputError(
            f"{path}: cannot be read, damaged or more than a tensor ({reason_of(error)}): copy the file again, or save "
            "the tensor alone by torch.save"
        ) from error
    if not isinstance(values, torch.Tensor) or values.layout != torch.strided or values.is_complex():
        kind = f"{values.layout} {values.dtype}" if isinstance(values, torch.Tensor) else type(values).__name__
        raise InputError(f"{path}: holds {kind}, expected a dense tensor of real numbers: save it by torch.save")
    refuse_large((max(1, values.numel()),), str(path))  # it may be one number, shown a million times
    if values.dtype == torch.bfloat16:
        values = values.float()  # NumPy has no such type
    try:
        array: Array = values.detach().numpy()
    except TypeError as error:
        raise InputError(f"{path}: holds {values.dtype}, which has no plain numbers: save it as float32") from error
    return array


def _shape(values: Array) -> str:
    return f"({', '.join(map(str, values.shape))}{',' if values.ndim == 1 else ''})"


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
