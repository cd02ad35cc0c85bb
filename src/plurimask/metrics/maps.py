"""Label maps and numbers as they come, from torch or numpy: the border of the public functions of this room."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plurimask.sets.maps import Maps, label_maps, most_likely, numbers

__all__ = ["Maps", "is_counted", "label_map_of", "label_maps", "numbers"]


def label_map_of(mean: Tensor) -> Tensor:
    """The most likely class of each pixel of mean probabilities `(C, *spatial)`: `(*spatial)`, uint8."""
    return most_likely(mean[None, None])[0, 0]


def is_counted(maps: Tensor, counted_classes: Sequence[int]) -> Tensor:
    """Where label maps hold one of the counted classes: bool, of the same shape."""
    return torch.isin(maps, torch.tensor(list(counted_classes), dtype=maps.dtype, device=maps.device))
