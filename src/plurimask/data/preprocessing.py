"""From an example as stored to what a network sees: cropping, padding, normalising. And back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from plurimask.data.crops import MAX_SIDE, Crop, centre, sides_of, sides_words
from plurimask.data.example import Example, ExampleSet
from plurimask.data.images.numbers import LARGEST
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.resampling import MILLIMETRES, resized, spacing_of
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import draw_flips

ImageScaling = Literal["none", "maximum"]
SliceAxis = Annotated[int, Field(ge=0, le=2)]
"""Of D, H and W, along which slices of a volume follow each other."""

Spacing = Annotated[float, Field(gt=1e-9, le=1e9)]
"""mm, between the middles of two voxels."""
SMALLEST_STD = 1e-30
"""Dividing by less leaves the numbers of float32."""
_Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Preprocessing(BaseModel):
    """How a run prepares images; it is stored in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...]
    """Of each channel of the training images, in the values of the files."""
    std: tuple[Annotated[float, Field(gt=SMALLEST_STD, le=LARGEST)], ...]
    center_crop: Crop | None = None
    """Sides of the centre crop that the run was trained on; None if it sees whole images."""
    resize: tuple[_Side, _Side] | None = None
    """Height and width that every image, once cropped, is brought to; None if it keeps its own."""
    spacing: tuple[Spacing, Spacing, Spacing] | None = None
    """mm, `(D, H, W)`: of the voxels that every volume, once cropped, is brought to; None if it keeps its own."""
    image_scaling: ImageScaling = "none"
    """What is done to the values of each image before `mean` and `std`."""
    slices: SliceAxis | None = None
    """The axis along which the run sees volumes slice by slice, each prepared as an image; None if it sees them
    whole."""

    @property
    def centre_words(self) -> str | None:
        """The sides of the centre crop in words, 96 or 8 x 64 x 64; None if there is none."""
        return None if self.center_crop is None else sides_words(self.center_crop)

    def normalise(self, images: Tensor) -> Tensor:
        """`(K, *spatial)` in the values of the files -> float32, mean 0 and deviation 1 per channel."""
        shape = -1, *[1] * (images.ndim - 1)
        mean, std = (torch.tensor(x, device=images.device).view(shape) for x in (self.mean, self.std))
        return (images.float() - mean) / std

    def image(self, image: Tensor, name: str = "an image", pixel_size: PixelSize | None = None) -> Tensor:
        """One image `(K, *spatial)` as stored -> what the network sees.

        Raises:
            InputError: its values are no numbers that a network can take, or its voxels have no known size, and the run
                brings all to one; it names the image.
        """
        if self.is_sliced(image):
            return self.each_slice(image, lambda one: self.image(one, name))
        return self.ready(self.seen(image, pixel_size, name), name)

    def ready(self, image: Tensor, name: str, whole: Tensor | None = None) -> Tensor:
        """What is `seen` of an image, or a part of that as a part of the `whole`, normalised."""
        ready = self.normalise(scaled(image, self.image_scaling, whole))
        if not bool(torch.isfinite(ready).all()):
            raise InputError(
                f"{name}: values as large as {float(image.abs().max()):.3g} are infinite or no numbers once they are "
                f"normalised by the run's mean and standard deviation: leave the image out, or train on images like it"
            )
        return ready

    def example(self, example: Example, pixel_size: PixelSize | None = None) -> Example:
        """An example with its image as the network sees it, and the labels to match."""
        image = self.image(example.image, example.name, pixel_size)
        return replace(example, image=image, labels=self.seen(example.labels, pixel_size, example.name))

    def view(self, example: Example, pixel_size: PixelSize | None = None) -> Example:
        """An example as the network sees it, but in the values of the files: for people to look at."""
        image, labels = (self.seen(maps, pixel_size, example.name) for maps in (example.image, example.labels))
        return replace(example, image=image, labels=labels)

    def seen(self, maps: Tensor, pixel_size: PixelSize | None = None, name: str = "an image") -> Tensor:
        """The part of maps `(K, *spatial)` that the network sees, in the run's size or at its spacing, if it has one.

        `pixel_size` is that of the image as stored.
        """
        if self.is_sliced(maps):
            return self.each_slice(maps, self.seen)
        cut = self.cut(maps)
        if self.resize is not None:
            return resized(cut, self.resize)
        return cut if self.spacing is None else resized(cut, self.size_at_spacing(cut.shape[1:], pixel_size, name))

    def size_at_spacing(self, size: Sequence[int], pixel_size: PixelSize | None, name: str) -> tuple[int, ...]:
        """Of a volume of `size` at the run's spacing.

        Raises:
            InputError: the size of its voxels is not known.
        """
        own = spacing_of(pixel_size)
        if own is None or self.spacing is None:
            raise InputError(
                f"{name}: its file does not say how large its voxels are, and the run brings all volumes to a spacing "
                "of its own: write the spacing into the file's header, or train without --spacing"
            )
        return tuple(
            max(1, round(length * stored / wanted))
            for length, stored, wanted in zip(size, own, self.spacing, strict=True)
        )

    def pixel_size(self, stored: PixelSize | None, size: Sequence[int]) -> PixelSize | None:
        """Of what the network sees of an image of `size` (height, width) with pixels of the size `stored`."""
        if stored is not None and self.spacing is not None:
            depth, height, width = (side / MILLIMETRES[stored.unit] for side in self.spacing)
            return PixelSize(height, width, stored.unit, depth)
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
        return maps[(slice(None), *self.window(maps.shape[1:]))]

    def window(self, size: Sequence[int]) -> tuple[slice, ...]:
        """The part of an image of `size`, `(*spatial)`, that the network sees; of a volume by its slices all slices."""
        whole = self.slices if len(size) == 3 else None
        sides = size if self.center_crop is None else sides_of(self.center_crop, len(size))
        return tuple(
            centre(length, length if axis == whole else side)
            for axis, (length, side) in enumerate(zip(size, sides, strict=True))
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
        return self.preprocessing.view(self.base[index], self._stored_size(index))

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.preprocessing.pixel_size(self.base.pixel_size(index), self.base.shape(index))

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(index)

    def _stored_size(self, index: int) -> PixelSize | None:
        return None if self.preprocessing.spacing is None else self.base.pixel_size(index)


def scaled(image: Tensor, scaling: ImageScaling, whole: Tensor | None = None) -> Tensor:
    """An image `(K, *spatial)`; with "maximum" each channel is divided by its largest value, if that is above 0; of a
    part by that of the `whole` image."""
    if scaling == "none":
        return image
    largest = (image if whole is None else whole).float().amax(tuple(range(1, image.ndim)), keepdim=True)
    return image / torch.where(largest > 0, largest, 1.0)


def draw_raters(labels: Tensor, num_raters: int, generator: torch.Generator) -> Tensor:
    """`num_raters` of the maps `(R, *spatial)`, drawn without repeats among the raters who judged something there.

    Those that are missing are maps of IGNORE, which no loss counts."""
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
