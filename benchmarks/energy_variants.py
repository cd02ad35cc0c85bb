"""Ways to train a sampler by the energy score that were tried and lost: here, so that the trial can be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plurimask.methods.energy_score_unet import EnergyScoreUNet, EnergyScoreUNetConfig
from plurimask.nn.head import LatentHead
from plurimask.nn.initialisation import initialise
from plurimask.nn.unet import Decoder


class _Head(nn.Module):
    """The last scale without z, then the head of the Probabilistic U-Net: 1x1 convolutions over features and z."""

    def __init__(self, config: EnergyScoreUNetConfig) -> None:
        super().__init__()
        self.last = Decoder(config.channels[:2], config.convs_per_scale, config.style)
        self.head = LatentHead(config.channels[0], config.latent_dim, config.num_classes)

    def shared(self, coarse: Tensor, skips: Sequence[Tensor]) -> Tensor:
        return self.head.project(self.last([*skips, coarse]))

    def forward(self, projected: Tensor, latents: Tensor) -> Tensor:
        image = torch.arange(len(projected), device=projected.device).repeat(len(latents))
        scores: Tensor = self.head(projected, latents.flatten(0, 1), image)
        return scores


class LatentsInTheHead(EnergyScoreUNet):
    """z enters behind the whole U-Net; to be built with `sampled_scales` 1."""

    def __init__(self, config: EnergyScoreUNetConfig) -> None:
        super().__init__(config)
        self.sampled: Any = _Head(config)
        initialise(self.sampled, config.initialisation)


class HardSamples(EnergyScoreUNet):
    """The score sees the most likely class of each pixel, and its gradient goes straight through to probabilities."""

    def masks(self, logits: Tensor) -> Tensor:
        soft = logits.softmax(2)
        hard = (soft == soft.amax(2, keepdim=True)).to(soft)
        return hard + (soft - soft.detach())
