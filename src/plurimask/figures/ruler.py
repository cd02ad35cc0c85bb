"""The length of a scale bar: a round number of the image's own unit."""

from __future__ import annotations

import math
from typing import NamedTuple

from plurimask.data.images.pixel_size import PixelSize

_LONGEST = 0.3
"""Of the width of what is shown."""
_NEXT = {"nm": "µm", "µm": "mm", "mm": "m"}


class Ruler(NamedTuple):
    """A scale bar."""

    words: str
    """"20 µm"."""
    share: float
    """Of the width of what is shown, 0.12 to 0.3."""


def ruler(pixel_size: PixelSize | None, columns: int) -> Ruler | None:
    """The longest bar of 1, 2 or 5 times a power of ten that takes at most 0.3 of so many columns of an image.

    None where the size of a pixel is not known, or is for printing alone.
    """
    if pixel_size is None or not pixel_size.is_measured:
        return None
    width, unit = columns * pixel_size.width, pixel_size.unit
    power = 10.0 ** math.floor(math.log10(_LONGEST * width))
    length = max(step * power for step in (1, 2, 5) if step * power <= _LONGEST * width * (1 + 1e-9))
    share = length / width
    while length >= 1000 and unit in _NEXT:
        length, unit = length / 1000, _NEXT[unit]
    return Ruler(f"{length:g} {unit}", share)
