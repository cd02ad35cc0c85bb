"""Data sets in NumPy's `.npz` files: `train.npz`, `val.npz` and `test.npz` in a folder, or one file.

Keys: `images` (N, H, W), (N, K, H, W) or (N, H, W, K); `masks` (N, H, W) or (N, R, H, W); optional `patient` or `group`
(N,) and `names` (N,). The arrays stay in memory in their stored type.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plurimask.data.encoding import MaskEncoding, decide_encoding
from plurimask.data.example import DataDescription, Example, ExampleSet, NotADataSet
from plurimask.data.forms import MaskSummary, most_objects, summarise
from plurimask.data.images import StoredMask, image_numbers, whole_numbers
from plurimask.data.images.limit import refuse_large
from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.files import Found, describe, name_channels
from plurimask.data.layouts.listing import refuse_odd_names
from plurimask.errors import InputError, reason_of, shown
from plurimask.files.reading import memory_bytes, require_file
from plurimask.sets.unjudged import IGNORE

Array = npt.NDArray[Any]

GROUP_KEYS = ("patient", "group")


@dataclass(frozen=True)
class Arrays:
    """The content of one `.npz` file, checked."""

    path: Path
    images: Array
    """`(N, K, H, W)`, or `(N, H, W, K)` if `channels_last`, as stored."""
    channels_last: bool
    masks: Array
    """`(N, R, H, W)`, unsigned integers."""
    names: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def num_channels(self) -> int:
        return int(self.images.shape[3 if self.channels_last else 1])


class ArraySet(ExampleSet):
    """The examples of one `.npz` file; each is converted when it is asked for."""

    def __init__(self, arrays: Arrays, encoding: MaskEncoding, num_raters: int) -> None:
        self.arrays, self.encoding, self.num_raters = arrays, encoding, num_raters
        self.names, self.groups = arrays.names, arrays.groups

    def __getitem__(self, index: int) -> Example:
        import torch

        arrays = self.arrays
        where = f"{arrays.path}, image {arrays.names[index]}"
        image = image_numbers(arrays.images[index], where)
        if arrays.channels_last:
            image = np.ascontiguousarray(image.transpose(2, 0, 1))
        labels = np.full((self.num_raters, *image.shape[1:]), IGNORE, dtype=np.uint8)
        masks = arrays.masks[index]
        labels[: len(masks)] = self.encoding.encode(masks, where)
        return Example(arrays.names[index], torch.from_numpy(image), torch.from_numpy(labels))


def open_arrays(paths: Mapping[str, Path], declared: DatasetFile, expected: DataDescription | None) -> Found:
    """The data set in the `.npz` files of the splits `paths`.

    Raises:
        InputError: a file is damaged, lacks a key, or holds arrays that do not fit together.
    """
    splits = {split: read_arrays(path, split) for split, path in paths.items()}
    counts = {arrays.num_channels: arrays.path for arrays in splits.values()}
    if len(counts) > 1:
        (first, one), (second, other) = list(counts.items())[:2]
        raise InputError(f"{one} has images of {first} channels, {other} of {second}: save both with the same channels")
    summaries: dict[MaskSummary, str] = {}
    for arrays in splits.values():
        for name, masks in zip(arrays.names, arrays.masks, strict=True):
            for mask in masks:
                summaries.setdefault(summarise(StoredMask(mask)), f"{arrays.path}, image {name}")
    values: dict[frozenset[int], str] = {}
    for summary, where in summaries.items():
        values.setdefault(summary.values, where)
    encoding = decide_encoding(values, declared, expected, num_objects=most_objects(summaries))
    num_raters = max(arrays.masks.shape[1] for arrays in splits.values())
    raters = tuple(f"rater {index + 1}" for index in range(num_raters))
    description = describe("npz", encoding, name_channels(next(iter(counts)), declared.channel_names), raters)
    return Found(description, {split: ArraySet(arrays, encoding, num_raters) for split, arrays in splits.items()})


def load_npz(path: Path) -> dict[str, Array]:
    """All arrays in `path`.

    Raises:
        InputError: the file is damaged or holds Python objects.
    """
    require_file(path)
    try:
        refuse_large_arrays(path)
        with np.load(path, allow_pickle=False) as content:
            arrays = {key: content[key] for key in content.files}
            return {key: values for key, values in arrays.items() if isinstance(values, np.ndarray)}
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything in zip, zlib and NumPy
        raise InputError(
            f"{path}: cannot be read as .npz ({reason_of(error)}): write it again with numpy.savez_compressed, "
            "from arrays of numbers and strings"
        ) from error


def refuse_large_arrays(path: Path) -> None:
    """Raise `InputError` if the arrays that an `.npz` file declares are none of numbers and strings, or more than the
    memory of the machine holds. Nothing is unpacked but their headers."""
    total = 0
    with zipfile.ZipFile(path) as file:
        for member in file.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with file.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
            if dtype.hasobject:
                raise InputError(
                    f"{path}: {shown(member.filename[:-4])} holds Python objects, which are not read: write it again "
                    "with numpy.savez_compressed, from arrays of numbers and strings"
                )
            total += max(math.prod(shape) * dtype.itemsize, member.file_size)
    if total > memory_bytes():
        raise InputError(
            f"{path}: declares arrays of {total:,} bytes, and this machine has {memory_bytes():,} of memory: write "
            "fewer images into a file, or take a folder of images"
        )


def read_arrays(path: Path, split: str = "") -> Arrays:
    """The checked content of one `.npz` file; `split` becomes a part of names that are made up here.

    Raises:
        InputError: the file is damaged, lacks a key, or holds arrays that do not fit together.
    """
    content = load_npz(path)
    missing = [key for key in ("images", "masks") if key not in content]
    if missing:
        found = ", ".join(content) or "nothing"
        raise NotADataSet(f"{path}: the key {missing[0]!r} is missing, found {found}: save the arrays images and masks")
    images, masks = content["images"], content["masks"]
    if masks.ndim not in (3, 4) or not len(masks):
        raise InputError(f"{path}: masks has the shape {masks.shape}, expected (N, H, W) or (N, R, H, W), N at least 1")
    if masks.ndim == 4 and not masks.shape[1]:
        raise InputError(
            f"{path}: masks has the shape {masks.shape}, of no rater: save one map at least for each image"
        )
    check_numbers(path, images)
    images, channels_last = _with_channels(path, images, masks)
    names, groups = _names(path, content, len(images), split)
    masks = whole_numbers(masks, f"{path}, masks")
    return Arrays(path, images, channels_last, masks if masks.ndim == 4 else masks[:, None], names, groups)


def check_numbers(path: Path, images: Array) -> None:
    """Raise InputError if `images` are none, are no finite real numbers, or one is larger than an image may be."""
    if images.ndim not in (3, 4) or not len(images):
        raise InputError(
            f"{path}: images has the shape {images.shape}, expected (N, H, W), (N, K, H, W) or "
            "(N, H, W, K), N at least 1"
        )
    refuse_large(images.shape[1:], f"{path}, images")
    if images.dtype.kind in "biu":
        return
    for index, image in enumerate(images):
        image_numbers(image, f"{path}, image {index}")


def _with_channels(path: Path, images: Array, masks: Array) -> tuple[Array, bool]:
    """`images` with four axes, and whether channels are last; the masks tell which axes are spatial."""
    if len(images) == len(masks):
        size = masks.shape[-2:]
        if images.ndim == 3 and images.shape[1:] == size:
            return images[:, None], False
        if images.ndim == 4 and images.shape[2:] == size:
            return images, False
        if images.ndim == 4 and images.shape[1:3] == size:
            return images, True
    raise InputError(
        f"{path}: images {images.shape} and masks {masks.shape} do not fit together, expected (N, H, W), (N, K, H, W) "
        "or (N, H, W, K) and (N, H, W) or (N, R, H, W) with the same N, H and W"
    )


def _names(path: Path, content: Mapping[str, Array], count: int, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and groups; names are made from the patient (or the split) and the index where there are none."""
    key = next((key for key in GROUP_KEYS if key in content), None)
    groups = None if key is None else _texts(path, key, content[key], count)
    if "names" in content:
        names = _texts(path, "names", content["names"], count)
        refuse_odd_names(names, str(path))
    else:
        names = default_names(groups or [split] * count)
    return names, groups or names


def default_names(prefixes: Sequence[str]) -> tuple[str, ...]:
    """`PREFIX-00042`, or `00042` where the prefix is empty."""
    return tuple(f"{prefix}-{index:05d}" if prefix else f"{index:05d}" for index, prefix in enumerate(prefixes))


def _texts(path: Path, key: str, values: Array, count: int) -> tuple[str, ...]:
    if values.shape != (count,):
        raise InputError(f"{path}: {key} has the shape {values.shape}, expected one entry for each of {count} images")
    return tuple(str(value) for value in values)
