"""A cheap look at training data: what a plan has to know of them."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.distribution import IGNORE

MAX_IMAGES, MAX_PIXELS = 200, 2 * 10**8
"""At most so many examples are read, and no more once their maps have so many pixels."""
MOST_RATERS = 4
"""Drawn for an image in a step."""
_SIDE = 512  # pixels: larger maps are thinned before objects are sought
_SPECK = 9  # pixels: smaller objects are not counted


class DataLook(BaseModel):
    """What was seen of the training data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_images: int
    num_seen: int
    """Images that were read, evenly spread over all."""
    height: int
    width: int
    """Pixels, medians."""
    is_one_size: bool
    num_classes: int
    num_raters: int
    """Present on an image, the median; where classes flip, as many as a step draws at most: there are any number."""
    foreground: float | None
    """Share of the pixels that a rater marks, the mean; None where no class is background."""
    object_side: int | None
    """Pixels: nine of ten connected objects have no longer side than this; None where there are none."""
    object_width: int | None
    """Pixels: how thick objects are at their thickest, the median."""
    agreement: float | None
    """Mean Dice of the foreground of two raters; None where no image has two who mark something."""

    def lines(self) -> list[str]:
        """In words, for people."""
        size = f"{self.height}x{self.width}" + ("" if self.is_one_size else " (median; they differ)")
        words = f"{self.num_images:,} images of {size} pixels, {self.num_classes} classes"
        if self.foreground is not None:
            words += f", {self.foreground:.1%} foreground"
        if self.object_side is not None:
            words += f", objects up to {self.object_side} pixels long and about {self.object_width} thick"
        agreement = "" if self.agreement is None else f", who agree at Dice {self.agreement:.2f}"
        return [f"{words}; {self.num_raters} rater{'s' * (self.num_raters != 1)} each{agreement}"]


def look_at(examples: ExampleSet, about: DataDescription) -> DataLook:
    """Reads up to `MAX_IMAGES` examples, evenly spread: the same each time.

    Raises:
        InputError: a file is damaged or does not fit.
    """
    count = min(len(examples), MAX_IMAGES)
    has_objects = about.has_background and not about.flips
    sizes: list[tuple[int, int]] = []
    raters, shares, sides, widths, agreements = [], [], [], [], []
    pixels = 0
    for number in range(count):
        example = examples[number * len(examples) // count]
        height, width = example.image.shape[-2:]
        sizes.append((height, width))
        maps = _present(example)
        raters.append(len(maps))
        if has_objects and len(maps):
            masks, step = _thinned(np.isin(maps, about.counted_classes), maps == IGNORE)
            shares.append(float(masks.mean()))
            found = _objects(masks[number % len(masks)], step)
            sides += [side for side, _ in found]
            widths += [thick for _, thick in found]
            agreements += _agreements(masks)
        pixels += (len(example.labels) + len(example.image)) * height * width
        if pixels > MAX_PIXELS:
            break
    return DataLook(
        num_images=len(examples),
        num_seen=len(sizes),
        height=int(median(height for height, _ in sizes)),
        width=int(median(width for _, width in sizes)),
        is_one_size=len(set(sizes)) == 1,
        num_classes=about.num_classes,
        num_raters=MOST_RATERS if about.flips else int(median(raters)),
        foreground=fmean(shares) if shares else None,
        object_side=round(float(np.quantile(sides, 0.9))) if sides else None,
        object_width=round(median(widths)) if widths else None,
        agreement=fmean(agreements) if agreements else None,
    )


def _present(example: Example) -> NDArray[np.uint8]:
    maps: NDArray[np.uint8] = example.labels.numpy()
    present: NDArray[np.uint8] = maps[(maps != IGNORE).any((-2, -1))]
    return present


def _thinned(masks: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Masks `(R, H, W)` with every so many pixels only, and how many."""
    step = max(1, -(-max(masks.shape[-2:]) // _SIDE))
    return (masks & ~ignored)[:, ::step, ::step], step


def _objects(mask: NDArray[np.bool_], step: int) -> list[tuple[int, float]]:
    """Of each connected object, in pixels of the image: its longer side, and twice its greatest depth."""
    numbered, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return []
    numbers = np.arange(1, count + 1)
    areas = ndimage.sum_labels(mask, numbered, numbers) * step**2
    # What touches the edge of the image goes on there.
    depths = ndimage.maximum(ndimage.distance_transform_edt(np.pad(mask, 1, "edge"))[1:-1, 1:-1], numbered, numbers)
    boxes = ndimage.find_objects(numbered)
    return [
        (step * max(side.stop - side.start for side in box), 2 * step * float(depth))
        for box, area, depth in zip(boxes, areas, np.atleast_1d(depths), strict=True)
        if area >= _SPECK
    ]


def _agreements(masks: NDArray[np.bool_]) -> list[float]:
    """Dice of pairs of raters of whom one marks something, of four raters at most."""
    pairs = [(one, other) for one, other in combinations(masks[:4], 2) if one.any() or other.any()]
    return [float(2 * (one & other).sum() / (one.sum() + other.sum())) for one, other in pairs]
