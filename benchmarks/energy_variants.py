"""Ways to train a sampler by the energy score that were tried beside `energy-score-unet`: here, so that each trial can
be repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.methods.energy_score_unet import EnergyScoreUNet, EnergyScoreUNetConfig, SampledSegmentation
from plurimask.nn.head import LatentHead
from plurimask.nn.initialisation import initialise
from plurimask.nn.modulated import ModulatedScale
from plurimask.nn.unet import Decoder
from plurimask.noise import Noise, NoisePart


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
        self.prior = Gaussian(mean, 2 * torch.tanh(log_sigma / 2))

    def latents(self, noise: Noise) -> tuple[Tensor]:
        return (self.prior.transform(noise[0]),)

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


class _MappedScale(ModulatedScale):
    """Latents are maps: scale and shift of each of their places, read between places by linear interpolation."""

    def forward(self, joined: Tensor, latents: Tensor) -> Tensor:
        with torch.autocast(joined.device.type, enabled=False):
            change = self.modulation(latents.float().movedim(2, -1)).movedim(-1, 2)
            change = functional.interpolate(change.flatten(0, 1), size=joined.shape[3:], mode="bilinear")
        change = change.to(joined.dtype).view(*latents.shape[:2], *change.shape[1:])
        scale, shift = change.chunk(2, dim=2)
        features: Tensor = self.rest((shift + joined * (1 + scale)).relu().flatten(0, 1))
        return features


class _MappedSegmentation(LatentSegmentation):
    """A vector z for the whole image and a map of them, or the map alone."""

    prior = None

    def __init__(self, method: LatentMap, images: Tensor) -> None:
        self.method, self.images, self.shared = method, images, method.encode(images)
        config, (batch_size, _, *spatial) = method.config, images.shape
        self.grid = [math.ceil(side / config.latent_stride) for side in spatial]
        stride = (config.latent_stride,) * len(spatial)
        parts = [NoisePart("image", "normal", (config.global_dim,))] if config.global_dim else []
        parts.append(NoisePart("places", "normal", (config.latent_dim - config.global_dim, *self.grid), stride=stride))
        shape = (batch_size, config.num_classes, *spatial)
        super().__init__(
            shape, images.device, parts, draw_elements=batch_size * 5 * config.channels[0] * math.prod(spatial)
        )

    def latents(self, noise: Noise) -> tuple[Tensor, ...]:
        return tuple(part.to(self.images) for part in noise)

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        given = [own if chosen is None else chosen for chosen, own in zip(latents, noise, strict=True)]
        *vector, places = (part.to(self.images) for part in given)
        joined = [one[..., None, None].expand(*one.shape, *self.grid) for one in vector]
        scores: Tensor = self.method.sampled(self.shared, torch.cat([*joined, places], dim=2))
        return scores


class LatentMapConfig(EnergyScoreUNetConfig):
    latent_stride: int = Field(16, ge=1, description="pixels that a place of the map is for, along each side")
    global_dim: int = Field(0, ge=0, description="of the dimensions of z, those that are the same at all places")


class LatentMap(EnergyScoreUNet):
    """A map of latents of low resolution scales and shifts the features, in place of one vector."""

    Config = LatentMapConfig
    config: Any

    def __init__(self, config: LatentMapConfig) -> None:
        super().__init__(config)
        widths, count = config.channels, config.sampled_scales
        pairs = zip(widths[count:0:-1], widths[count - 1 :: -1], strict=True)
        self.sampled.scales = nn.ModuleList(
            _MappedScale(coarse, fine, config.sampled_convs, config.latent_dim) for coarse, fine in pairs
        )
        initialise(self.sampled, config.initialisation)

    def forward(self, images: Tensor) -> Any:
        return _MappedSegmentation(self, images)
