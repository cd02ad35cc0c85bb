"""Volumes as pictures: three planes through the object, as they are looked at in radiology.

Axial planes are seen from the feet, coronal ones from the front, sagittal ones from the left: the patient's right is at
the left of the picture, anterior or superior at its top. Pixels are made square, by repeating the rows or columns that
lie further apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from plurimask.data.images.pixel_size import PixelSize
from plurimask.figures.rows import GridRow

Array = NDArray[Any]
AnyRow = TypeVar("AnyRow", bound=GridRow)
NAMES = ("axial", "coronal", "sagittal")
"""Of planes in which the depth, the height and the width of a volume are the same everywhere."""
MAX_REPEATS = 16
"""Of a row: a thicker slice is drawn thinner than it is."""


class Plane(NamedTuple):
    """One plane through a volume `(D, H, W)`."""

    axis: int
    """0 axial, 1 coronal, 2 sagittal."""
    position: int
    """Along that axis."""
    repeats: tuple[int, int]
    """Of each row and column, by which pixels become about square."""

    @property
    def name(self) -> str:
        return f"{NAMES[self.axis]} {self.position + 1}"

    def of(self, maps: Array) -> Array:
        """Maps `(..., D, H, W)` -> the plane of each, `(..., rows, columns)`, turned as one looks at it."""
        cut = np.take(np.asarray(maps), self.position, axis=self.axis - 3)[..., ::-1, ::-1]
        rows, columns = self.repeats
        square: Array = cut.repeat(rows, axis=-2).repeat(columns, axis=-1)
        return square

    def pixel_size(self, voxel: PixelSize | None) -> PixelSize | None:
        """Of a pixel of the picture."""
        if voxel is None or voxel.depth is None:
            return None
        height, width = _without((voxel.depth, voxel.height, voxel.width), self.axis)
        return PixelSize(height / self.repeats[0], width / self.repeats[1], voxel.unit)


def is_volume(row: GridRow) -> bool:
    """Whether a row is of a volume: then its maps are `(..., D, H, W)`."""
    return row.image.ndim == 4


def planes_through(marked: Sequence[Array], voxel: PixelSize | None = None) -> tuple[Plane, Plane, Plane]:
    """The axial, coronal and sagittal plane that hold most of what is marked; the middle ones where nothing is.

    Args:
        marked: of each kind of maps, samples and raters, `(D, H, W)`: bool, or the number or share of maps that mark a
            voxel. The plane with most of each kind counts as 1, so that samples that mark everything do not outweigh
            the raters' object.
        voxel: its size; cubes where that is not known.
    """
    sides = (1.0, 1.0, 1.0) if voxel is None or voxel.depth is None else (voxel.depth, voxel.height, voxel.width)
    found = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        kinds = [np.asarray(one, np.float64).sum(axis=others) for one in marked]
        amounts = np.sum([kind / (kind.max() or 1.0) for kind in kinds], axis=0)
        index = int(amounts.argmax()) if amounts.any() else len(amounts) // 2
        height, width = _without(sides, axis)
        finest = min(height, width)
        rows, columns = (min(MAX_REPEATS, max(1, round(side / finest))) for side in (height, width))
        found.append(Plane(axis, index, (rows, columns)))
    return found[0], found[1], found[2]


def plane_rows(row: AnyRow, counted: Sequence[int]) -> list[AnyRow]:
    """A row of a volume as the rows of three planes through what its samples and raters mark; one of a picture as it
    is. Samples and raters keep their order. Classes are those that count, without the background."""
    if not is_volume(row):
        return [row]
    marked = []
    for maps in (row.samples, () if row.raters is None else row.raters):
        own = np.zeros(row.image.shape[1:])
        for labels in maps:
            own += np.isin(labels, counted)
        marked.append(own)
    return [_cut(row, plane) for plane in planes_through(marked, row.pixel_size)]


def main_plane(row: AnyRow, counted: Sequence[int]) -> AnyRow:
    """One picture of a volume: the axial plane, or the largest where that one is less than half as large. A picture as
    it is."""
    rows = plane_rows(row, counted)
    largest = max(rows, key=lambda each: each.image[0].size)
    return rows[0] if 2 * rows[0].image[0].size >= largest.image[0].size else largest


def _cut(row: AnyRow, plane: Plane) -> AnyRow:
    of_row = {field.name: getattr(row, field.name) for field in fields(row)}
    maps: dict[str, Any] = {name: plane.of(value) for name, value in of_row.items() if isinstance(value, np.ndarray)}
    return replace(
        row,
        **maps,
        name=f"{row.name}: {plane.name}",
        caption="" if plane.axis else row.caption,
        pixel_size=plane.pixel_size(row.pixel_size),
    )


def _without(sides: tuple[float, float, float], axis: int) -> tuple[float, float]:
    first, second = (side for other, side in enumerate(sides) if other != axis)
    return first, second
