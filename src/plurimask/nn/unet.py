"""The VGG-style U-Net that the latent-variable methods share: convolutions and ReLUs, no normalisation.

Any input size: pooling rounds up and up-sampling goes to the skip connection's size, so nothing is padded or cropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
AVERAGE_POOL: dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
LINEAR_INTERPOLATION = {2: "bilinear", 3: "trilinear"}


def conv_block(in_channels: int, out_channels: int, num_convs: int, spatial_dims: int = 2) -> nn.Sequential:
    """`num_convs` times (3x3 convolution, ReLU)."""
    layers: list[nn.Module] = []
    for channels in [in_channels, *[out_channels] * (num_convs - 1)]:
        layers += [CONVOLUTION[spatial_dims](channels, out_channels, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """`(B, in_channels, *spatial)` -> one feature map per scale, finest first, each half the size of the last."""

    def __init__(self, in_channels: int, channels: Sequence[int], num_convs: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            conv_block(before, after, num_convs, spatial_dims)
            for before, after in zip([in_channels, *channels[:-1]], channels, strict=True)
        )
        self.pool = AVERAGE_POOL[spatial_dims](kernel_size=2, ceil_mode=True)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = []
        for scale, block in enumerate(self.blocks):
            images = block(self.pool(images) if scale else images)
            features.append(images)
        return features


class Decoder(nn.Module):
    """The features of an `Encoder` -> `(B, channels[0], *spatial)` at the finest scale."""

    def __init__(self, channels: Sequence[int], num_convs: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            conv_block(coarse + fine, fine, num_convs, spatial_dims)
            for coarse, fine in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.mode = LINEAR_INTERPOLATION[spatial_dims]

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for block, skip in zip(self.blocks, features[-2::-1], strict=True):
            up = functional.interpolate(x, size=skip.shape[2:], mode=self.mode, align_corners=True)
            x = block(torch.cat([up, skip], dim=1))
        return x


class UNetFeatures(nn.Module):
    """Encoder and decoder without a last layer: `(B, in_channels, *spatial)` -> `(B, channels[0], *spatial)`."""

    def __init__(self, in_channels: int, channels: Sequence[int], num_convs: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, num_convs, spatial_dims)
        self.decoder = Decoder(channels, num_convs, spatial_dims)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.decoder(self.encoder(images))
        return features
