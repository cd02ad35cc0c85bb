"""Small volumes in memory: a ball in noise, whose readers disagree on whether it is there and how large it is."""

from __future__ import annotations

import numpy as np
import torch

from plurimask.data.example import DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.worlds.common import READERS, binary_description

PIXEL_SIZE = PixelSize(0.7, 0.6, "mm", 2.5)


class Balls(ExampleSet):
    """Volumes `(1, D, 22, 18)` of 6 to 8 slices, with the maps of four readers; the same each time."""

    def __init__(self, num_volumes: int, seed: int) -> None:
        self.seed = seed
        self.names = self.groups = tuple(f"ball-{seed}-{index}" for index in range(num_volumes))

    def shape(self, index: int) -> tuple[int, ...]:
        return 6 + index % 3, 22, 18

    def pixel_size(self, index: int) -> PixelSize:
        return PIXEL_SIZE

    def __getitem__(self, index: int) -> Example:
        shape = self.shape(range(len(self))[index])
        generator = np.random.default_rng([self.seed, index])
        places = [np.arange(length) - (length - 1) / 2 for length in shape]
        depth, row, column = np.ix_(*places)
        distance = np.sqrt((2.2 * depth) ** 2 + (row - generator.uniform(-2, 2)) ** 2 + column**2)
        radius = generator.uniform(4, 6)
        image = generator.normal(60, 5, shape) + 60 / (1 + np.exp(distance - radius))
        seen = generator.random(len(READERS)) < 0.8
        sizes = radius + generator.uniform(-1.5, 1.5, len(READERS))
        labels = (distance < sizes[:, None, None, None]) & seen[:, None, None, None]
        name = self.names[index]
        return Example(name, torch.from_numpy(image[None]).float(), torch.from_numpy(labels.astype(np.uint8)))


def ball_source(num_train: int = 6, num_val: int = 4) -> DataSource:
    """Volumes as a data set with the splits train and val."""
    about = binary_description("balls", "ball").model_copy(update={"spatial_dims": 3})
    return DataSource(about, {"train": Balls(num_train, 0), "val": Balls(num_val, 1)}, drawn=False)
