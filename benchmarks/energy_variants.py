"""Ways to train by the energy score that were tried and lost: here, so that the trial can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plurimask.latent import Gaussian
from plurimask.method import Loss, TrainingStep
from plurimask.methods.energy_score_unet import EnergyScoreUNet, EnergyScoreUNetConfig, SampledSegmentation
from plurimask.methods.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from plurimask.methods.probabilistic_unet import ProbabilisticUNet
from plurimask.nn.energy_score import charge_of_draws
from plurimask.noise import Noise


class HardSamples(EnergyScoreUNet):
    """The score sees the most likely class of each pixel, and its gradient goes straight through to probabilities."""

    def masks(self, logits: Tensor) -> Tensor:
        soft = logits.softmax(2)
        hard = (soft == soft.amax(2, keepdim=True)).to(soft)
        return hard + (soft - soft.detach())


class BrierForPixels(EnergyScoreUNet):
    """Pixels are charged by the squared error of the samples' mean in place of its likelihood."""

    def pixel_score(self, logits: Tensor, maps: Tensor) -> Tensor:
        mean, judged = logits.softmax(2).mean(0), maps.sum(2)
        return ((mean[:, None] - maps).square().sum(2) * judged).sum(2)


class _ConditionedSegmentation(SampledSegmentation):
    """z ~ N(mu(x), diag sigma(x)^2), of the image's coarsest features."""

    def __init__(self, method: ConditionedPrior, images: Tensor) -> None:
        super().__init__(method, images)
        pooled = method.encoder(images)[-1].float().flatten(2).mean(2)
        with torch.autocast(images.device.type, enabled=False):
            mean, log_sigma = method.moments(pooled).chunk(2, dim=1)
        self.of_image = Gaussian(mean, 2 * torch.tanh(log_sigma / 2))
        self.prior = self.of_image

    def latents(self, noise: Noise) -> tuple[Tensor]:
        return (self.of_image.transform(noise[0]),)

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        return super().scores_of(self.latents(noise) if latents[0] is None else latents, noise)


class ConditionedPrior(EnergyScoreUNet):
    """Mean and deviation of z go by the image; at first they are 0 and 1. (The encoder runs twice.)"""

    def __init__(self, config: EnergyScoreUNetConfig) -> None:
        super().__init__(config)
        self.moments = nn.Linear(config.channels[-1], 2 * config.latent_dim)
        nn.init.zeros_(self.moments.weight)
        nn.init.zeros_(self.moments.bias)

    def forward(self, images: Tensor) -> _ConditionedSegmentation:
        return _ConditionedSegmentation(self, images)


FINISHING_WEIGHT, FINISHING_SHARE = 1000.0, 0.5


def _in_the_end(
    method: Any, bound: Callable[..., Loss], images: Tensor, labels: Tensor, generator: torch.Generator | None
) -> Loss:
    """The bound; in the last part of the training draws from the prior alone."""
    if method.progress < 1 - FINISHING_SHARE:
        return bound(images, labels, generator)
    prediction = method(images)
    draws = prediction.scores(prediction.draw_noise(method.config.energy_samples, generator))
    charge = charge_of_draws(draws, labels, method.config.has_background)
    return Loss(FINISHING_WEIGHT * charge.total, charge.terms)


class ScoreInTheEnd(ProbabilisticUNet):
    """In the last half of the training the energy score of draws from the prior alone, in place of the bound."""

    progress = 0.0

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        return _in_the_end(self, super().loss, images, labels, generator)

    def after_step(self, step: TrainingStep) -> None:
        self.progress = step.progress


class HierarchicalScoreInTheEnd(HierarchicalProbabilisticUNet):
    """So too."""

    progress = 0.0

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        return _in_the_end(self, super().loss, images, labels, generator)

    def after_step(self, step: TrainingStep) -> None:
        self.progress = step.progress
