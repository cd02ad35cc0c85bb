"""Axis-aligned Gaussians over a latent vector, and the network that predicts one from images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.convolution import CONVOLUTION
from plurimask.nn.unet import PLAIN, Encoder, Style

LOG_SIGMA_BOUND = 5.0


class Gaussian(NamedTuple):
    """N(mean, diag(exp(log_sigma))^2), both `(P, L)` or, of latents with a place, `(P, L, *spatial)`; float32."""

    mean: Tensor
    log_sigma: Tensor

    def transform(self, noise: Tensor) -> Tensor:
        """Standard normal noise -> draws: mean + sigma * noise."""
        return self.mean + self.log_sigma.exp() * noise.to(self.mean)

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) in nats, summed over all latents and places: `(P,)`."""
        scaled = (self.mean - other.mean) * (-other.log_sigma).exp()
        log_ratio = self.log_sigma - other.log_sigma
        return 0.5 * ((2 * log_ratio).exp() + scaled.square() - 1 - 2 * log_ratio).flatten(1).sum(1)

    def take(self, index: Tensor) -> Gaussian:
        """The Gaussians at `index` of the leading dimension."""
        return Gaussian(self.mean[index], self.log_sigma[index])


class GaussianEncoder(nn.Module):
    """Encoder, global average, one linear layer: `(B, in_channels, *spatial)` -> `Gaussian` of shape `(B, L)`.

    log_sigma is bounded smoothly to +-5. The released networks leave it free, and their KL term explodes.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        latent_dim: int,
        num_convs: int = 3,
        style: Style = PLAIN,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, num_convs, style, spatial_dims)
        self.moments = nn.Linear(channels[-1], 2 * latent_dim)

    def forward(self, images: Tensor) -> Gaussian:
        pooled = self.encoder(images)[-1].float().flatten(2).mean(2)
        with torch.autocast(images.device.type, enabled=False):
            return _bounded(functional.linear(pooled, self.moments.weight.float(), self.moments.bias.float()))


class GaussianMap(nn.Module):
    """One 1x1 convolution: features `(P, F, *spatial)` -> a `Gaussian` at every place, `(P, L, *spatial)`.

    log_sigma is bounded as in `GaussianEncoder`.
    """

    def __init__(self, in_channels: int, latent_dim: int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.moments = CONVOLUTION[spatial_dims](in_channels, 2 * latent_dim, kernel_size=1)

    def forward(self, features: Tensor) -> Gaussian:
        with torch.autocast(features.device.type, enabled=False):
            return _bounded(self.moments(features.float()))


def _bounded(moments: Tensor) -> Gaussian:
    """Means and raw log sigmas, the halves of dimension 1, as a Gaussian."""
    mean, raw = moments.chunk(2, dim=1)
    return Gaussian(mean, LOG_SIGMA_BOUND * torch.tanh(raw / LOG_SIGMA_BOUND))
