"""Small pictures of one image: as it is, and with each reading of it outlined."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plurimask.figures.colours import SAMPLE_COLOUR, Colours, display_image, over, thinned
from plurimask.figures.gallery import shrunk, small_overlay
from plurimask.figures.page import Classes

_QUALITY = 70
_FAINT = 0.4
"""Opacity inside of outlines, as a share of that in galleries."""


def thumbnails(image: NDArray[Any], maps: Sequence[NDArray[np.uint8]], classes: Classes, side: int) -> list[bytes]:
    """An image `(K, H, W)` and it with each of some label maps `(H, W)` over it: WebP files of some kilobytes.

    The longer side of each has `side` pixels. Maps are thinned, not blended.
    """
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    seen = shrunk(display_image(thinned(image)), size)
    pictures = [seen]
    for labels in maps:
        paint = small_overlay(labels, classes, SAMPLE_COLOUR, size)
        if classes.is_binary:  # the image shines through, but for outlines
            paint[..., 3] = np.where(paint[..., 3] < 1, _FAINT * paint[..., 3], 1.0)
        pictures.append(over(seen, paint))
    return [webp(picture) for picture in pictures]


def webp(picture: Colours) -> bytes:
    """A picture `(H, W, 3)`, 0 to 1, as a small file."""
    stream = io.BytesIO()
    pixels = Image.fromarray(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8))
    pixels.save(stream, format="WEBP", quality=_QUALITY, method=4)
    return stream.getvalue()
