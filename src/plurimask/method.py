"""The contract of a method: images in, a distribution over label maps out; and a loss to train it by."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from plurimask.distribution import SegmentationDistribution

MAX_CHANNELS = 8192
"""Of an image, and of the features of a network: more is no method but a mistake, for which no memory suffices."""


class MethodConfig(BaseModel):
    """What every method must know of the data. A method's `Config` adds its own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    image_channels: int = Field(1, ge=1, le=MAX_CHANNELS, description="channels of an image; read from the data")
    num_classes: int = Field(2, ge=2, le=255, description="classes of a label map; read from the data")
    spatial_dims: Literal[2, 3] = Field(2, description="dimensions of an image, 3 of a volume; read from the data")


class Loss(NamedTuple):
    """A scalar to descend, and the detached scalars that it is made of, by name."""

    total: Tensor
    terms: dict[str, Tensor]


@dataclass(frozen=True)
class Tiling:
    """How predictions of the tiles of a large image fit together."""

    is_exact: bool = False
    """Whether a tile, with around it all that the network sees, has the scores of the whole image: no layer but those
    of `averages` looks at all of an image, and linear up-sampling is a `Decoder`'s. Else tiles overlap and are
    blended."""
    averages: tuple[str, ...] = ()
    """Modules, by their path, that see the images through an average over all of their places, `averaged(images)`: it
    is taken over all tiles first."""
    strides: tuple[int, ...] | None = None
    """Pixels along each axis that the coarsest features pool together; None: as the config's `space` says."""


@dataclass(frozen=True)
class TrainingStep:
    """Where a training stands: what the hooks of a method are told."""

    index: int
    """The number of this step, from 0."""
    progress: float
    """The share of the budget that was used before it, from 0 to 1."""
    generator: torch.Generator
    """The random numbers of this step: the same when a killed training makes it again."""


class SegmentationMethod(nn.Module, abc.ABC):
    """A network and its training objective. A call returns a value; nothing is left on the module for a later call."""

    Config: ClassVar[type[MethodConfig]]
    summary: ClassVar[str]
    """One line for `plurimask methods`."""
    paper: ClassVar[str]
    """The publication: authors, title, venue, year."""
    dimensions: ClassVar[tuple[int, ...]] = (2,)
    """Of images that it can be built for: 2, and 3 where it takes volumes."""
    for_single_raters: ClassVar[Mapping[str, Any]] = {}
    """Settings that a plan gives where each image has one rater, of whom no disagreement can be learnt."""
    uses_all_raters: ClassVar[bool] = False
    """Whether a rater more in a step costs next to nothing, so that a plan draws all of an image."""
    has_optimiser: ClassVar[bool] = True
    """False where `update` makes every step: settings of the optimiser are refused."""
    made_at_end: ClassVar[bool] = False
    """Whether `finish` makes the weights to use from the whole training: no validation on the way chooses among them,
    and they are validated once more when they are made."""

    tiling: Tiling = Tiling()

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.config = config

    @abc.abstractmethod
    def forward(self, images: Tensor) -> SegmentationDistribution:
        """Images `(B, K, *spatial)`, float32, normalised -> p(label maps | images)."""

    @abc.abstractmethod
    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The training objective on labels `(B, R, *spatial)`, uint8: the R >= 1 raters drawn for this step."""

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Each rater's map as the method decodes it from the means of its own posterior, without a random draw.

        Args:
            images: `(B, K, *spatial)`, float32, normalised.
            labels: `(B, R, *spatial)`, uint8; absent raters are maps of IGNORE.

        Returns:
            Label maps `(B, R, *spatial)`, uint8, IGNORE everywhere for absent raters; None (the default) for a method
            without a posterior.
        """
        return None

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels along each axis that the coarsest features pool together: tiles begin at multiples of them."""
        scales, space = len(getattr(self.config, "channels", (1,))), getattr(self.config, "space", None)
        if self.tiling.strides is not None or space is None:
            return self.tiling.strides or (2 ** (scales - 1),) * self.config.spatial_dims
        totals: list[tuple[int, ...]] = space.total_strides(scales)
        return totals[-1]

    def parts(self) -> list[SegmentationMethod]:
        """The methods that are trained on their own, each with its own seed and share of the budget: this one alone."""
        return [self]

    # ---- hooks, for methods that train differently --------------------------------------------------------------

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Groups for the optimiser. By default weights decay and biases and gains do not."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        weights = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        return [{"params": weights, "lr": learning_rate}, {"params": others, "lr": learning_rate, "weight_decay": 0.0}]

    def begin(self, num_images: int, num_batches: int) -> None:
        """Called once before training, and again before a killed one is continued, with the number of training images
        and of batches that they make: for an objective that has a term for all the data."""

    def update(self, images: Tensor, labels: Tensor, step: TrainingStep) -> Loss | None:
        """One step without an optimiser, its loss returned; None (the default) asks for `loss` and the optimiser."""
        return None

    def after_step(self, step: TrainingStep) -> None:
        """Called after each training step: moving averages, statistics of weights."""

    def finish(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Called once after training, in training mode, with batches of training images and labels as `loss` has them,
        but not augmented: batch-norm statistics."""

    def training_state(self) -> dict[str, Any]:
        """What the hooks need to continue a killed training, beside parameters and buffers, which are kept anyway: such
        as the `state_dict()` of an optimiser of the method's own. Tensors, numbers, text; dicts and lists of them."""
        return {}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take up what `training_state` gave."""
