"""Small pictures of one image: as it is, with its raters' maps, and with each reading of it outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plurimask.figures.colours import SAMPLE_COLOUR, Colours, display_image, over, thinned
from plurimask.figures.gallery import fitted, raters_over, shrunk, small_overlay, webp
from plurimask.figures.page import Classes, around

Part: TypeAlias = tuple[slice, slice]
"""Rows and columns of an image; all of it where they have no start."""

QUALITY = 70
_FAINT = 0.4
"""Opacity inside of outlines, as a share of that in galleries."""


def thumbnails(
    image: NDArray[Any],
    maps: Sequence[NDArray[np.uint8]],
    classes: Classes,
    side: int,
    raters: NDArray[np.uint8] | None = None,
) -> list[bytes]:
    """An image `(K, H, W)`, with its raters' maps, and with each of some label maps `(H, W)`: small WebP files.

    The longer side of each has `side` pixels. Maps are thinned, not blended. The maps of `raters`, `(R, H, W)`, are one
    picture, in which what few of them marked is faint; without them there is none. Where all that is marked lies in a
    small part, only the first picture shows the whole image, with a white frame around the part that the others show.
    """
    size, counted = fitted(image, (side, side)), classes.counted
    marked = [np.isin(labels, counted) for labels in (*maps, *(() if raters is None else raters))]
    part = around(np.any(marked, axis=0)) if marked else (slice(None), slice(None))
    stretched = display_image(thinned(image))
    seen = shrunk(stretched[_scaled(part, image.shape[-2:], stretched.shape)], size)
    pictures = [_framed(shrunk(stretched, size), part, image.shape[-2:])]
    if raters is not None:
        pictures.append(raters_over(raters[:, *part], seen, classes, size))
    for labels in maps:
        paint = small_overlay(labels[part], classes, SAMPLE_COLOUR, size)
        if classes.is_binary:  # the image shines through, but for outlines
            paint[..., 3] = np.where(paint[..., 3] < 1, _FAINT * paint[..., 3], 1.0)
        pictures.append(over(seen, paint))
    return [webp(picture, QUALITY) for picture in pictures]


def _framed(picture: Colours, part: Part, size: Sequence[int]) -> Colours:
    """A white frame around rows and columns of an image of `size`, in a picture of it."""
    rows, columns = _scaled(part, size, picture.shape)
    if rows.start is None:
        return picture
    framed = picture.copy()
    framed[[rows.start, rows.stop - 1], columns] = 1
    framed[rows, [columns.start, columns.stop - 1]] = 1
    return framed


def _scaled(part: Part, size: Sequence[int], shown: Sequence[int]) -> Part:
    """Rows and columns of an image of `size`, in a picture of it of the size `shown`; at least one of each."""
    if part[0].start is None:
        return part
    starts = [own.start * new // old for own, old, new in zip(part, size, shown, strict=False)]
    stops = [-(-own.stop * new // old) for own, old, new in zip(part, size, shown, strict=False)]
    return slice(starts[0], stops[0]), slice(starts[1], stops[1])
