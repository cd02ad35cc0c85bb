"""Settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from plurimask.data.augmentation import AugmentationConfig
from plurimask.data.crops import MAX_SIDE, TrainingCrop
from plurimask.data.preprocessing import ImageScaling, SliceAxis, Spacing
from plurimask.prediction.device import Layout
from plurimask.prediction.predict import MAX_BATCH_SIZE, MAX_SAMPLES

MAX_LEARNING_RATE = 10.0
"""A hundred times what any optimiser here bears: more is a slip of the keyboard."""


@dataclass(frozen=True)
class Hardware:
    """Devices per machine and number of machines; `accelerator` as Lightning's Fabric names them."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1


ONE_DEVICE = Hardware()
"""The first accelerator if there is one, else the processor."""


OF_OPTIMISER = frozenset(
    {"optimizer", "weight_decay", "gradient_clip", "learning_rate", "final_learning_rate"}
    | {"schedule", "decay_steps", "drops", "warmup_steps"}
)
"""Settings that mean nothing to a method that learns without an optimiser."""


class TrainingConfig(BaseModel):
    """How a method is trained. At least one of `max_steps` and `max_minutes` ends it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_steps: int | None = Field(None, ge=1, le=10**12, description="stop after this many steps")
    max_minutes: float | None = Field(None, gt=0, le=1e8, description="stop after this many minutes of training")
    batch_size: int = Field(16, ge=1, le=MAX_BATCH_SIZE, description="images per step and device")
    raters_per_step: int = Field(4, ge=1, le=1024, description="raters drawn for each image of a step, without repeats")
    crop: TrainingCrop | None = Field(
        None,
        description="train on random crops of this side, or of volumes of this depth, height and width; evaluate whole "
        "images",
    )
    crop_on_objects: float = Field(
        0.0, ge=0, le=1, description="share of the random crops that lie around a pixel that some rater marked"
    )
    center_crop: TrainingCrop | None = Field(
        None, description="cut this centre out of every image, also for evaluation; one side, or depth, height, width"
    )
    resize: tuple[int, int] | None = Field(None, description="height and width that every image is brought to")
    spacing: Literal["median"] | tuple[Spacing, Spacing, Spacing] | None = Field(
        None,
        description="mm, depth, height, width: bring volumes to voxels of this size, or of the median size of those "
        "trained on; predictions are brought back",
    )
    image_scaling: ImageScaling = Field("none", description="maximum: divide each channel of an image by its maximum")
    slices: SliceAxis | None = Field(
        None,
        description="train a method for images on the slices of volumes along this axis: 0, 1 or 2 of D, H and W; "
        "volumes are predicted whole",
    )
    augmentation: AugmentationConfig = Field(AugmentationConfig(), description="random changes of training images")
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="decoupled weight decay, or the L2 penalty of Adam"
    )
    learning_rate: float = Field(1e-3, gt=0, le=MAX_LEARNING_RATE, description="at its highest")
    schedule: Literal["cosine", "exponential-steps", "piecewise"] = Field(
        "cosine", description="how the learning rate falls"
    )
    final_learning_rate: float = Field(0.0, ge=0, le=MAX_LEARNING_RATE, description="learning rate at the end")
    decay_steps: int = Field(5, ge=1, le=10_000, description="number of equal drops of the schedule exponential-steps")
    drops: tuple[tuple[float, float], ...] = Field(
        (), description="of the schedule piecewise: share of the budget, and share of the learning rate from there on"
    )
    warmup_steps: int = Field(100, ge=0, le=10**12, description="steps in which the learning rate rises linearly")
    weight_decay: float = Field(1e-4, ge=0, le=1000, description="on weights, not on biases")
    gradient_clip: float = Field(
        100.0, gt=0, le=1e12, description="largest norm of the gradient (of a loss summed over pixels)"
    )
    ema_decay: float | None = Field(None, gt=0, lt=1, description="evaluate a moving average of the weights")
    num_validations: int = Field(10, ge=1, le=10_000, description="validations in the whole training, evenly spread")
    validation_images: int = Field(256, ge=1, le=10**9, description="validation images looked at each time, at most")
    validation_samples: int = Field(16, ge=2, le=MAX_SAMPLES, description="samples per validation image")
    validation_crop: TrainingCrop | None = Field(
        None, description="validate on the window of this side around what raters marked, not on whole images"
    )
    early_stopping: int | None = Field(
        None, ge=1, le=10_000, description="stop after so many validations without a better GED"
    )
    num_workers: int = Field(0, ge=0, le=256, description="processes that read data; 0 reads in the main process")
    cache_gb: float | None = Field(
        None, ge=0, le=1e6, description="decoded volumes kept in memory; by default a quarter of the machine's"
    )
    memory_layout: Layout | None = Field(
        None, description="of images and weights while training; by default the one in which a timed step is faster"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> TrainingConfig:
        if self.crop is not None and self.center_crop is not None:
            raise ValueError("crop and center_crop exclude each other: give one of them")
        if self.spacing is not None and self.resize is not None:
            raise ValueError("spacing and resize exclude each other: give one of them")
        if self.spacing is not None and self.slices is not None:
            raise ValueError(
                "spacing and slices exclude each other: slices are seen in the pixels that they are stored in; leave "
                "out spacing, or learn from whole volumes without slices"
            )
        if self.schedule == "exponential-steps" and self.final_learning_rate == 0:
            raise ValueError("the schedule exponential-steps needs a final_learning_rate above 0")
        if self.resize is not None and not 8 <= min(self.resize) <= max(self.resize) <= MAX_SIDE:
            raise ValueError(f"resize must be a height and a width of 8 to {MAX_SIDE} pixels, not {self.resize}")
        if (self.schedule == "piecewise") != bool(self.drops):
            raise ValueError(
                "the schedule piecewise needs drops, such as ((0.5, 0.1),), and no other schedule has them"
            )
        if self.drops and self.final_learning_rate:
            raise ValueError("the schedule piecewise ends with its last drop: leave out final_learning_rate")
        if any(not 0 < share < 1 or not 0 < factor <= 1000 for share, factor in self.drops):
            raise ValueError(
                "drops are pairs of a share of the budget, between 0 and 1, and a factor above 0, at most 1000"
            )
        return self

    @property
    def layout(self) -> Layout:
        """The memory layout that was given or timed; the usual one where it was not."""
        return self.memory_layout or "channels_last"

    def learning_rate_factor(self, progress: float, step: int) -> float:
        """The learning rate over its peak, for `progress` from 0 to 1 through the budget."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        last = self.final_learning_rate / self.learning_rate
        if self.schedule == "piecewise":
            return warmup * next(
                (factor for share, factor in sorted(self.drops, reverse=True) if progress >= share), 1.0
            )
        if self.schedule == "cosine":
            return warmup * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
        drops = min(self.decay_steps, int(progress * (self.decay_steps + 1)))
        return float(warmup * last ** (drops / self.decay_steps))

    def ema_share(self, step: int) -> float:
        """How far the moving average goes towards the weights that step number `step`, from 0, left.

        Its memory starts short, decay (1 + n) / (10 + n) after n steps, so that the first weights are soon forgotten.
        """
        return 1 - min(self.ema_decay or 0.0, (1 + step) / (10 + step)) if step else 1.0

    def validations_until(self, progress: float) -> int:
        """How many validations have become due when `progress` of the budget, from 0 to 1, is used."""
        return sum(progress >= number / self.num_validations for number in range(1, self.num_validations + 1))
