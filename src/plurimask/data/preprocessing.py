"""From an example as stored to what a network sees: cropping, padding, normalising. And back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from plurimask.data.example import Example, ExampleSet
from plurimask.distribution import IGNORE


class Preprocessing(BaseModel):
    """How a run prepares images; it is stored in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    """Of each channel of the training images, in the values of the files."""
    std: tuple[float, ...]
    center_crop: int | None = None
    """Side of the centre crop that the run was trained on; None if it sees whole images."""

    def normalise(self, images: Tensor) -> Tensor:
        """`(..., K, H, W)` in the values of the files -> float32, mean 0 and deviation 1 per channel."""
        mean, std = (torch.tensor(x, device=images.device).view(-1, 1, 1) for x in (self.mean, self.std))
        return (images.float() - mean) / std

    def image(self, image: Tensor) -> Tensor:
        """One image `(K, H, W)` as stored -> what the network sees."""
        return self.normalise(self.cut(image))

    def example(self, example: Example) -> Example:
        """An example with its image as the network sees it, and the labels to match."""
        return Example(example.name, self.image(example.image), self.cut(example.labels))

    def cut(self, maps: Tensor) -> Tensor:
        """The centre crop of maps `(..., H, W)`, if the run has one; a side that is shorter is kept whole."""
        rows, columns = self.window(maps.shape[-2:])
        return maps[..., rows, columns]

    def window(self, size: Sequence[int]) -> tuple[slice, slice]:
        """Rows and columns of an image of `size` that the network sees."""
        rows, columns = (_centre(length, self.center_crop or length) for length in size)
        return rows, columns


class CentreCrops(ExampleSet):
    """The examples of another set as a run with a centre crop sees them, not normalised."""

    def __init__(self, base: ExampleSet, preprocessing: Preprocessing) -> None:
        self.base, self.preprocessing = base, preprocessing
        self.names, self.groups = base.names, base.groups

    def __getitem__(self, index: int) -> Example:
        example, cut = self.base[index], self.preprocessing.cut
        return Example(example.name, cut(example.image), cut(example.labels))


def _centre(length: int, crop: int) -> slice:
    start = max(0, (length - crop) // 2)
    return slice(start, start + min(crop, length))


def random_crop(example: Example, size: int, generator: torch.Generator) -> Example:
    """A window of `size` x `size` pixels at a random place; a side that is shorter is kept whole."""
    slices: list[slice] = []
    for length in example.image.shape[-2:]:
        start = int(torch.randint(max(0, length - size) + 1, (1,), generator=generator))
        slices.append(slice(start, start + min(size, length)))
    rows, columns = slices
    return Example(example.name, example.image[..., rows, columns], example.labels[..., rows, columns])


def draw_raters(labels: Tensor, num_raters: int, generator: torch.Generator) -> Tensor:
    """`num_raters` of the maps `(R, H, W)`, drawn without repeats among the raters who judged something there.

    Fewer raters than asked for are made up by maps of IGNORE, which no loss counts.
    """
    present = (labels != IGNORE).flatten(1).any(1).nonzero().flatten()
    chosen = present[torch.randperm(len(present), generator=generator)[:num_raters]]
    missing = labels.new_full((num_raters - len(chosen), *labels.shape[1:]), IGNORE)
    return torch.cat([labels[chosen], missing])


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
