"""Windows around what raters marked: where images are large and objects are few, others teach and tell little."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from plurimask.data.crops import random_crop, sides_of, window
from plurimask.data.example import Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing, Views
from plurimask.distribution import IGNORE

MAX_PLACES = 2**12
"""Of one class of one rater in one image, of which windows are drawn: more lie so close that it makes no difference."""
MAX_BYTES = 2**27
"""Of the places of all images together that are kept."""

Marks: TypeAlias = Sequence[Mapping[int, Tensor]]
"""Of each rater the classes marked, each with places: numbers of pixels in the order of the axes, `(n,)`, int32."""


def marked_places(labels: Tensor, counted_classes: Sequence[int]) -> Marks:
    """Where each of the maps `(R, *spatial)` has which class: all places, or `MAX_PLACES` evenly among them."""
    return [_places_of(rater.flatten(), counted_classes) for rater in labels]


def _places_of(rater: Tensor, counted_classes: Sequence[int]) -> dict[int, Tensor]:
    counts = torch.bincount(rater, minlength=IGNORE + 1).tolist()
    found = {}
    for index in counted_classes:
        if counts[index]:
            places = (rater == index).nonzero().flatten()
            if len(places) > MAX_PLACES:
                places = places[torch.arange(MAX_PLACES) * len(places) // MAX_PLACES]
            found[index] = places.int()
    return found


class MarkedPlaces:
    """Where raters marked what in the examples of a set that are seen again and again: looked for once in each.

    The places of all are kept, up to `max_bytes`; those least recently used make room for others. A copy for another
    process starts empty.
    """

    def __init__(self, counted_classes: Sequence[int], max_bytes: int = MAX_BYTES) -> None:
        self.counted_classes, self.max_bytes, self.num_bytes = tuple(counted_classes), max_bytes, 0
        self.kept: OrderedDict[int, Marks] = OrderedDict()

    def of(self, index: int, labels: Tensor) -> Marks:
        """The places in the example of number `index`, whose labels are looked at when they are not known."""
        if index in self.kept:
            self.kept.move_to_end(index)
            return self.kept[index]
        marks = self.kept[index] = marked_places(labels, self.counted_classes)
        self.num_bytes += _bytes_of(marks)
        while self.num_bytes > self.max_bytes:
            self.num_bytes -= _bytes_of(self.kept.popitem(last=False)[1])
        return marks

    def __reduce__(self) -> tuple[type[MarkedPlaces], tuple[Sequence[int], int]]:
        return MarkedPlaces, (self.counted_classes, self.max_bytes)


def _bytes_of(marks: Marks) -> int:
    return sum(places.nbytes for rater in marks for places in rater.values())


def crop_on_object(example: Example, size: int | Sequence[int], marks: Marks, generator: torch.Generator) -> Example:
    """A window of such a side, or such sides, that has a marked pixel in its middle half; anywhere if none is marked.

    The pixel is drawn in three steps, of one of the raters who marked something, of one of the classes marked by that
    rater, of its places in `marks`: so that neither a rater who marks little nor a rare class is seen seldom. Along an
    axis that is shorter than the window the image is kept whole.
    """
    order = torch.randperm(len(marks), generator=generator).tolist()
    chosen = next((marks[one] for one in order if marks[one]), None)
    if chosen is None:
        return random_crop(example, size, generator)
    places = list(chosen.values())[_drawn(len(chosen), generator)]
    number = int(places[_drawn(len(places), generator)])
    place = [int(one) for one in np.unravel_index(number, example.labels.shape[1:])]
    sides = sides_of(size, len(place))
    starts = [
        middle - side // 4 - _drawn(max(1, side // 2), generator) for middle, side in zip(place, sides, strict=True)
    ]
    return window(example, starts, size)


class ObjectWindows(ExampleSet):
    """Of each example of a set the window, of one size, around the middle one of all pixels that some rater marked.

    Where nothing is marked it is the image's centre. The examples are as a run sees them, but not normalised.
    """

    def __init__(
        self,
        base: ExampleSet,
        preprocessing: Preprocessing,
        size: int | Sequence[int],
        counted_classes: Sequence[int],
    ) -> None:
        self.base, self.preprocessing, self.size, self.counted_classes = base, preprocessing, size, counted_classes
        self.names, self.groups = base.names, base.groups

    def __getitem__(self, index: int) -> Example:
        example = Views(self.base, self.preprocessing)[index]
        places = _is_counted(example.labels, self.counted_classes).any(0).nonzero()
        middle = [length // 2 for length in example.labels.shape[1:]]
        if len(places):
            middle = places[len(places) // 2].tolist()
        sides = sides_of(self.size, len(middle))
        return window(example, [place - side // 2 for place, side in zip(middle, sides, strict=True)], sides)

    def pixel_size(self, index: int) -> PixelSize | None:
        return Views(self.base, self.preprocessing).pixel_size(index)


def _is_counted(labels: Tensor, counted_classes: Sequence[int]) -> Tensor:
    if len(counted_classes) == 1:  # a comparison is ten times as fast as a table
        return labels == counted_classes[0]
    counted = torch.zeros(256, dtype=torch.bool)
    counted[list(counted_classes)] = True
    return counted[labels.int()]


def _drawn(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))
