"""Variational autoencoders whose draws from the prior are trained by the energy score too: beside the bound, or in a
finishing stage."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from plurimask.method import Loss, TrainingStep
from plurimask.methods.hierarchical_probabilistic_unet import (
    HierarchicalProbabilisticUNet,
    HierarchicalProbabilisticUNetConfig,
)
from plurimask.methods.probabilistic_unet import ProbabilisticUNet, ProbabilisticUNetConfig
from plurimask.nn.energy_score import log_likelihood, mean_per_pixel, mean_score, rater_maps


def prior_loss(method: Any, images: Tensor, labels: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """The energy score of draws from the prior, and the loss per pixel of the likelihood of their mean."""
    config, prediction = method.config, method(images)
    noise = prediction.draw_noise(config.energy_samples, generator)
    logits = prediction.scores(noise).float().view(len(noise[0]), *prediction.logits_shape).flatten(3)
    with torch.autocast(images.device.type, enabled=False):
        raters = rater_maps(labels, config.num_classes)
        pixels = mean_per_pixel(-log_likelihood(logits, raters.maps), raters)
        return mean_score(logits.softmax(2), raters, True), pixels


def finished(method: Any, bound: Any, images: Tensor, labels: Tensor, generator: torch.Generator | None) -> Loss:
    """The bound, or the score, or both, as settings and progress have it."""
    config = method.config
    is_last = float(method.progress) >= 1 - config.finish_share
    if not is_last and not config.is_beside:
        loss: Loss = bound(images, labels, generator)
        return loss
    score, pixels = prior_loss(method, images, labels, generator)
    own = Loss(config.energy_weight * (score + pixels), {"energy_score": score.detach(), "pixels": pixels.detach()})
    if is_last and not config.keeps_bound:
        return own
    loss = bound(images, labels, generator)
    return Loss(loss.total + own.total, {**loss.terms, **own.terms})


class FinishedConfig(ProbabilisticUNetConfig):
    energy_weight: float = Field(1000.0, ge=0)
    energy_samples: int = Field(8, ge=2)
    finish_share: float = Field(0.0, ge=0, le=1)
    is_beside: bool = Field(False, description="the score beside the bound from the start")
    keeps_bound: bool = Field(False, description="the bound goes on in the finishing stage")


class Finished(ProbabilisticUNet):
    Config = FinishedConfig
    config: Any
    progress: Tensor

    def __init__(self, config: FinishedConfig) -> None:
        super().__init__(config)
        self.register_buffer("progress", torch.zeros(()))

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        return finished(self, super().loss, images, labels, generator)

    def after_step(self, step: TrainingStep) -> None:
        super().after_step(step)
        self.progress.fill_(step.progress)


class HierarchicalFinishedConfig(HierarchicalProbabilisticUNetConfig):
    energy_weight: float = Field(1000.0, ge=0)
    energy_samples: int = Field(8, ge=2)
    finish_share: float = Field(0.0, ge=0, le=1)
    is_beside: bool = Field(False, description="the score beside the bound from the start")
    keeps_bound: bool = Field(False, description="the bound goes on in the finishing stage")


class HierarchicalFinished(HierarchicalProbabilisticUNet):
    Config = HierarchicalFinishedConfig
    config: Any
    progress: Tensor

    def __init__(self, config: HierarchicalFinishedConfig) -> None:
        super().__init__(config)
        self.register_buffer("progress", torch.zeros(()))

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        return finished(self, super().loss, images, labels, generator)

    def after_step(self, step: TrainingStep) -> None:
        super().after_step(step)
        self.progress.fill_(step.progress)
