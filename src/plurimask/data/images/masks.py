"""What one mask file holds: values, palette indices, colours, or one map per class.

What that means is decided for all masks of a data set together, in `plurimask.data.forms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from plurimask.data.images.numbers import whole_numbers
from plurimask.data.images.stored import Array, Stored
from plurimask.errors import InputError

MaskKind = Literal["values", "palette", "colours", "stack"]


@dataclass(frozen=True)
class StoredMask:
    """The content of one mask file."""

    values: Array
    """`(H, W)` or `(D, H, W)`, unsigned integers: values, indices of the palette, colours 0xRRGGBB, or of a stack 0
    where no map marks the pixel and k + 1 where map k does."""
    kind: MaskKind = "values"
    palette: tuple[int, ...] = ()
    """The colour of each index, 0xRRGGBB; invisible ones are black."""
    num_maps: int = 1
    """Of a stack."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def nbytes(self) -> int:
        return self.values.nbytes


def as_mask(stored: Stored, where: str) -> StoredMask:
    """The mask in a decoded file; `where` names it in errors.

    A gray mask saved as R = G = B is values. Invisible pixels are 0.

    Raises:
        InputError: a value is no whole number of at least 0, a pixel is half transparent or has several classes.
    """
    channels = stored.values if stored.alpha is None else _visible(stored.values, stored.alpha, where)
    if stored.palette is not None:
        colours = _packed(stored.palette[:, :3].T) * (stored.palette[:, 3] > 0)
        return StoredMask(whole_numbers(channels[0], where), "palette", tuple(colours.tolist()))
    if len(channels) == 1:
        return StoredMask(whole_numbers(channels[0], where))
    if len(channels) == 3 and (channels[0] == channels[1]).all() and (channels[0] == channels[2]).all():
        return StoredMask(whole_numbers(channels[0], where))
    if stored.is_colour and channels.dtype == np.uint16 and not (channels % 257).any():  # 8 bits, written as 16
        channels = (channels // 257).astype(np.uint8)
    if stored.is_colour and channels.dtype == np.uint8:
        return StoredMask(_packed(channels), "colours")
    return _stack(channels, where)


def _packed(colours: Array) -> npt.NDArray[np.uint32]:
    """R, G, B of shape `(3, ...)`, uint8 -> 0xRRGGBB `(...)`."""
    red, green, blue = colours.astype(np.uint32)
    packed: npt.NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return packed


def _visible(channels: Array, alpha: Array, where: str) -> Array:
    """`channels`, 0 where `alpha` is 0."""
    opaque = alpha.max(initial=0)
    hidden = alpha == 0
    if not (hidden | (alpha == opaque)).all():
        raise InputError(
            f"{where}: a mask with half-transparent pixels, whose class is not clear: save it without transparency"
        )
    shown = np.where(hidden, 0, channels).astype(channels.dtype)
    if hidden.any() and not hidden.all() and not shown.any():
        raise InputError(
            f"{where}: a mask that is black where it is not transparent, so that only its transparency marks anything: "
            "save it as gray, the object white"
        )
    return shown


def _stack(channels: Array, where: str) -> StoredMask:
    """One map per class."""
    marked = channels != 0
    if (marked.sum(0) > 1).any():
        raise InputError(
            f"{where}: a mask with {len(channels)} channels that differ, expected one channel, or one map per class "
            "that do not overlap: save one class index per pixel (gray or palette)"
        )
    values = np.where(marked.any(0), marked.argmax(0) + 1, 0)
    return StoredMask(values.astype(np.min_scalar_type(len(channels))), "stack", num_maps=len(channels))
