"""An image as it is stored for the page, and its thumbnail for the list."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.data import DataDescription
from plurimask.distribution import IGNORE
from plurimask.figures.colours import (
    SAMPLE_COLOUR,
    boundary_share,
    display_image,
    over,
    rater_colours,
    rgb,
    thinned,
)
from plurimask.figures.gallery import fitted, nearest, shrunk, small_overlay, webp
from plurimask.figures.page import Classes
from plurimask.prediction.readings import class_areas
from plurimask.report.drawn import NUM_FLIPPED_RATERS, shown_raters
from plurimask.viewer.bundle import Scaled, pack, step_of
from plurimask.viewer.gallery import Stored

THUMBNAIL = 96
"""Pixels of the longer side."""
_QUALITY = 70
_PERCENTILES = (0.5, 99.5)
_ALIKE = 4
"""Three channels whose spans differ by less are one picture in colour, stretched together."""
_FLIPPED = (
    "Classes flip at random in these data, by a law that is known: of its raters {count} draws are shown, not persons."
)


def classes_of(about: DataDescription) -> Classes:
    """The classes of a data set, and how each is drawn."""
    return Classes(about.class_names, about.has_background)


def image_bundle(number: int, stored: Stored, about: DataDescription, rater_names: tuple[str, ...], seed: int) -> bytes:
    """All that is stored of an image, as it is sent."""
    pixels = stored.image.numpy()
    size, step = pixels.shape[-2:], step_of((pixels.shape[-2], pixels.shape[-1]))
    raters, names, note = _raters(stored, rater_names, seed)
    kept = [rater for rater, one in enumerate(raters) if bool((one != IGNORE).any())]
    colours = rater_colours(len(raters))
    percentiles, display = _stretch(pixels)
    meta: dict[str, Any] = {
        "id": number,
        "name": stored.name,
        "size": size,
        "step": step,
        "channels": about.channel_names,
        "display": display,
        "range": [[float(one.min()), float(one.max())] for one in pixels],
        "percentiles": percentiles,
        "raters": [{"index": rater, "name": names[rater], "colour": colours[rater]} for rater in kept],
        "rater_areas": [class_areas(raters[rater].numpy(), about.num_classes).tolist() for rater in kept],
        "note": note,
        "pixel_size": _pixel_size(stored),
    }
    arrays: dict[str, NDArray[Any] | Scaled] = {"pixels": _small_type(pixels[:, ::step, ::step])}
    if kept:
        arrays["raters"] = raters[kept][:, ::step, ::step].numpy()
    return pack(meta, arrays)


def _raters(stored: Stored, rater_names: tuple[str, ...], seed: int) -> tuple[Tensor, tuple[str, ...], str | None]:
    """Their maps `(R, H, W)` and names, and what is to be said of them."""
    if stored.example is None:
        return torch.empty(0, *stored.image.shape[1:], dtype=torch.uint8), (), None
    if not stored.example.flips:
        return stored.example.labels, rater_names, None
    names = tuple(f"draw {one + 1}" for one in range(NUM_FLIPPED_RATERS))
    return shown_raters(stored.example, seed), names, _FLIPPED.format(count=NUM_FLIPPED_RATERS)


def _pixel_size(stored: Stored) -> dict[str, Any] | None:
    size = stored.pixel_size
    return {"height": size.height, "width": size.width, "unit": size.unit} if size and size.is_measured else None


def _stretch(pixels: NDArray[Any]) -> tuple[list[list[float]], str]:
    """The values of each channel that become black and white, and how channels are shown together."""
    ends = [np.percentile(thinned(one), _PERCENTILES).tolist() for one in pixels]
    for number, one in enumerate(pixels):
        if ends[number][0] >= ends[number][1]:
            ends[number] = [float(one.min()), float(one.max())]
    if len(pixels) != 3:
        return ends, "two" if len(pixels) == 2 else "grey"
    spans = [high - low for low, high in ends]
    if max(spans) < _ALIKE * min(spans):
        together = [min(low for low, _ in ends), max(high for _, high in ends)]
        ends = [together] * 3
    return ends, "rgb"


def _small_type(pixels: NDArray[Any]) -> NDArray[Any]:
    """Values in the smallest type that holds them as they are."""
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 65535 and bool((pixels == np.rint(pixels)).all()):
        return pixels.astype(np.uint8 if high <= 255 else np.uint16)
    return pixels.astype(np.float32, copy=False)


def thumbnail(image: NDArray[Any], samples: NDArray[np.uint8] | None, classes: Classes) -> bytes:
    """A small WebP of an image `(K, H, W)`, with the outlines of samples `(N, H, W)` of it if there are any: the more
    of them share an outline, the plainer it is. Classes that are too many for that are painted, of the first sample.
    """
    size = fitted(image, (THUMBNAIL, THUMBNAIL))
    picture = shrunk(display_image(thinned(image)), size)
    if samples is not None and classes.are_outlined:
        for index in classes.counted:
            lines = boundary_share(np.stack([nearest(one == index, size) for one in samples]))
            paint = np.zeros((*picture.shape[:2], 4))
            paint[..., :3] = rgb(classes.colour(index, SAMPLE_COLOUR))
            paint[..., 3] = np.sqrt(lines)
            picture = over(picture, paint)
    elif samples is not None:
        picture = over(picture, small_overlay(samples[0], classes, SAMPLE_COLOUR, size))
    return webp(picture, _QUALITY)
