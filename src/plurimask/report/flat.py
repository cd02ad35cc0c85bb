"""Volumes in figures that are drawn of pictures: the plane that holds most of what raters marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import SliceAxis
from plurimask.figures.planes import Plane, planes_through


@dataclass(frozen=True)
class Flattening:
    """How maps of one image become pictures. Pictures stay as they are."""

    plane: Plane | None = None
    """Of a volume."""
    is_slice: bool = False
    """Whether the method is given that plane alone, as an image: it sees the volume slice by slice."""

    def seen(self, maps: Tensor) -> Tensor:
        """What the method is given of maps `(F, *spatial)`: all, or its slice `(F, h, w)`."""
        if self.plane is None or not self.is_slice:
            return maps
        return maps.select(self.plane.axis - 3, self.plane.position)

    def shown(self, maps: Tensor) -> NDArray[Any]:
        """The picture `(..., rows, columns)` of maps of what the method is given."""
        values: NDArray[Any] = maps.cpu().numpy()
        if self.plane is None:
            return values
        if not self.is_slice:
            return self.plane.of(values)
        return self.plane._replace(position=0).of(np.expand_dims(values, self.plane.axis - 3))


def flattening(
    raters: Tensor, counted_classes: Sequence[int], voxel: PixelSize | None = None, slices: SliceAxis | None = None
) -> Flattening:
    """How an image with these raters' maps `(R, *spatial)` is drawn: of a volume the axial plane, or that across the
    axis of the run's `slices`, which holds most of what is marked."""
    if raters.ndim < 4:
        return Flattening()
    marked = torch.isin(raters, torch.tensor(list(counted_classes), dtype=raters.dtype)).sum(0)
    return Flattening(planes_through([marked.numpy()], voxel)[slices or 0], slices is not None)
