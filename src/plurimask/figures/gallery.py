"""Strips of small pictures, one strip an image: what every method makes of it, side by side."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from plurimask.distribution import IGNORE
from plurimask.figures.colours import RATER_COLOUR, SAMPLE_COLOUR, Colours, display_image, over, peak
from plurimask.figures.page import Classes

CELL = (96, 96)
"""Width and height of a small picture, pixels."""

_LARGEST = (144, 96)
_BORDER = 1  # white pixels around each picture
_QUALITY = 60
_OPACITY = {True: 0.5, False: 0.75}  # by whether there is one class


@dataclass(frozen=True, eq=False)
class GalleryPrediction:
    """What one method makes of an image."""

    likely: NDArray[Any]
    """`(H, W)`, the most likely class of each pixel's mean."""
    entropy: NDArray[Any]
    """`(H, W)`, nats."""
    scores: Mapping[str, float]
    """By their keys, such as `ged` and `dice`; NaN where there is none."""
    samples: NDArray[Any] | None = None
    """`(n, H, W)`, label maps to flip through; may be thinned. None for none."""


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """What is drawn of one image."""

    name: str
    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    raters: NDArray[Any] | None
    """`(R, H, W)`, label maps; a map of IGNORE is a rater who gave none. None where nobody labelled the image."""
    predictions: Mapping[str, GalleryPrediction]
    """By the name of the method."""


class GalleryItem(NamedTuple):
    """A drawn image: a few kilobytes, where a row holds all its arrays."""

    name: str
    picture: bytes
    """See `gallery_strip`."""
    scores: Mapping[str, Mapping[str, float]]
    """By the method, in the order of the strip's columns, and by the key."""
    samples: Mapping[str, tuple[int, bytes]]
    """By the method: how many, and their picture, see `samples_strip`."""


def gallery_item(row: GalleryRow, classes: Classes, cell: tuple[int, int] = CELL) -> GalleryItem:
    """The strip of a row with its scores and samples; arguments as for `gallery_strip`."""
    scores = {method: prediction.scores for method, prediction in row.predictions.items()}
    size = fitted(row.image, cell)
    samples = {
        method: (len(prediction.samples), samples_strip(prediction.samples, classes, size, cell))
        for method, prediction in row.predictions.items()
        if prediction.samples is not None
    }
    return GalleryItem(row.name, gallery_strip(row, classes, cell), scores, samples)


def image_titles(channels: Sequence[str]) -> tuple[str, ...]:
    """What is above the pictures of an image itself: three channels are one picture, others are one each."""
    return ("image",) if len(channels) in (1, 3) else tuple(channels)


def cell_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of the cells for images of mostly this size: at most 144 and 96 pixels."""
    scale = min(_LARGEST[0] / width, _LARGEST[1] / height)
    return max(24, round(width * scale)), max(24, round(height * scale))


def gallery_strip(row: GalleryRow, classes: Classes, cell: tuple[int, int] = CELL) -> bytes:
    """One image as a row of small pictures, all of one size: a WebP file of some kilobytes.

    The pictures: the image, a channel each unless there are three, which are shown in colour; the raters' maps laid
    over each other on the image; for each method its most likely map on the image, and its entropy, whose scale is the
    same for all methods: up to ln 2 for binary data, else up to the highest value in the row. Maps are thinned, never
    blended.

    The image and its maps may be thinned, each by itself. Each picture is fitted into a `cell`, width and height in
    pixels, the same for all rows of a gallery.
    """
    size = fitted(row.image, cell)
    seen = shrunk(display_image(row.image), size)
    grey = seen.mean(-1, keepdims=True).repeat(3, -1)
    # Grey and of little contrast below the maps: colours mean classes alone, and grain costs few bytes.
    below = 0.1 + 0.55 * grey if classes.is_binary else 0.3 + 0.5 * grey
    cells = [seen] if len(row.image) == 3 else [shrunk(display_image(channel[None]), size) for channel in row.image]
    cells.append(raters_over(row.raters, below, classes, size))
    entropies = [prediction.entropy for prediction in row.predictions.values()]
    highest = math.log(2) if classes.is_binary else peak(entropies, 1e-3)
    for prediction in row.predictions.values():
        cells.append(over(below, small_overlay(prediction.likely, classes, SAMPLE_COLOUR, size)))
        entropy = shrunk(np.nan_to_num(np.asarray(prediction.entropy, np.float64)), size)
        cells.append(colormaps["magma"](np.clip(entropy / highest, 0, 1))[..., :3])
    strip = np.concatenate([_framed(one, cell, np.ones(3)) for one in cells], axis=1)
    return webp(strip, _QUALITY)


def samples_strip(
    samples: NDArray[Any], classes: Classes, size: tuple[int, int], cell: tuple[int, int] = CELL
) -> bytes:
    """Label maps `(n, H, W)` as a row of n pictures, transparent but for what they mark: a WebP file without loss.

    Each lies over the cells of `gallery_strip` with the same `cell` for an image that is fitted into it by `size`.
    """
    paints = [small_overlay(one, classes, SAMPLE_COLOUR, size) for one in samples]
    return webp(np.concatenate([_framed(paint, cell, np.zeros(4)) for paint in paints], axis=1))


def webp(picture: Colours, quality: int | None = None) -> bytes:
    """A picture `(H, W, 3)`, or `(H, W, 4)` with opacity, 0 to 1, as a WebP file; without a `quality`, without loss."""
    stream = io.BytesIO()
    pixels = Image.fromarray(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8))
    pixels.save(stream, format="WEBP", quality=100 if quality is None else quality, lossless=quality is None, method=4)
    return stream.getvalue()


def fitted(image: NDArray[Any], cell: tuple[int, int]) -> tuple[int, int]:
    """Width and height of an image `(K, H, W)` in a cell, by width and height."""
    height, width = image.shape[-2:]
    scale = min(cell[0] / width, cell[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def raters_over(raters: NDArray[Any] | None, below: Colours, classes: Classes, size: tuple[int, int]) -> Colours:
    """The mean of the raters' coloured maps: what few of them marked is faint. Light grey if nobody gave a map."""
    maps = [] if raters is None else [labels for labels in raters if not (labels == IGNORE).all()]
    if not maps:
        return np.full_like(below, 0.9)
    drawn: Colours = np.mean([over(below, small_overlay(one, classes, RATER_COLOUR, size)) for one in maps], axis=0)
    return drawn


def small_overlay(labels: NDArray[Any], classes: Classes, own: str, size: tuple[int, int], edge: int = 1) -> Colours:
    """RGBA `(h, w, 4)` of a label map; the edge of binary data's one class, so many pixels wide, is drawn in full."""
    small = nearest(np.asarray(labels), size)
    paint = classes.overlay(small, own, _OPACITY[classes.is_binary])
    if classes.is_binary:
        mask = small == 1
        inside = binary_erosion(mask, iterations=edge, border_value=1)
        paint[mask & ~inside, 3] = 1
        paint[inside, 3] = 0.35
    return paint


def nearest(maps: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """`(H, W, ...)` brought to `size`, width and height, by the nearest pixel: nothing is blended."""
    width, height = size
    rows = ((np.arange(height) + 0.5) * maps.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * maps.shape[1] / width).astype(int)
    chosen: NDArray[Any] = maps[rows][:, columns]
    return chosen


def shrunk(picture: Colours, size: tuple[int, int]) -> Colours:
    """`(H, W)` or `(H, W, 3)`, smoothly resized to `size`, width and height; within the values that are there."""
    if picture.ndim == 3:
        return np.stack([shrunk(plane, size) for plane in np.moveaxis(picture, -1, 0)], axis=-1)
    is_larger = size[0] > picture.shape[1] or size[1] > picture.shape[0]
    how = Image.Resampling.BICUBIC if is_larger else Image.Resampling.BOX
    resized = np.asarray(Image.fromarray(picture.astype(np.float32)).resize(size, how), np.float64)
    return np.clip(resized, picture.min(), picture.max())


def _framed(picture: Colours, cell: tuple[int, int], around: Colours) -> Colours:
    """In the middle of a cell with a border, of the colour `around`."""
    height, width = picture.shape[:2]
    framed = np.tile(around, (cell[1] + 2 * _BORDER, cell[0] + 2 * _BORDER, 1))
    top, left = (cell[1] - height) // 2 + _BORDER, (cell[0] - width) // 2 + _BORDER
    framed[top : top + height, left : left + width] = picture
    return framed
