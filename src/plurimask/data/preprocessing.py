"""From an example as stored to what a network sees: cropping, padding, normalising. And back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from plurimask.data.example import Example, ExampleSet
from plurimask.data.images.numbers import LARGEST
from plurimask.data.images.pixel_size import PixelSize
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import draw_flips

ImageScaling = Literal["none", "maximum"]
SliceAxis = Annotated[int, Field(ge=0, le=2)]
"""Of D, H and W, along which slices of a volume follow each other."""

MAX_SIDE = 2**17
"""Pixels: of what an image may be cropped or resized to."""
SMALLEST_STD = 1e-30
"""Dividing by less leaves the numbers of float32."""
_Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Preprocessing(BaseModel):
    """How a run prepares images; it is stored in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...]
    """Of each channel of the training images, in the values of the files."""
    std: tuple[Annotated[float, Field(gt=SMALLEST_STD, le=LARGEST)], ...]
    center_crop: int | None = Field(None, ge=1, le=MAX_SIDE)
    """Side of the centre crop that the run was trained on; None if it sees whole images."""
    resize: tuple[_Side, _Side] | None = None
    """Height and width that every image, once cropped, is brought to; None if it keeps its own."""
    image_scaling: ImageScaling = "none"
    """What is done to the values of each image before `mean` and `std`."""
    slices: SliceAxis | None = None
    """The axis along which the run sees volumes slice by slice, each prepared as an image; None if it sees them
    whole."""

    def normalise(self, images: Tensor) -> Tensor:
        """`(..., K, H, W)` in the values of the files -> float32, mean 0 and deviation 1 per channel."""
        mean, std = (torch.tensor(x, device=images.device).view(-1, 1, 1) for x in (self.mean, self.std))
        return (images.float() - mean) / std

    def image(self, image: Tensor, name: str = "an image") -> Tensor:
        """One image `(K, H, W)` as stored -> what the network sees.

        Raises:
            InputError: its values are no numbers that a network can take; it names the image.
        """
        if self.is_sliced(image):
            return self.each_slice(image, lambda one: self.image(one, name))
        ready = self.normalise(scaled(self.seen(image), self.image_scaling))
        if not bool(torch.isfinite(ready).all()):
            raise InputError(
                f"{name}: values as large as {float(image.abs().max()):.3g} are infinite or no numbers once they are "
                f"normalised by the run's mean and standard deviation: leave the image out, or train on images like it"
            )
        return ready

    def example(self, example: Example) -> Example:
        """An example with its image as the network sees it, and the labels to match."""
        return replace(example, image=self.image(example.image, example.name), labels=self.seen(example.labels))

    def view(self, example: Example) -> Example:
        """An example as the network sees it, but in the values of the files: for people to look at."""
        return replace(example, image=self.seen(example.image), labels=self.seen(example.labels))

    def seen(self, maps: Tensor) -> Tensor:
        """The part of maps `(K, H, W)` that the network sees, in the run's size, if it has one."""
        if self.is_sliced(maps):
            return self.each_slice(maps, self.seen)
        cut = self.cut(maps)
        return cut if self.resize is None else resized(cut, self.resize)

    def pixel_size(self, stored: PixelSize | None, size: Sequence[int]) -> PixelSize | None:
        """Of what the network sees of an image of `size` (height, width) with pixels of the size `stored`."""
        if stored is None or self.resize is None:
            return stored
        names = ("depth", "height", "width")[-len(size) :]
        window = self.window(size)
        resized_axes = [axis for axis in range(len(size)) if len(size) < 3 or axis != self.slices]
        seen = {
            names[axis]: getattr(stored, names[axis]) * (window[axis].stop - window[axis].start) / length
            for axis, length in zip(resized_axes, self.resize, strict=True)
            if getattr(stored, names[axis]) is not None
        }
        return stored._replace(**seen)

    def cut(self, maps: Tensor) -> Tensor:
        """The centre crop of maps `(K, *spatial)`, if the run has one; a side that is shorter is kept whole."""
        return maps[(..., *self.window(maps.shape[1:]))]

    def window(self, size: Sequence[int]) -> tuple[slice, ...]:
        """The part of an image of `size`, `(*spatial)`, that the network sees; of a volume in slices all of those."""
        whole = self.slices if len(size) == 3 else None
        return tuple(
            _centre(length, length if axis == whole else self.center_crop or length) for axis, length in enumerate(size)
        )

    def is_sliced(self, maps: Tensor) -> bool:
        """Whether maps are of a volume, `(K, D, H, W)`, that is seen slice by slice."""
        return self.slices is not None and maps.ndim == 4

    def each_slice(self, maps: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
        """What becomes of the slices `(K, h, w)` of maps `(K, D, H, W)`, put together again."""
        assert self.slices is not None
        axis = self.slices + 1
        return torch.stack([prepare(one) for one in maps.unbind(axis)], axis)


class Views(ExampleSet):
    """The examples of another set as a run sees them, cropped and resized, but not normalised."""

    def __init__(self, base: ExampleSet, preprocessing: Preprocessing) -> None:
        self.base, self.preprocessing = base, preprocessing
        self.names, self.groups = base.names, base.groups

    def __getitem__(self, index: int) -> Example:
        return self.preprocessing.view(self.base[index])

    def pixel_size(self, index: int) -> PixelSize | None:
        stored = self.base.pixel_size(index)
        return None if stored is None else self.preprocessing.pixel_size(stored, self.base.shape(index))


def scaled(image: Tensor, scaling: ImageScaling) -> Tensor:
    """An image `(K, H, W)`; with "maximum" each channel is divided by its largest value, if that is above 0."""
    if scaling == "none":
        return image
    largest = image.float().amax((-2, -1), keepdim=True)
    return image / torch.where(largest > 0, largest, 1.0)


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Images, probabilities (float) `(K, *spatial)` linearly interpolated, label maps (uint8) by the nearest pixel."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    if maps.dtype == torch.uint8:
        return functional.interpolate(maps[None], size=tuple(size), mode="nearest-exact")[0]
    if len(size) == 3:
        return functional.interpolate(maps[None].float(), size=tuple(size), mode="trilinear")[0]
    return functional.interpolate(maps[None].float(), size=tuple(size), mode="bilinear", antialias=True)[0]


def _centre(length: int, crop: int) -> slice:
    start = max(0, (length - crop) // 2)
    return slice(start, start + min(crop, length))


def random_crop(example: Example, size: int, generator: torch.Generator) -> Example:
    """A window of `size` x `size` pixels at a random place; a side that is shorter is kept whole."""
    free = [max(0, length - size) for length in example.image.shape[-2:]]
    return window(example, [int(torch.randint(most + 1, (1,), generator=generator)) for most in free], size)


def window(example: Example, starts: Sequence[int], size: int) -> Example:
    """The window of `size` x `size` pixels that begins at `starts`, moved into the image; shorter sides are whole."""
    lengths = example.image.shape[-2:]
    first = [max(0, min(start, length - size)) for start, length in zip(starts, lengths, strict=True)]
    rows, columns = (slice(start, start + size) for start in first)
    return replace(example, image=example.image[..., rows, columns], labels=example.labels[..., rows, columns])


def draw_raters(labels: Tensor, num_raters: int, generator: torch.Generator) -> Tensor:
    """`num_raters` of the maps `(R, H, W)`, drawn without repeats among the raters who judged something there; those
    that are missing are maps of IGNORE, which no loss counts."""
    present = (labels != IGNORE).flatten(1).any(1).nonzero().flatten()
    chosen = present[torch.randperm(len(present), generator=generator)[:num_raters]]
    missing = labels.new_full((num_raters - len(chosen), *labels.shape[1:]), IGNORE)
    return torch.cat([labels[chosen], missing])


def draw_labels(example: Example, num_raters: int, generator: torch.Generator) -> Example:
    """An example with the maps of `num_raters` raters, or of all it has if these are fewer.

    Where classes flip there are as many raters as one asks for: each map has independent flips.
    """
    if example.flips:
        drawn = draw_flips(example.labels[0], example.flips, num_raters, generator)
        return replace(example, labels=drawn, flips=())
    return replace(example, labels=draw_raters(example.labels, min(num_raters, len(example.labels)), generator))


def stack_padded(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Normalised examples of mixed sizes -> images `(B, K, H, W)` and labels `(B, R, H, W)` of the largest size.

    Smaller images stand in the middle of zeros (the mean, once normalised) and their labels of IGNORE.
    """
    height, width = (max(example.image.shape[axis] for example in examples) for axis in (-2, -1))
    first = examples[0]
    images = first.image.new_zeros(len(examples), len(first.image), height, width)
    labels = first.labels.new_full((len(examples), len(first.labels), height, width), IGNORE)
    for number, example in enumerate(examples):
        rows, columns = _centre(height, example.image.shape[-2]), _centre(width, example.image.shape[-1])
        images[number, :, rows, columns] = example.image
        labels[number, :, rows, columns] = example.labels
    return images, labels
