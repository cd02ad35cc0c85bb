"""Examples that lie in image files: read when asked for, kept in memory up to a budget."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from plurimask.data.encoding import MaskEncoding, decide_encoding, values_in
from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.images import SUFFIXES, image_shape, read_image, read_mask
from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.distribution import IGNORE
from plurimask.errors import InputError

Array = npt.NDArray[Any]

CACHE_BYTES = 2**30
UNSPLIT = ""
"""The name of the only "split" of a data set that comes without split folders."""


@dataclass(frozen=True)
class Found:
    """A data set as it lies on disk, before a split is drawn."""

    description: DataDescription
    sets: Mapping[str, ExampleSet]
    """By split, or all under `UNSPLIT`."""


@dataclass(frozen=True)
class FileItem:
    """The files of one example."""

    name: str
    group: str
    images: tuple[Path, ...]
    """One file with all channels, or one file per channel."""
    masks: tuple[Path | None, ...]
    """One per rater; None where the rater is absent."""


class ArrayCache:
    """Decoded arrays in their stored type, up to a number of bytes; what does not fit is read again each time.

    A copy for another process starts empty.
    """

    def __init__(self, budget: int = CACHE_BYTES) -> None:
        self.budget, self.used = budget, 0
        self._arrays: dict[Path, Array] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, read: Callable[[Path], Array]) -> Array:
        """The array of `path`; not to be written to."""
        array = self._arrays.get(path)
        if array is None:
            array = read(path)
            with self._lock:
                if path not in self._arrays and self.used + array.nbytes <= self.budget:
                    self._arrays[path] = array
                    self.used += array.nbytes
        return array

    def __getstate__(self) -> int:
        return self.budget

    def __setstate__(self, budget: int) -> None:
        self.__init__(budget)  # type: ignore[misc]


class FileSet(ExampleSet):
    """The examples of one split that lie in files."""

    def __init__(self, items: Sequence[FileItem], encoding: MaskEncoding, cache: ArrayCache) -> None:
        self.items, self.encoding, self.cache = tuple(items), encoding, cache
        self.names = tuple(item.name for item in items)
        self.groups = tuple(item.group for item in items)

    def __getitem__(self, index: int) -> Example:
        item = self.items[index]
        channels = [self.cache.get(path, read_image) for path in item.images]
        image = np.concatenate(channels).astype(np.float32)
        labels = np.full((len(item.masks), *image.shape[1:]), IGNORE, dtype=np.uint8)
        for rater, path in enumerate(item.masks):
            if path is not None:
                labels[rater] = self.encoding.encode(self.cache.get(path, read_mask), str(path))
        return Example(item.name, torch.from_numpy(image), torch.from_numpy(labels))


@dataclass(frozen=True)
class Layout:
    """What a reader of a folder layout knows before any file is opened."""

    name: str
    items: Mapping[str, Sequence[FileItem]]
    rater_names: tuple[str, ...]
    channel_names: tuple[str, ...] | None
    """None: named by the number of channels."""


def open_layout(layout: Layout, declared: DatasetFile, expected: DataDescription | None) -> Found:
    """Reads all masks and the headers of all images, decides the encoding, and gives the examples of each split.

    Raises:
        InputError: a file is damaged; sizes, channels or mask values do not fit together.
    """
    cache = ArrayCache()
    items = [item for split in layout.items.values() for item in split]
    values: dict[frozenset[int], str] = {}
    counts: dict[int, FileItem] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for item, (count, found) in zip(items, pool.map(lambda each: _scan(each, cache), items), strict=True):
            counts.setdefault(count, item)
            for together, path in found.items():
                values.setdefault(together, path)
    if len(counts) > 1:
        (first, one), (second, other) = list(counts.items())[:2]
        raise InputError(
            f"{one.images[0]} has {first} channels, {other.images[0]} has {second}: "
            "save all images with the same channels (all gray, or all in colour)"
        )
    encoding = decide_encoding(values, declared, expected)
    description = describe(
        layout.name, encoding, name_channels(next(iter(counts)), layout.channel_names), layout.rater_names
    )
    return Found(description, {split: FileSet(part, encoding, cache) for split, part in layout.items.items()})


def describe(
    layout: str, encoding: MaskEncoding, channel_names: tuple[str, ...], rater_names: tuple[str, ...]
) -> DataDescription:
    return DataDescription(
        layout=layout,
        class_names=encoding.class_names,
        class_values=encoding.class_values,
        ignore_value=encoding.ignore_value,
        has_background=encoding.has_background,
        encoding=encoding.sentence,
        channel_names=channel_names,
        rater_names=rater_names,
    )


def name_channels(count: int, names: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of `count` channels: those given, or "intensity", or R, G, B, or numbers.

    Raises:
        InputError: other than `count` names are given.
    """
    if names is None:
        return {1: ("intensity",), 3: ("R", "G", "B")}.get(count) or tuple(f"channel {index}" for index in range(count))
    if len(names) != count:
        raise InputError(
            f"dataset.json names {len(names)} channels ({', '.join(names)}), the images have {count}: "
            "name each channel of the files, or give one folder per channel"
        )
    return names


def channel_shape(paths: Sequence[Path]) -> tuple[int, int, int]:
    """`(K, H, W)` of one image in one or more files, from their headers.

    Raises:
        InputError: files of one image differ in size, or one of several has more than one channel.
    """
    shapes = [image_shape(path) for path in paths]
    for path, shape in zip(paths, shapes, strict=True):
        if len(paths) > 1 and shape[0] != 1:
            raise InputError(
                f"{path}: {shape[0]} channels, expected one, as each channel has its own folder: save it as gray"
            )
        if shape[1:] != shapes[0][1:]:
            raise InputError(
                f"{path} is {_size(shape[1:])}, {paths[0]} is {_size(shapes[0][1:])} (height x width): "
                "the channels of one image must have the same size"
            )
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _scan(item: FileItem, cache: ArrayCache) -> tuple[int, dict[frozenset[int], str]]:
    """The number of channels of `item` and the sets of values in its masks."""
    count, *size = channel_shape(item.images)
    values: dict[frozenset[int], str] = {}
    for path in item.masks:
        if path is None:
            continue
        mask = cache.get(path, read_mask)
        if list(mask.shape) != size:
            raise InputError(
                f"{path}: the mask is {_size(mask.shape)}, its image {item.images[0]} is {_size(size)} "
                "(height x width): save both in the same size"
            )
        values.setdefault(values_in(mask), str(path))
    return count, values


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(side) for side in shape)


def find_images(folder: Path) -> dict[str, Path]:
    """The image files in `folder` and below, by relative path without ending (with `/`), in sorted order.

    Hidden files and files with other endings are left out.

    Raises:
        InputError: two files have the same name and different endings.
    """
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            path = Path(parent) / file
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise InputError(f"{path} and {found[name]} have the same name: keep one of the two")
            found[name] = path
    return dict(sorted(found.items()))


def contents(folder: Path, limit: int = 6) -> str:
    """The first few entries of `folder`, for an error message."""
    if not folder.is_dir():
        return "no such folder"
    entries = sorted(each.name + ("/" if each.is_dir() else "") for each in folder.iterdir() if each.name[0] != ".")
    if not entries:
        return "nothing"
    return ", ".join(entries[:limit]) + (f" and {len(entries) - limit} more" if len(entries) > limit else "")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts "reader 2" before "reader 10"."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"[0-9]+|[^0-9]+", name))


def refuse_repeated(names: Iterable[str], where: str) -> None:
    """Raise InputError if a name occurs twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{where}: the name {repeated[0]!r} occurs twice: give each image its own name")
