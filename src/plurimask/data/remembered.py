"""Examples that are kept in memory once they were read: small images are read faster than decoded, again and again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from plurimask.data.example import DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize

MAX_BYTES = 2**29
"""Of each split. What comes later is read whenever it is asked for."""


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


def remembered(source: DataSource) -> DataSource:
    """The same data, with what training and validation read again and again kept in memory."""
    splits = {
        name: Remembered(examples) if name in ("train", "val") and not isinstance(examples, Remembered) else examples
        for name, examples in source.splits.items()
    }
    return replace(source, splits=splits)
