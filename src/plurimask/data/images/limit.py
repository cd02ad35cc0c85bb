"""How large an image may be: a few bytes can declare more pixels than any memory holds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from plurimask.errors import InputError, shown

OPTION = "PLURIMASK_MAX_PIXELS"
"""The environment variable that sets another limit."""
MAX_PIXELS = 2**29
"""Of an image, all channels together: 2 GiB in memory as float32."""


def max_pixels() -> int:
    """The limit: `MAX_PIXELS`, or what the environment says.

    Raises:
        InputError: it says no number above 0.
    """
    word = os.environ.get(OPTION)
    if word is None:
        return MAX_PIXELS
    if not (word.isascii() and word.isdigit() and 0 < len(word) < 19 and int(word)):
        raise InputError(f"{OPTION} is {shown(word)}, expected a number of pixels above 0: correct it or unset it")
    return int(word)


def refuse_large(shape: Sequence[int], where: str) -> None:
    """Raise `InputError` if an image of this shape, with its channels, has more pixels than the limit, or none. To be
    asked of what a file declares, before anything is decoded."""
    if any(side < 1 for side in shape):
        raise InputError(f"{where}: declares an image of {_size(shape)}, expected sides of at least 1: export it again")
    if math.prod(shape) > max_pixels():
        raise InputError(
            f"{where}: declares an image of {_size(shape)}, which is more than {max_pixels():,} pixels: cut it into "
            f"parts, or set {OPTION} if the memory suffices"
        )


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
