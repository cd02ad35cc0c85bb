"""Batches that are a function of the seed and the step's number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from plurimask.data.crops import random_crop, stack_padded
from plurimask.data.example import Example, ExampleSet
from plurimask.data.preprocessing import Preprocessing, Views, draw_labels
from plurimask.data.remembered import CachedVolumes
from plurimask.data.windows import MarkedPlaces, crop_on_object
from plurimask.prediction.seeds import generator_of
from plurimask.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is validated on."""

    train: ExampleSet
    val: ExampleSet | None
    preprocessing: Preprocessing
    counted_classes: tuple[int, ...]

    def resampled(self) -> TrainingData:
        """The same with training volumes resampled once, where the run brings them to a spacing, and kept so."""
        train = self.train
        if self.preprocessing.spacing is None:
            return self
        views = Views(train, self.preprocessing)
        kept = CachedVolumes(views, train.cache) if isinstance(train, CachedVolumes) else views
        return replace(self, train=kept)


class TrainingBatches(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of batches `(images (B, K, *spatial), labels (B, R, *spatial))`, each made from its step's
    number.

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
        self.marked = MarkedPlaces(data.counted_classes)

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
            examples.append(draw_labels(self._seen(index, generator), config.raters_per_step, generator))
        return stack_padded(examples)

    def _seen(self, index: int, generator: torch.Generator) -> Example:
        """An example as the network sees it: normalised, and cropped where the settings say so."""
        train, preprocessing = self.data.train, self.data.preprocessing
        example, size = train[index], None if preprocessing.spacing is None else train.pixel_size(index)
        if example.image.ndim < 4:
            return self._cropped(preprocessing.example(example, size), index, generator)
        view = preprocessing.view(example, size)
        cut = self._cropped(view, index, generator)  # of a volume a part alone is normalised
        return replace(cut, image=preprocessing.ready(cut.image, cut.name, view.image))

    def _cropped(self, example: Example, index: int, generator: torch.Generator) -> Example:
        crop, share = self.config.crop, self.config.crop_on_objects
        if crop is None:
            return example
        if share and float(torch.rand((), generator=generator)) < share:
            return crop_on_object(example, crop, self.marked.of(index, example.labels), generator)
        return random_crop(example, crop, generator)

    def _indices(self, step: int) -> list[int]:
        """Each epoch is a permutation of the examples; the processes take turns within it."""
        count, size = len(self.data.train), self.config.batch_size
        first = (step * self.world + self.rank) * size
        return [int(self._order(place // count)[place % count]) for place in range(first, first + size)]

    @lru_cache(maxsize=4)  # noqa: B019  (a handful of these objects live in a process)
    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.data.train), generator=generator_of("epoch", self.seed, epoch))
