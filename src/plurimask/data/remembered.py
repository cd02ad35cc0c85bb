"""Examples that are kept in memory once they were read: small images are read faster than decoded, again and again.

Of images the first are kept, as many as there is room for. Volumes take so much room that a few may fill it: of them
those are kept that were asked for last.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

from plurimask.data.example import DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.files.reading import memory_bytes

MAX_BYTES = 2**29
"""Of images of each split. What comes later is read whenever it is asked for."""
SHARE = 0.25
"""Of the machine's memory, for volumes of all splits, where nothing else is said."""


class Remembered(ExampleSet):
    """The examples of another set, as many of them in memory as `max_bytes` hold. Who takes one must not change it."""

    def __init__(self, base: ExampleSet, max_bytes: int = MAX_BYTES) -> None:
        self.base, self.free = base, max_bytes
        self.names, self.groups = base.names, base.groups
        self.kept: dict[int, Example] = {}

    def __getitem__(self, index: int) -> Example:
        if index in self.kept:
            return self.kept[index]
        example = self.base[index]
        size = example.image.nbytes + example.labels.nbytes
        if size <= self.free:
            self.free -= size
            self.kept[index] = example
        return example

    def shape(self, index: int) -> tuple[int, ...]:
        if index in self.kept:
            return tuple(self.kept[index].image.shape[1:])
        return self.base.shape(index)

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.base.pixel_size(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(index)


class VolumeCache:
    """Decoded volumes of several sets, of at most `max_bytes` together: the least recently used make room for others.

    A volume that is larger than that alone is read whenever it is asked for. A copy for another process starts empty.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes, self.num_sets = max_bytes, 0, 0
        self.kept: OrderedDict[tuple[int, int], Example] = OrderedDict()
        """By the number of the set and the index in it, the least recently used first."""

    def new_set(self) -> int:
        """A number for one more set."""
        self.num_sets += 1
        return self.num_sets

    def get(self, number: int, base: ExampleSet, index: int) -> Example:
        """An example of the set that has a number, from memory where it is there."""
        key = number, index
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        example = base[index]
        size = bytes_of(example)
        if size <= self.max_bytes:
            while self.num_bytes + size > self.max_bytes:
                self.num_bytes -= bytes_of(self.kept.popitem(last=False)[1])
            self.kept[key] = example
            self.num_bytes += size
        return example

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "num_bytes": 0, "kept": OrderedDict()}


class CachedVolumes(ExampleSet):
    """The volumes of another set, as long as they stay in a cache that others use too. Who takes one must not change
    it."""

    def __init__(self, base: ExampleSet, cache: VolumeCache) -> None:
        self.base, self.cache, self.number = base, cache, cache.new_set()
        self.names, self.groups = base.names, base.groups
        self.pixel_sizes: dict[int, PixelSize | None] = {}

    def __getitem__(self, index: int) -> Example:
        return self.cache.get(self.number, self.base, range(len(self))[index])

    def shape(self, index: int) -> tuple[int, ...]:
        kept = self.cache.kept.get((self.number, range(len(self))[index]))
        return self.base.shape(index) if kept is None else tuple(kept.image.shape[1:])

    def pixel_size(self, index: int) -> PixelSize | None:
        index = range(len(self))[index]
        if index not in self.pixel_sizes:  # asked for at each step, and read from a header
            self.pixel_sizes[index] = self.base.pixel_size(index)
        return self.pixel_sizes[index]

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(index)


def bytes_of(example: Example) -> int:
    """What an example takes in memory."""
    return example.image.nbytes + example.labels.nbytes


def cache_bytes(gigabytes: float | None) -> int:
    """Of a cache of volumes: what is given, or a share of the machine's memory."""
    return int(SHARE * memory_bytes() if gigabytes is None else gigabytes * 2**30)


def remembered(source: DataSource, gigabytes: float | None = None) -> DataSource:
    """The same data, with what training and validation read again and again kept in memory.

    Of volumes as many as so many gigabytes hold (`cache_bytes`), and what is read of them later in their place.
    """
    splits = {name: examples for name, examples in source.splits.items() if name in ("train", "val")}
    if all(isinstance(examples, Remembered | CachedVolumes) for examples in splits.values()):
        return source
    if source.description.spatial_dims == 3:
        cache = VolumeCache(cache_bytes(gigabytes))
        kept: dict[str, ExampleSet] = {name: CachedVolumes(examples, cache) for name, examples in splits.items()}
    else:
        kept = {name: Remembered(examples) for name, examples in splits.items()}
    return replace(source, splits={**source.splits, **kept})
