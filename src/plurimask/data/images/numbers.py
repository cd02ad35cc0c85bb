"""Which numbers an image or a mask may hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from plurimask.data.images.stored import Array
from plurimask.errors import InputError

LARGEST = 1e18
"""Of the values of an image: the square of a larger one is infinite in float32, and such values stand for "no data"."""

LARGEST_MASK_VALUE = 2**32 - 1


def image_numbers(values: Array, where: str) -> npt.NDArray[np.float32]:
    """`values` as float32; `where` names them in the error.

    Raises:
        InputError: a value is complex, NaN, infinite, or larger than `LARGEST`.
    """
    if values.dtype.kind not in "biuf":
        what = "complex numbers" if values.dtype.kind == "c" else f"values of type {values.dtype}"
        raise InputError(f"{where}: {what}, expected real ones: save uint8, uint16 or float32")
    if values.dtype.kind == "f" and values.size:
        low, high = float(values.min()), float(values.max())  # NaN if one value is
        if not (low >= -LARGEST and high <= LARGEST):
            bad = ~np.isfinite(values)
            if bad.any():
                raise InputError(
                    f"{where}: {int(bad.sum())} values are NaN or infinite: replace them by numbers, or leave the "
                    "image out"
                )
            bad = np.abs(values) > LARGEST
            raise InputError(
                f"{where}: {int(bad.sum())} values such as {values[bad].flat[0]:.7g} are no measurements (no data?): "
                "cut them away or replace them, or leave the image out"
            )
    return values.astype(np.float32)


def whole_numbers(values: Array, where: str) -> Array:
    """`values` in the smallest unsigned integer type that holds them; `where` names them in the error.

    Raises:
        InputError: a value is negative, NaN, infinite or no whole number.
    """
    if values.dtype in (np.dtype(np.uint8), np.dtype(bool)):
        return values.view(np.uint8)
    if values.dtype.kind not in "uif":
        raise InputError(f"{where}: mask values of type {values.dtype}, expected whole numbers: save class indices")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            raise InputError(
                f"{where}: the mask holds {values[~whole].flat[0]:g}, expected whole numbers: "
                "save class indices, not probabilities"
            )
    if values.size and values.min() < 0:
        raise InputError(
            f"{where}: the mask holds {values.min():g}, expected values from 0: use 255 for unjudged pixels"
        )
    largest = int(values.max()) if values.size else 0
    if largest > LARGEST_MASK_VALUE:
        raise InputError(
            f"{where}: the mask holds {largest:.7g}, expected at most {LARGEST_MASK_VALUE}: save class indices"
        )
    return values.astype(np.min_scalar_type(largest))
