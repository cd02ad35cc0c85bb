"""How far a network sees: measured by what is not a number.

From one half of an image that is not a number (NaN), every score becomes NaN that depends on anything in this half:
layers hand it on whatever their weights are. So a pass over a small image shows the whole field, and that there is none
where a layer looks at all of the image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plurimask.method import SegmentationMethod
from plurimask.nn.place import Place, placed

MAX_HALO = 1024
"""Pixels: networks that see further are computed in blended windows."""
_PLACES = (0.25, 0.5, 0.75)
"""Where the border of the half lies: with aligned corners a network sees a little further at some places."""


class Field(NamedTuple):
    """What is around a tile so that its scores are those of the whole image."""

    strides: tuple[int, ...]
    """Along each axis tiles begin at multiples of them."""
    halo: tuple[int, ...] | None
    """Pixels along each axis, multiples of the strides; None where there is no such halo, or it is above `MAX_HALO`."""


def field_of(method: SegmentationMethod, num_channels: int) -> Field:
    """The field of a method, which is in evaluation mode."""
    strides = method.strides
    if not method.tiling.is_exact:
        return Field(strides, None)
    reaches = [_reach(method, num_channels, axis) for axis in range(len(strides))]
    halo = tuple(-(-one // stride) * stride for one, stride in zip(reaches, strides, strict=True) if one is not None)
    return Field(strides, halo if len(halo) == len(strides) else None)


def averaging_modules(method: SegmentationMethod) -> list[nn.Module]:
    """The modules that average over a whole image."""
    return [method.get_submodule(path) for path in method.tiling.averages]


def _reach(method: SegmentationMethod, num_channels: int, axis: int) -> int | None:
    """Pixels along an axis from a score to the furthest pixel that it depends on; None if they are too many."""
    size = [1] * len(method.strides)  # of the other axes: networks take that too, and it is fast
    size[axis] = 16 * method.strides[axis]
    while size[axis] <= 4 * MAX_HALO + 16 * method.strides[axis]:
        reached = _reach_within(method, num_channels, size, axis)
        if reached is not None:
            return reached if reached <= MAX_HALO else None
        size[axis] *= 2
    return None


def _reach_within(method: SegmentationMethod, num_channels: int, size: list[int], axis: int) -> int | None:
    """The same in images of a size, of which halves are lost; None if the field is cut by the images' ends."""
    length, stride = size[axis], method.strides[axis]
    borders = [round(length * share / stride) * stride for share in _PLACES]
    images = torch.zeros(2 * len(borders), num_channels, *size, device=next(method.parameters()).device)
    for number, at in enumerate(borders):
        images[number].narrow(axis + 1, at, length - at).fill_(torch.nan)
        images[number + len(borders)].narrow(axis + 1, 0, at).fill_(torch.nan)
    lost, reached = _lost(method, images, axis), 0
    if bool(lost[: len(borders), 0].any()) or bool(lost[len(borders) :, -1].any()):
        return None
    for number, at in enumerate(borders):
        after, before = lost[number].nonzero().flatten(), lost[number + len(borders)].nonzero().flatten()
        reached = max(reached, at - int(after[0]), int(before[-1]) + 1 - at)
    return reached


@torch.inference_mode()
def _lost(method: SegmentationMethod, images: Tensor, axis: int) -> Tensor:
    """Where along an axis a score of one draw is no number, of each image: bool `(B, length)`."""
    size = tuple(images.shape[2:])
    averages = {module: torch.zeros_like(average_of(module, images)) for module in averaging_modules(method)}
    with placed(Place((0,) * len(size), size, size, averages)):
        prediction = method(images)
        logits: Tensor = prediction.logits(prediction.draw_noise(1, torch.Generator().manual_seed(0)))
    lost = logits[0].isnan()
    return lost.movedim(axis + 2, 1).flatten(2).any(2)


def average_of(module: nn.Module, images: Tensor) -> Tensor:
    """What an averaging module finds in images: `(B, F)`."""
    features: Tensor = module.averaged(images)  # type: ignore[operator]
    return features.flatten(2).mean(2)
