"""Small pictures of one image: as it is, and with each reading of it outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurimask.figures.colours import SAMPLE_COLOUR, display_image, over, thinned
from plurimask.figures.gallery import fitted, raters_over, shrunk, small_overlay, webp
from plurimask.figures.page import Classes

_QUALITY = 70
_FAINT = 0.4
"""Opacity inside of outlines, as a share of that in galleries."""


def thumbnails(image: NDArray[Any], maps: Sequence[NDArray[np.uint8]], classes: Classes, side: int) -> list[bytes]:
    """An image `(K, H, W)` and it with each of some label maps `(H, W)` over it: WebP files of some kilobytes.

    The longer side of each has `side` pixels. Maps are thinned, not blended.
    """
    size = fitted(image, (side, side))
    seen = shrunk(display_image(thinned(image)), size)
    pictures = [seen]
    for labels in maps:
        paint = small_overlay(labels, classes, SAMPLE_COLOUR, size)
        if classes.is_binary:  # the image shines through, but for outlines
            paint[..., 3] = np.where(paint[..., 3] < 1, _FAINT * paint[..., 3], 1.0)
        pictures.append(over(seen, paint))
    return [webp(picture, _QUALITY) for picture in pictures]


def raters_thumbnail(image: NDArray[Any], raters: NDArray[np.uint8], classes: Classes, side: int) -> bytes:
    """The maps of raters `(R, H, W)` laid over each other on an image `(K, H, W)`: what few of them marked is faint."""
    size = fitted(image, (side, side))
    return webp(raters_over(raters, shrunk(display_image(thinned(image)), size), classes, size), _QUALITY)
