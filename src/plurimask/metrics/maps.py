"""Label maps and numbers as they come, from torch or numpy: the border of the public functions of this room."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.errors import InputError

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
