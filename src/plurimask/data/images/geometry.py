"""The grid of a volume: where its voxels lie in the patient, and how large they are.

Volumes are stored in any of 48 orders and directions of axes. Everything here looks at them in one: depth from inferior
to superior, height from posterior to anterior, width from left to right (as near as the axes come to that); what is
written goes back to the order of the file. Voxels are reordered and mirrored, never interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from plurimask.data.images.pixel_size import PixelSize
from plurimask.errors import InputError

Array = npt.NDArray[Any]

TOLERANCE = 0.05
"""Of the shortest side of a voxel: by so much the corners of an image and its mask may lie apart. Headers hold the
same geometry in numbers of different roundings."""
_MILLIMETRES = {"µm": 1e-3, "mm": 1.0, "m": 1e3}


@dataclass(frozen=True)
class Grid:
    """Where the voxels of one file lie. The axes of the file are called X, Y, Z in the order in which it has them."""

    shape: tuple[int, int, int]
    """`(X, Y, Z)`, as the file has them."""
    affine: tuple[tuple[float, ...], ...]
    """4 x 4: from indices of the file's axes to positions; x to the right, y to anterior, z to superior (RAS+)."""
    unit: str | None = "mm"
    """Of positions: µm, mm or m; None where the file says nothing of the size of its voxels."""

    @classmethod
    def of(cls, shape: Sequence[int], affine: Array, unit: str | None, where: str) -> Grid:
        """The grid of a file that is named `where`.

        Raises:
            InputError: the axes do not span a space: one has no length, or no number, or two are parallel.
        """
        matrix = np.asarray(affine, np.float64)
        sides = np.sqrt(np.square(matrix[:3, :3]).sum(0))
        if not np.isfinite(matrix).all() or (sides <= 0).any() or abs(np.linalg.det(matrix[:3, :3] / sides)) < 1e-3:
            listed = ", ".join(f"{side:g}" for side in sides)
            raise InputError(
                f"{where}: voxels with sides of {listed} along axes that span no space: correct the header's affine "
                "(sform, qform or pixdim)"
            )
        rows = tuple(tuple(float(value) for value in row) for row in matrix)
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), rows, unit)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The affine as an array."""
        return np.array(self.affine)

    @cached_property
    def orientation(self) -> npt.NDArray[np.int64]:
        """`(3, 2)`: for each of the file's axes the nearest of x, y, z (0 to 2), and 1 or -1 for its direction."""
        from plurimask.data.images.medical import nibabel

        found: npt.NDArray[np.int64] = nibabel().orientations.io_orientation(self.matrix).astype(np.int64)
        return found

    @cached_property
    def canonical_affine(self) -> npt.NDArray[np.float64]:
        """4 x 4: from indices `(x, y, z)` of `to_canonical`'s last three axes, reversed, to positions."""
        from plurimask.data.images.medical import nibabel

        found: npt.NDArray[np.float64] = self.matrix @ nibabel().orientations.inv_ornt_aff(self.orientation, self.shape)
        return found

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """`(D, H, W)`."""
        sizes = dict(zip(self.orientation[:, 0].tolist(), self.shape, strict=True))
        return sizes[2], sizes[1], sizes[0]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of voxels, `(D, H, W)`, in mm, or in no unit where the file has none."""
        depth, height, width = self._sides()
        scale = _MILLIMETRES[self.unit or "mm"]
        return depth * scale, height * scale, width * scale

    @property
    def pixel_size(self) -> PixelSize | None:
        """The same in the file's unit; None where the file says nothing of it."""
        depth, height, width = self._sides()
        return None if self.unit is None else PixelSize(height, width, self.unit, depth)

    def _sides(self) -> tuple[float, float, float]:
        width, height, depth = np.sqrt(np.square(self.canonical_affine[:3, :3]).sum(0)).tolist()
        return depth, height, width


def to_canonical(values: Array, grid: Grid) -> Array:
    """Values `(..., X, Y, Z)` in the file's order -> `(..., D, H, W)`, a view."""
    axes = grid.orientation[:, 0].tolist()
    leading = list(range(values.ndim - 3))
    mirrored = tuple(slice(None, None, -1) if sign < 0 else slice(None) for sign in grid.orientation[:, 1])
    return values[..., *mirrored].transpose(*leading, *(len(leading) + axes.index(axis) for axis in (2, 1, 0)))


def from_canonical(values: Array, grid: Grid) -> Array:
    """Values `(..., D, H, W)` -> `(..., X, Y, Z)` in the file's order, a view: undoes `to_canonical` exactly."""
    leading = list(range(values.ndim - 3))
    stored = values.transpose(*leading, *(len(leading) + 2 - axis for axis in grid.orientation[:, 0].tolist()))
    return stored[..., *(slice(None, None, -1) if sign < 0 else slice(None) for sign in grid.orientation[:, 1])]


def apart(one: Grid, other: Grid) -> str | None:
    """In which way the voxels of two files do not lie in the same places; None if they do, in whatever order."""
    if one.canonical_shape != other.canonical_shape:
        return f"{_listed(one.canonical_shape)} and {_listed(other.canonical_shape)} voxels (depth x height x width)"
    depth, height, width = one.canonical_shape
    corners = np.array([(x, y, z, 1) for x in (0, width - 1) for y in (0, height - 1) for z in (0, depth - 1)])
    scales = [_MILLIMETRES[grid.unit or "mm"] for grid in (one, other)]
    places = [
        corners @ grid.canonical_affine.T[:, :3] * scale for grid, scale in zip((one, other), scales, strict=True)
    ]
    distance = float(np.sqrt(np.square(places[0] - places[1]).sum(1)).max())
    if distance > TOLERANCE * min(one.spacing):
        return f"corners up to {distance:.4g} mm apart"
    sides = zip(one.spacing, other.spacing, strict=True)
    if any(not math.isclose(first, second, rel_tol=TOLERANCE) for first, second in sides):  # of a single slice
        return f"voxels of {_listed(one.spacing)} and {_listed(other.spacing)} mm"
    return None


def _listed(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:g}" for side in sides)
