"""The 1x1 head that joins image features with a latent vector, fast for many samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

TILE_ELEMENTS = 2**18
"""Activations per tile (1 MB of float32): small enough to stay in a processor's cache from layer to layer."""


class LatentHead(nn.Module):
    """Features `(B, F, *spatial)` and latents `(P, L)` of the images `(P,)` -> class scores `(P, C, *spatial)`.

    `num_hidden` 1x1 convolutions with ReLU and one without, on the features with the latent repeated at every pixel.
    The first is linear in both: W [f; z] = W_f f + W_z z. So W_f f is computed once per image, W_z z is a bias per
    sample, and no repeated latent is ever stored. The layers are matrix products over tiles of pixels: each pixel goes
    through all layers while it is in cache, where convolutions would carry every layer of every sample through memory.
    """

    def __init__(self, feature_channels: int, latent_dim: int, num_classes: int, num_hidden: int = 3) -> None:
        super().__init__()
        self.of_features = nn.Linear(feature_channels, feature_channels)
        self.of_latents = nn.Linear(latent_dim, feature_channels, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(feature_channels, feature_channels) for _ in range(num_hidden - 1))
        self.scores = nn.Linear(feature_channels, num_classes)

    def forward(self, features: Tensor, latents: Tensor, image: Tensor) -> Tensor:
        dtype, spatial = features.dtype, features.shape[2:]
        with torch.autocast(features.device.type, enabled=False):
            pixels = functional.linear(features.flatten(2).mT, *_parameters(self.of_features, dtype))  # (B, pixels, F)
            shifts = self.of_latents(latents.float()).to(dtype)[:, None]  # (P, 1, F)
            layers = [_parameters(layer, dtype) for layer in (*self.hidden, self.scores)]
            # Training keeps every activation for the gradient: nothing is gained by tiles.
            size = pixels.shape[1] if torch.is_grad_enabled() else max(1, TILE_ELEMENTS // max(1, shifts.numel()))
            tiles = [_perceptron(tile[image] + shifts, layers) for tile in torch.split(pixels, size, dim=1)]
        scores = torch.cat(tiles, dim=1).float().mT
        return scores.reshape(*scores.shape[:2], *spatial)


def _perceptron(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """ReLU, then each layer with a ReLU between: `(..., F)` -> `(..., C)`."""
    for weight, bias in layers:
        x = functional.linear(x.relu_(), weight, bias)
    return x


def _parameters(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight.to(dtype), layer.bias.to(dtype)
