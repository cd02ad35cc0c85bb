"""Mean and standard deviation per channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plurimask.data.example import Example, ExampleSet
from plurimask.data.statistics import channel_statistics
from plurimask.errors import InputError


class Images(ExampleSet):
    def __init__(self, images: list[torch.Tensor]) -> None:
        self.images, self.reads = images, 0
        self.names = self.groups = [str(index) for index in range(len(images))]

    def __getitem__(self, index: int) -> Example:
        self.reads += 1
        return Example(self.names[index], self.images[index], torch.zeros(1, *self.images[index].shape[1:]))


def test_against_all_pixels_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    # 16-bit values with a large offset: a difference of squares in float32 would be nonsense.
    images = [torch.randn(2, 5, 7 + index, generator=generator) * 3 + 60000 + index for index in range(4)]
    mean, std = channel_statistics(Images(images))
    pixels = np.concatenate([image.flatten(1).double().numpy() for image in images], axis=1)
    assert np.allclose(mean, pixels.mean(1), rtol=1e-12) and np.allclose(std, pixels.std(1), rtol=1e-9)
    assert all(isinstance(value, float) for value in (*mean, *std))


def test_a_constant_channel_has_deviation_one() -> None:
    image = torch.stack([torch.full((3, 4), 0.1), torch.arange(12.0).view(3, 4)])
    mean, std = channel_statistics(Images([image, image, image]))
    assert std[0] == 1.0 and std[1] == pytest.approx(np.arange(12).std()) and mean[0] == pytest.approx(0.1)


def test_a_subset_of_many_images_is_the_same_each_time() -> None:
    images = [torch.full((1, 2, 3), float(index)) for index in range(30)]
    examples = Images(images)
    first = channel_statistics(examples, max_images=11)
    assert examples.reads <= 12 and first == channel_statistics(Images(images), max_images=11)
    assert abs(first[0][0] - 14.5) < 4 * 30 / 12**0.5 / 11**0.5


def test_no_images() -> None:
    with pytest.raises(InputError, match="training split is empty"):
        channel_statistics(Images([]))
