"""Label maps and numbers as they come, from torch or numpy."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.errors import InputError
from plurimask.sets.unjudged import IGNORE as IGNORE

Maps: TypeAlias = Tensor | NDArray[Any]


def label_maps(maps: Maps, what: str = "label maps") -> Tensor:
    """Class indices of any whole type, or bool masks, as a uint8 tensor of the same shape; one that is so already is
    returned as it is.

    Args:
        maps: 0 to 255, where 255 (IGNORE) is a pixel that nobody judged.
        what: they are, for the error.

    Raises:
        InputError: other values, or numbers that need not be whole.
    """
    if isinstance(maps, Tensor):
        if maps.dtype == torch.uint8:
            return maps
        came, is_whole = str(maps.dtype), not (maps.is_floating_point() or maps.is_complex())
        values = maps.long() if is_whole else maps
    else:
        array = np.ascontiguousarray(maps)
        came, is_whole = str(array.dtype), array.dtype.kind in "bui"
        values = torch.from_numpy(array.astype(np.int64)) if is_whole else torch.empty(0)
    if is_whole and values.numel():
        low, high = (int(value) for value in values.aminmax())
        came, is_whole = f"{came} from {low} to {high}", low >= 0 and high <= IGNORE
    if not is_whole:
        raise InputError(f"{what} must be bool or class indices from 0 to {IGNORE}, whole numbers, not {came}")
    return values.to(torch.uint8)


def numbers(values: Maps) -> Tensor:
    """Probabilities, distances or counts as a tensor; one that is so already is returned as it is."""
    return values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))


def most_likely(logits: Tensor) -> Tensor:
    """The most likely class `(N, B, *spatial)`, uint8, of logits `(N, B, C, *spatial)`; of equals, the first.

    One pass per class: argmax over a dimension that is not the innermost is many times slower on a processor.
    """
    best, winner = logits[:, :, 0], torch.zeros_like(logits[:, :, 0], dtype=torch.uint8)
    for index in range(1, logits.shape[2]):
        winner.masked_fill_(logits[:, :, index] > best, index)
        if index + 1 < logits.shape[2]:
            best = torch.maximum(best, logits[:, :, index])
    return winner
