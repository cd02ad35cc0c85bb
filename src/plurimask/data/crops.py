"""Windows of images and volumes: their sides, where they lie, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from plurimask.data.example import Example
from plurimask.distribution import IGNORE

MAX_SIDE = 2**17
"""Pixels: of what an image may be cropped or resized to."""
_Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Crop: TypeAlias = _Side | tuple[_Side, _Side, _Side]
"""The side of a window, along every axis; or of a volume its depth, height and width."""
_Least = Annotated[int, Field(ge=8, le=MAX_SIDE)]
TrainingCrop: TypeAlias = _Least | tuple[_Side, _Least, _Least]
"""A window that is large enough to be trained on. Of a volume a few slices are enough."""


def sides_of(crop: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    """The side of a window along each axis."""
    return (crop,) * spatial_dims if isinstance(crop, int) else tuple(crop)


def sides_words(crop: int | Sequence[int]) -> str:
    """In words: 96, or 8 x 64 x 64."""
    return str(crop) if isinstance(crop, int) else " x ".join(map(str, crop))


def centre(length: int, side: int) -> slice:
    """The middle of an axis; all of it where it is shorter than `side`."""
    start = max(0, (length - side) // 2)
    return slice(start, start + min(side, length))


def random_crop(example: Example, crop: int | Sequence[int], generator: torch.Generator) -> Example:
    """A window at a random place; along an axis that is shorter the image is kept whole."""
    lengths = example.image.shape[1:]
    free = [max(0, length - side) for length, side in zip(lengths, sides_of(crop, len(lengths)), strict=True)]
    return window(example, [int(torch.randint(most + 1, (1,), generator=generator)) for most in free], crop)


def window(example: Example, starts: Sequence[int], crop: int | Sequence[int]) -> Example:
    """The window that begins at `starts`, moved into the image; along shorter axes the image is whole."""
    lengths = example.image.shape[1:]
    sides = sides_of(crop, len(lengths))
    first = [max(0, min(start, end - side)) for start, end, side in zip(starts, lengths, sides, strict=True)]
    within = (slice(start, start + side) for start, side in zip(first, sides, strict=True))
    part = (slice(None), *within)
    return replace(example, image=example.image[part], labels=example.labels[part])


def stack_padded(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Normalised examples of mixed sizes -> images `(B, K, *spatial)` and labels `(B, R, *spatial)` of the largest.

    Smaller images stand in the middle of zeros (the mean, once normalised) and their labels of IGNORE.
    """
    first = examples[0]
    largest = [max(lengths) for lengths in zip(*(example.image.shape[1:] for example in examples), strict=True)]
    images = first.image.new_zeros(len(examples), len(first.image), *largest)
    labels = first.labels.new_full((len(examples), len(first.labels), *largest), IGNORE)
    for number, example in enumerate(examples):
        own = example.image.shape[1:]
        part = (slice(None), *(centre(length, side) for length, side in zip(largest, own, strict=True)))
        images[number][part] = example.image
        labels[number][part] = example.labels
    return images, labels
