"""Batches that are a function of the seed and the step's number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from plurimask.data.crops import random_crop, stack_padded
from plurimask.data.example import Example, ExampleSet
from plurimask.data.preprocessing import Preprocessing, draw_labels
from plurimask.data.windows import crop_on_object
from plurimask.prediction.seeds import generator_of
from plurimask.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is validated on."""

    train: ExampleSet
    val: ExampleSet | None
    preprocessing: Preprocessing
    counted_classes: tuple[int, ...]


class TrainingBatches(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of batches `(images (B, K, H, W), labels (B, R, H, W))`, each made from its step's number.

    Args:
        data, config, seed: what the batches are made of.
        start: the number of the first step.
        rank, world: this process and how many there are; each step's images are shared out among them.
    """

    def __init__(
        self, data: TrainingData, config: TrainingConfig, seed: int, start: int, rank: int, world: int
    ) -> None:
        self.data, self.config, self.seed = data, config, seed
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        step = self.start + (worker.id if worker else 0)
        while True:
            yield self.batch(step)
            step += worker.num_workers if worker else 1

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step and of this process."""
        generator = generator_of("batch", self.seed, step, self.rank)
        config, examples = self.config, []
        for index in self._indices(step):
            example = self.data.preprocessing.example(self.data.train[index])
            if config.crop is not None:
                example = self._cropped(example, config.crop, generator)
            examples.append(draw_labels(example, config.raters_per_step, generator))
        return stack_padded(examples)

    def _cropped(self, example: Example, side: int, generator: torch.Generator) -> Example:
        share = self.config.crop_on_objects
        if share and float(torch.rand((), generator=generator)) < share:
            return crop_on_object(example, side, self.data.counted_classes, generator)
        return random_crop(example, side, generator)

    def _indices(self, step: int) -> list[int]:
        """Each epoch is a permutation of the examples; the processes take turns within it."""
        count, size = len(self.data.train), self.config.batch_size
        first = (step * self.world + self.rank) * size
        return [int(self._order(place // count)[place % count]) for place in range(first, first + size)]

    @lru_cache(maxsize=4)  # noqa: B019  (a handful of these objects live in a process)
    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.data.train), generator=generator_of("epoch", self.seed, epoch))
