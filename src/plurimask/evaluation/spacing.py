"""How large the voxels of a data set are, and how far from cubes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from plurimask.data.images.pixel_size import PixelSize

ANISOTROPIC = 3.0
"""Voxels that are longer than that on one side than on another."""

_Sides = tuple[float, float, float]


class SpacingReport(BaseModel):
    """The sizes of voxels of the volumes of one split, each axis by itself; sides are depth, height, width."""

    model_config = ConfigDict(frozen=True)

    unit: str
    smallest: _Sides
    median: _Sides
    largest: _Sides
    anisotropy: float
    """The longest side over the shortest, of the volume where that is largest."""
    num_unknown: int
    """Volumes whose files do not say the size of a voxel."""

    def line(self) -> str:
        """In words, for the terminal."""
        medians = " x ".join(f"{side:g}" for side in self.median)
        words = f"{medians} {self.unit} (depth x height x width)"
        if self.smallest != self.largest:
            extents = " x ".join(f"{low:g}..{high:g}" for low, high in zip(self.smallest, self.largest, strict=True))
            words = f"median {words}, {extents}"
        words += f"; longest side {self.anisotropy:.3g} times the shortest"
        words += " (anisotropic)" if self.anisotropy > ANISOTROPIC else ""
        return words + (f"; not known of {self.num_unknown} volumes" if self.num_unknown else "")


def spacing_report(sizes: Sequence[PixelSize | None]) -> SpacingReport | None:
    """Of the voxels of all volumes; None if none has a known size, or they are pixels."""
    known = [size for size in sizes if size is not None and size.depth is not None]
    if not known:
        return None
    unit = known[0].unit
    scales = {"µm": 1e-3, "mm": 1.0, "m": 1e3}
    sides = np.array([(size.depth, size.height, size.width) for size in known])
    sides *= np.array([[scales[size.unit] / scales[unit]] for size in known])
    smallest, median, largest = (_sides(rule(sides, axis=0)) for rule in (np.min, np.median, np.max))
    return SpacingReport(
        unit=unit,
        smallest=smallest,
        median=median,
        largest=largest,
        anisotropy=float((sides.max(1) / sides.min(1)).max()),
        num_unknown=len(sizes) - len(known),
    )


def _sides(values: np.ndarray) -> _Sides:
    depth, height, width = (float(f"{value:.6g}") for value in values)
    return depth, height, width
