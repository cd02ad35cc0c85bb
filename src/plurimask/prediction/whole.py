"""From the window that a run sees to the whole image, in the values of the data's masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurimask.data import DataDescription
from plurimask.distribution import IGNORE
from plurimask.prediction.predicted import Predicted


def mask_values(description: DataDescription) -> NDArray[Any]:
    """The value in mask files of each label from 0 to 255: `(256,)`, uint8 or uint16."""
    ignored = IGNORE if description.ignore_value is None else description.ignore_value
    values = np.full(IGNORE + 1, ignored)
    values[: description.num_classes] = description.class_values
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)


def outside_label(description: DataDescription) -> int:
    """The label of what lies outside of the window: background, or not judged where there is none."""
    return 0 if description.has_background else IGNORE


def outside_maps(description: DataDescription) -> dict[str, float | NDArray[Any]]:
    """The name of each map, and what it is outside of the window: surely background, or NaN where there is none; of the
    mean `(C,)`."""
    nothing = 0.0 if description.has_background else np.nan
    surely = np.full(description.num_classes, nothing)
    if description.has_background:
        surely[0] = 1
    return {"mean": surely, "entropy": nothing, "mutual_information": nothing, "variance": nothing}


def whole(values: NDArray[Any], predicted: Predicted, outside: float | NDArray[Any]) -> NDArray[Any]:
    """Values `(..., *window)` of a prediction -> `(..., *spatial)` of the whole image."""
    return whole_map(values, predicted.window, predicted.size, outside)


def whole_map(
    values: NDArray[Any], window: Sequence[slice], size: Sequence[int], outside: float | NDArray[Any]
) -> NDArray[Any]:
    """Values `(..., *window)` -> `(..., *size)`, `outside` around them; of several planes one value, or one each."""
    if values.shape[-len(size) :] == tuple(size):
        return values
    around = np.asarray(outside)
    full = np.full(
        (*values.shape[: -len(size)], *size), around.reshape(*around.shape, *[1] * len(size)), dtype=values.dtype
    )
    index: tuple[Any, ...] = (..., *window)
    full[index] = values
    return full
