"""Networks that predict axis-aligned Gaussians over latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.latent import Gaussian
from plurimask.nn.convolution import CONVOLUTION
from plurimask.nn.place import known_average
from plurimask.nn.space import PLANE, Space
from plurimask.nn.strips import coarsest_features
from plurimask.nn.unet import PLAIN, Encoder, Style

LOG_SIGMA_BOUND = 5.0


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
        space: Space = PLANE,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, num_convs, style, space)
        self.moments = nn.Linear(channels[-1], 2 * latent_dim)

    def averaged(self, images: Tensor) -> Tensor:
        """The features that are averaged over all places, `(B, F, *coarse)`, float32."""
        return coarsest_features(self.encoder, images).float()

    def _average(self, images: Tensor) -> Tensor:
        """`(B, F)`, float32. Added up in float64, as over tiles: so both round to the same."""
        return self.averaged(images).flatten(2).mean(2, dtype=torch.float64).float()

    def forward(self, images: Tensor) -> Gaussian:
        known = known_average(self)
        pooled = self._average(images) if known is None else known.to(images.device)
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
