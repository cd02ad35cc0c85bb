"""Images, volumes and label maps brought to other sizes: linearly, or by the nearest value."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from plurimask.data.images.pixel_size import PixelSize

MILLIMETRES = {"nm": 1e-6, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3}
"""In each unit of length."""


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Images, probabilities (float) `(K, *spatial)` by linear interpolation, label maps (uint8) by the nearest pixel.

    Where an axis is made shorter, values are averaged over what they stand for.
    """
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    if maps.dtype == torch.uint8:
        return functional.interpolate(maps[None], size=tuple(size), mode="nearest-exact")[0]
    if maps.ndim == 3:
        return functional.interpolate(maps[None].float(), size=tuple(size), mode="bilinear", antialias=True)[0]
    # Linear interpolation is done axis by axis: slices in their plane, then along the depth.
    depth, *plane = size
    slices = functional.interpolate(maps.float(), size=plane, mode="bilinear", antialias=True)
    columns = slices.flatten(2)[:, None]
    along = functional.interpolate(columns, size=(depth, columns.shape[3]), mode="bilinear", antialias=True)
    return along.view(len(maps), depth, *plane)


def spacing_of(pixel_size: PixelSize | None) -> tuple[float, float, float] | None:
    """Of the voxels of a volume in mm, `(D, H, W)`; None where it is not known or not measured."""
    if pixel_size is None or pixel_size.depth is None or not pixel_size.is_measured:
        return None
    scale = MILLIMETRES[pixel_size.unit]
    return pixel_size.depth * scale, pixel_size.height * scale, pixel_size.width * scale
