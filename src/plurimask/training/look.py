"""A cheap look at training data: what a plan has to know of them."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.resampling import spacing_of
from plurimask.data.slices import Slices
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
    depth: int | None = None
    """Slices of volumes, the median; None of images."""
    voxel: tuple[float, float, float] | None = None
    """mm, depth, height and width of a voxel, medians; None of images, and where no file says it."""
    is_one_size: bool
    num_classes: int
    num_raters: int
    """Present on an image, the median; where classes flip, as many as a step draws at most: there are any number."""
    foreground: float | None
    """Share of the pixels that a rater marks, the mean; None where no class is background."""
    object_side: int | None
    """Pixels: nine of ten connected objects have no longer side, of a slice, than this; None where there are none."""
    object_depth: int | None = None
    """Slices: nine of ten objects of volumes are in no more."""
    object_width: int | None
    """Pixels: how thick objects are at their thickest, the median."""
    agreement: float | None
    """Mean Dice of the foreground of two raters; None where no image has two who mark something."""
    num_volumes: int | None = None
    """Of which the images are slices; None of other images."""

    @property
    def size(self) -> tuple[int, ...]:
        """Along each axis of an image, medians."""
        return (self.height, self.width) if self.depth is None else (self.depth, self.height, self.width)

    def lines(self) -> list[str]:
        """In words, for people."""
        size, differ = "x".join(map(str, self.size)), "" if self.is_one_size else "median; they differ"
        if self.depth is None:
            what = "images" if self.num_volumes is None else f"slices of {self.num_volumes:,} volumes,"
            words = f"{self.num_images:,} {what} of {size}{f' ({differ})' if differ else ''} pixels"
        else:
            order = "depth x height x width" + (f", {differ}" if differ else "")
            voxel = "unknown" if self.voxel is None else " x ".join(f"{side:g}" for side in self.voxel) + " mm"
            words = f"{self.num_images:,} volumes of {size} voxels ({order}), the size of a voxel {voxel}"
        words += f", {self.num_classes} classes"
        if self.foreground is not None:
            words += f", {self.foreground:.1%} foreground"
        if self.object_side is not None:
            deep = "" if self.object_depth is None else f", {self.object_depth} slices deep"
            words += f", objects up to {self.object_side} pixels long{deep} and about {self.object_width} thick"
        agreement = "" if self.agreement is None else f", who agree at Dice {self.agreement:.2f}"
        return [f"{words}; {self.num_raters} rater{'s' * (self.num_raters != 1)} each{agreement}"]


def look_at(examples: ExampleSet, about: DataDescription) -> DataLook:
    """Reads up to `MAX_IMAGES` examples, evenly spread: the same each time.

    Raises:
        InputError: a file is damaged or does not fit.
    """
    count = min(len(examples), MAX_IMAGES)
    has_objects = about.has_background and not about.flips
    sizes: list[tuple[int, ...]] = []
    raters, shares, agreements = [], [], []
    objects: list[_Object] = []
    voxels: list[tuple[float, float, float]] = []
    pixels = 0
    for number in range(count):
        index = number * len(examples) // count
        example = examples[index]
        sizes.append(tuple(example.image.shape[1:]))
        if len(sizes[-1]) == 3 and (own := spacing_of(examples.pixel_size(index))) is not None:
            voxels.append(own)
        maps = _present(example)
        raters.append(len(maps))
        if has_objects and len(maps):
            masks, step = _thinned(np.isin(maps, about.counted_classes), maps == IGNORE)
            shares.append(float(masks.mean()))
            objects += _objects(masks[number % len(masks)], step)
            agreements += _agreements(masks)
        pixels += (len(example.labels) + len(example.image)) * math.prod(sizes[-1])
        if pixels > MAX_PIXELS:
            break
    *depth, height, width = (int(median(lengths)) for lengths in zip(*sizes, strict=True))
    return DataLook(
        num_images=len(examples),
        num_seen=len(sizes),
        height=height,
        width=width,
        depth=depth[0] if depth else None,
        voxel=_median_of(voxels) if voxels else None,
        is_one_size=len(set(sizes)) == 1,
        num_classes=about.num_classes,
        num_raters=MOST_RATERS if about.flips else int(median(raters)),
        foreground=fmean(shares) if shares else None,
        object_side=_most([one.side for one in objects]),
        object_depth=_most([one.depth for one in objects]) if depth else None,
        object_width=round(median(one.thickness for one in objects)) if objects else None,
        agreement=fmean(agreements) if agreements else None,
        num_volumes=len(examples.base) if isinstance(examples, Slices) else None,
    )


class _Object(NamedTuple):
    """A connected object, in pixels of its image."""

    side: int
    """The longer side of its box, in the plane of a slice."""
    depth: int
    """Slices that it is in; 1 in an image."""
    thickness: float
    """Twice its greatest depth below its surface, in the plane of a slice."""


def _most(lengths: list[int]) -> int | None:
    """Nine of ten are no longer than this."""
    return round(float(np.quantile(lengths, 0.9))) if lengths else None


def _median_of(voxels: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    depth, height, width = (float(f"{median(sides):.6g}") for sides in zip(*voxels, strict=True))
    return depth, height, width


def _present(example: Example) -> NDArray[np.uint8]:
    maps: NDArray[np.uint8] = example.labels.numpy()
    present: NDArray[np.uint8] = maps[(maps != IGNORE).any(tuple(range(1, maps.ndim)))]
    return present


def _thinned(masks: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Masks `(R, *spatial)` with every so many pixels of each slice only, and how many."""
    step = max(1, -(-max(masks.shape[-2:]) // _SIDE))
    return (masks & ~ignored)[..., ::step, ::step], step


def _objects(mask: NDArray[np.bool_], step: int) -> list[_Object]:
    """The connected objects of a map `(*spatial)`."""
    numbered, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if not count:
        return []
    numbers = np.arange(1, count + 1)
    areas = ndimage.sum_labels(mask, numbered, numbers) * step**2
    depths = ndimage.maximum(_inside(mask), numbered, numbers)
    boxes = [[side.stop - side.start for side in box] for box in ndimage.find_objects(numbered)]
    return [
        _Object(step * max(box[-2:]), box[0] if mask.ndim == 3 else 1, 2 * step * float(depth))
        for box, area, depth in zip(boxes, areas, np.atleast_1d(depths), strict=True)
        if area >= _SPECK
    ]


def _inside(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each pixel of a map lies from what is not marked, in its slice; what touches the edge of the image goes
    on there."""
    if mask.ndim == 3:
        return np.stack([_inside(one) for one in mask])
    distances: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1, "edge"))[1:-1, 1:-1]
    return distances


def _agreements(masks: NDArray[np.bool_]) -> list[float]:
    """Dice of pairs of raters of whom one marks something, of four raters at most."""
    pairs = [(one, other) for one, other in combinations(masks[:4], 2) if one.any() or other.any()]
    return [float(2 * (one & other).sum() / (one.sum() + other.sum())) for one, other in pairs]
