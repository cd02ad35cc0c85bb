"""What readings and areas say in words, as the viewer says it (`viewer/src/logic/words.ts`): one table of examples,
`viewer/tests/words.json`, holds for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from plurimask.data.images.pixel_size import PixelSize

_COUNTS = ("No", "One", "Two", "Three", "Four", "Five")
_SIZES = (
    (),
    ("an object",),
    ("small", "large"),
    ("small", "medium", "large"),
    ("tiny", "small", "medium", "large"),
    ("tiny", "small", "medium", "large", "huge"),
)
_ALIKE = 1.15  # areas that differ by less are called the same
_AGREE, _UNSURE = 0.1, 0.4  # disagreement of samples that have one reading


def size_words(areas: Sequence[int]) -> list[str]:
    """Of the readings of binary data, by their areas in pixels: nothing, small, large; A and B where sizes are alike.

    At most five readings, as `find_readings` gives them.
    """
    marked = sorted((number for number, area in enumerate(areas) if area), key=lambda number: areas[number])
    sizes: list[list[int]] = []
    for place, number in enumerate(marked):
        if place and areas[number] < _ALIKE * areas[marked[place - 1]]:
            sizes[-1].append(number)
        else:
            sizes.append([number])
    words = ["nothing"] * len(areas)
    for size, alike in enumerate(sizes):
        word = "shape" if len(sizes) == 1 and len(alike) > 1 else _SIZES[len(sizes)][size]
        for letter, number in zip("ABCDE", sorted(alike), strict=False):
            words[number] = f"{word} {letter}" if len(alike) > 1 else word
    return words


def class_words(areas: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Of the readings of several classes, by the pixels of each class: what there is more and less of than in the
    first.
    """
    first, words = areas[0], ["most likely"]
    least_told = sum(first) / 1000
    for own in areas[1:]:
        changes = sorted(
            ((area - before, name) for area, before, name in zip(own, first, names, strict=True)),
            key=lambda change: -change[0],
        )
        (most, gained), (least, lost) = changes[0], changes[-1]
        parts = [f"more {gained}"] * (most > least_told) + [f"less {lost}"] * (least < -least_told)
        words.append(", ".join(parts) or "another place")
    return words


def headline(is_empty: Sequence[bool], disagreement: float) -> str:
    """One sentence about an image.

    Args:
        is_empty: whether each reading marks nothing.
        disagreement: 1 minus the mean Dice of two samples; NaN of one sample.
    """
    if len(is_empty) > 1:
        return f"{_COUNTS[len(is_empty)] if len(is_empty) < len(_COUNTS) else len(is_empty)} plausible readings"
    if is_empty[0]:
        return "Nothing, in every sample"
    if math.isnan(disagreement):
        return "One sample"
    if disagreement < _AGREE:
        return "One reading: the samples agree"
    return (
        "One reading, with an unsure outline" if disagreement < _UNSURE else "No clear readings: every sample differs"
    )


def percent(share: float) -> str:
    """0.374 is "37 %"; what is not nothing is not told as 0 %, and what is not all not as 100 %."""
    whole = math.floor(100 * share + 0.5)
    if whole == 0 and share > 0:
        return "< 1 %"
    return "> 99 %" if whole == 100 and share < 1 else f"{whole} %"


def area_words(pixels: tuple[int, int], pixel_size: PixelSize | None = None, unit: str = "px") -> str:
    """Smallest and largest area in three digits, in the unit of the pixels where it was measured: "41 – 72 px"; of
    volumes in millilitres. Else in `unit`."""
    scale = 1.0
    if pixel_size is not None and pixel_size.depth is not None:
        scale, unit = pixel_size.millilitres, "ml"
    elif pixel_size is not None and pixel_size.is_measured:
        scale, unit = pixel_size.height * pixel_size.width, f"{pixel_size.unit}²"
    low, high = (_digits(one * scale) for one in pixels)
    return f"{high} {unit}" if pixels[0] == pixels[1] else f"{low} \u2013 {high} {unit}"


def _digits(value: float) -> str:
    if value >= 1000:
        return f"{math.floor(value + 0.5):,}".replace(",", "\u202f")
    return np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="-") if value else "0"
