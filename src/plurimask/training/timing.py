"""How long a step and a validation image take here: measured with a copy of the method that is thrown away."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch

from plurimask.data.augmentation import Augmentation
from plurimask.data.preprocessing import Preprocessing
from plurimask.files.reading import memory_bytes
from plurimask.method import SegmentationMethod, TrainingStep
from plurimask.prediction.device import Layout, in_layout, training_layouts
from plurimask.prediction.memory import LiveTensors, bytes_per_pixel
from plurimask.prediction.seeds import generator_of
from plurimask.training.batches import TrainingData
from plurimask.training.checkpoint import Training, TrainingJob
from plurimask.training.config import ONE_DEVICE, Hardware, TrainingConfig
from plurimask.training.devices import open_fabric
from plurimask.training.step import Objective, augmented, learn, optimizer_of
from plurimask.training.validation import validate

TIMED_STEPS = 2
TIMED_IMAGES = 2
GAIN = 0.95
"""A step in another memory layout than the usual one takes at most so much of its time, else the usual one is kept:
which one it is should not hang on chance."""
MARGIN = 1.3
"""What is taken over what was counted: kernels hold copies of their own, and allocators keep what was freed."""
LONG_SECONDS = 5.0
"""What takes longer is not done again."""


class TimedMachine:
    """The `plurimask.training.candidates.Machine` that this is, for one method on one data set.

    The method that is given stays as it is, and so does torch's own generator of random numbers. Nothing is written.
    """

    def __init__(
        self,
        method: SegmentationMethod,
        data: TrainingData,
        hardware: Hardware = ONE_DEVICE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.method, self.data, self.clock = method, data, clock
        self.fabric = open_fabric(hardware)
        self._layout: Layout | None = None
        self._image_bytes: float | None = None

    def layout(self, config: TrainingConfig) -> Layout:
        """The memory layout that the settings name, else the one in which a step is faster: timed the first time that
        it is asked for, with the settings of then."""
        if config.memory_layout is not None:
            return config.memory_layout
        if self._layout is None:
            usual, *others = training_layouts(self.fabric.device)
            self._layout = usual
            limit = GAIN * self._step_seconds(config, usual) if others else 0.0
            for other in others:
                if (seconds := self._step_seconds(config, other)) < limit:
                    self._layout, limit = other, seconds
        return self._layout

    def step_seconds(self, config: TrainingConfig) -> float:
        """The mean of a few steps after a first one, which is not counted unless it takes long; images are read as in
        training, and in the memory layout of `layout`."""
        return self._step_seconds(config, self.layout(config))

    def _step_seconds(self, config: TrainingConfig, layout: Layout) -> float:
        data, config = self._data(config), config.model_copy(update={"memory_layout": layout})
        with torch.random.fork_rng():
            method = in_layout(copy.deepcopy(self.method), layout).to(self.fabric.device).train()
            job = TrainingJob(Path("nowhere"))
            training = Training(data, config, job, self.fabric, method, optimizer_of(method, config), None)
            objective, augmentation = self.fabric.setup_module(Objective(method)), Augmentation(config.augmentation)
            batches = iter(training.batches())
            start, counted = self.clock(), 0
            for number in range(1 + TIMED_STEPS):
                if number == 1 and self.clock() - start <= LONG_SECONDS:  # the first prepares what later ones have
                    start, counted = self.clock(), 0
                generator = generator_of("timing", number)
                images, labels = augmented(training, augmentation, next(batches), generator)
                learn(training, objective, images, labels, TrainingStep(number, 0.0, generator))  # waits for the device
                counted += 1
                if self.clock() - start > LONG_SECONDS:
                    break
            seconds = self.clock() - start
        return max(1e-6, seconds / counted)

    def image_seconds(self, config: TrainingConfig) -> float:
        """The mean of a few images after a first one, which is not counted unless it takes long."""
        data = self._data(config)
        few = config.model_copy(update={"validation_images": TIMED_IMAGES})
        with torch.random.fork_rng():
            method = in_layout(copy.deepcopy(self.method), self.layout(config)).to(self.fabric.device).eval()
            start = self.clock()
            validate(method, data, config.model_copy(update={"validation_images": 1}))
            first = self.clock() - start
            if first > LONG_SECONDS:
                return first
            start = self.clock()
            validate(method, data, few)
        assert data.val is not None
        return max(1e-6, (self.clock() - start) / min(TIMED_IMAGES, len(data.val)))

    def step_bytes(self, config: TrainingConfig) -> float:
        """What the tensors of one step take at their most, beside the copies that kernels make."""
        data, config = self._data(config), config.model_copy(update={"memory_layout": self.layout(config)})
        with torch.random.fork_rng():
            method = in_layout(copy.deepcopy(self.method), config.layout).to(self.fabric.device).train()
            job = TrainingJob(Path("nowhere"))
            training = Training(data, config, job, self.fabric, method, optimizer_of(method, config), None)
            generator = generator_of("timing", 0)
            images, labels = augmented(
                training, Augmentation(config.augmentation), next(iter(training.batches())), generator
            )
            with LiveTensors() as live:
                learn(training, Objective(method), images, labels, TrainingStep(0, 0.0, generator))
        return float(MARGIN * (live.most + images.nbytes + labels.nbytes))

    def image_bytes(self) -> float:
        """What predicting takes for each voxel, found by a small volume."""
        if self._image_bytes is None:
            method = in_layout(copy.deepcopy(self.method), "channels_last").to(self.fabric.device).eval()
            with torch.random.fork_rng(), torch.no_grad():
                self._image_bytes = MARGIN * bytes_per_pixel(method, self.data.train[0].image.shape[0])
        return self._image_bytes

    @property
    def memory(self) -> float:
        """Half of the machine's, or of the device's."""
        if self.fabric.device.type == "cuda":
            return float(torch.cuda.get_device_properties(self.fabric.device).total_memory) / 2
        return memory_bytes() / 2

    def _data(self, config: TrainingConfig) -> TrainingData:
        """The data as these settings have them; what they are normalised by changes no time."""
        seen = config.model_dump(include={"center_crop", "resize", "image_scaling"})
        seen["spacing"] = self.data.preprocessing.spacing
        image = self.data.train[0].image.flatten(1).float()
        mean, std = tuple(image.mean(1).tolist()), tuple((image.std(1) + 1e-3).tolist())
        preprocessing = Preprocessing(mean=mean, std=std, **seen)
        return TrainingData(self.data.train, self.data.val, preprocessing, self.data.counted_classes)
