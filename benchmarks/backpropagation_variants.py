"""Probabilistic backpropagation that forgets: what was learnt long ago counts less."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from plurimask.method import Loss, TrainingStep
from plurimask.methods.probabilistic_backpropagation import (
    ProbabilisticBackpropagation,
    ProbabilisticBackpropagationConfig,
)


class ForgettingConfig(ProbabilisticBackpropagationConfig):
    memory: float = Field(10.0, gt=0, description="epochs of data that a weight knows of, about")


class Forgetting(ProbabilisticBackpropagation):
    """After each step 1 / v <- (1 - f) / v + f / v_0, with v_0 the variance that a weight begins with and f one over
    the steps of `memory` epochs: precisions end at what so many epochs say, and means go on to learn."""

    Config = ForgettingConfig
    config: Any

    def __init__(self, config: ForgettingConfig) -> None:
        super().__init__(config)
        self.first = [float(variance.detach().mean()) for variance in self._pairs()[1]]

    def update(self, images: Tensor, labels: Tensor, step: TrainingStep) -> Loss:
        loss = super().update(images, labels, step)
        share = 1 / max(1.0, self.config.memory * max(1, self.num_batches))
        with torch.no_grad():
            for variance, first in zip(self._pairs()[1], self.first, strict=True):
                variance.copy_(variance / (1 - share + share * variance / first))
        return loss
