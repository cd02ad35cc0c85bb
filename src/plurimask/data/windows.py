"""Windows around what raters marked: where images are large and objects are few, others teach and tell little."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plurimask.data.crops import random_crop, sides_of, window
from plurimask.data.example import Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing, Views


def crop_on_object(
    example: Example, size: int | Sequence[int], counted_classes: Sequence[int], generator: torch.Generator
) -> Example:
    """A window of such a side, or such sides, that has a marked pixel in its middle half; anywhere if none is marked.

    The pixel is drawn in three steps, of one of the raters who marked something, of one of the classes marked by that
    rater, of its pixels: so that neither a rater who marks little nor a rare class is seen seldom. Along an axis
    that is shorter than the window the image is kept whole.
    """
    order = torch.randperm(len(example.labels), generator=generator).tolist()
    marked = (one for one in order if bool(_is_counted(example.labels[one], counted_classes).any()))
    chosen = next(marked, None)
    if chosen is None:
        return random_crop(example, size, generator)
    rater = example.labels[chosen]
    present = [index for index in counted_classes if bool((rater == index).any())]
    places = (rater == present[_drawn(len(present), generator)]).nonzero()
    place = places[_drawn(len(places), generator)].tolist()
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
