"""The slices of volumes as examples of their own: what a method for images learns from volumes."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from plurimask.data.example import DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import SliceAxis
from plurimask.errors import InputError

_DIGITS = 3
_Number = TypeVar("_Number", int, float)


class Slices(ExampleSet):
    """The slices along one axis of all volumes of another set: `(K, D, H, W)` -> D examples `(K, H, W)` for axis 0.

    They are named `NAME/slice-007`, and belong to the group of their volume, so that no split tears one apart.

    Args:
        base: volumes; how many slices each has is read at once, from headers where they are in files.
        axis: 0, 1 or 2, of D, H and W.
    """

    def __init__(self, base: ExampleSet, axis: SliceAxis) -> None:
        self.base, self.axis = base, axis
        counts = [_num_slices(base, index, axis) for index in range(len(base))]
        self.ends = tuple(accumulate(counts))
        digits = max(_DIGITS, len(str(max(counts, default=1) - 1)))
        self.names = tuple(
            f"{name}/slice-{number:0{digits}d}"
            for name, count in zip(base.names, counts, strict=True)
            for number in range(count)
        )
        self.groups = tuple(group for group, count in zip(base.groups, counts, strict=True) for _ in range(count))

    def place(self, index: int) -> tuple[int, int]:
        """Of a slice its volume, and its number in that."""
        index = range(len(self))[index]
        volume = bisect_right(self.ends, index)
        return volume, index - (self.ends[volume - 1] if volume else 0)

    def __getitem__(self, index: int) -> Example:
        volume, number = self.place(index)
        example = self.base[volume]
        image, labels = (maps.select(self.axis + 1, number).contiguous() for maps in (example.image, example.labels))
        return replace(example, name=self.names[index], image=image, labels=labels)

    def shape(self, index: int) -> tuple[int, ...]:
        volume, _ = self.place(index)
        return _in_plane(self.base.shape(volume), self.axis)

    def pixel_size(self, index: int) -> PixelSize | None:
        size = self.base.pixel_size(self.place(index)[0])
        if size is None or size.depth is None:
            return None
        height, width = _in_plane((size.depth, size.height, size.width), self.axis)
        return PixelSize(height, width, size.unit)

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(self.place(index)[0])


def _num_slices(base: ExampleSet, index: int, axis: int) -> int:
    shape = base.shape(index)
    if len(shape) != 3:
        raise InputError(
            f"{base.names[index]}: an image of {' x '.join(map(str, shape))} pixels, and slices are of volumes: leave "
            "out --slices"
        )
    return shape[axis]


def _in_plane(lengths: tuple[_Number, ...], axis: int) -> tuple[_Number, ...]:
    """Of three, along D, H and W, the two of a slice."""
    return tuple(length for own, length in enumerate(lengths) if own != axis)


def in_slices(source: DataSource, axis: SliceAxis | None) -> DataSource:
    """A data set of volumes as one of their slices along an axis; as it is where there is no axis.

    Raises:
        InputError: its images are no volumes.
    """
    if axis is None:
        return source
    splits = {name: Slices(examples, axis) for name, examples in source.splits.items()}
    return replace(source, description=source.description.model_copy(update={"spatial_dims": 2}), splits=splits)
