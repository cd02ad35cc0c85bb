"""A U-Net whose decoder draws latents on its way from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from plurimask.latent import Gaussian
from plurimask.nn.joining import DecoderScale, Share, of_images, shares_of
from plurimask.nn.latent import GaussianMap
from plurimask.nn.space import PLANE, Space
from plurimask.nn.unet import Encoder, Style, class_scores


class Level(NamedTuple):
    """One latent scale of a pass."""

    gaussian: Gaussian  # (P, d, *spatial)
    latents: Tensor  # (P, d, *spatial), float32: those that the pass went on with


Choice: TypeAlias = Callable[[int, Gaussian], Tensor]
"""Which latents to go on with at a level, given their Gaussian: a draw, its mean, or those of another network."""


def its_mean(level: int, gaussian: Gaussian) -> Tensor:
    """The `Choice` without chance."""
    return gaussian.mean


class HierarchicalCore(nn.Module):
    """The encoder of a U-Net, and its decoder as far as the last scale that has latents.

    Args:
        in_channels: of the inputs.
        channels: of each scale, finest first.
        latent_dims: latent channels of each scale, *coarsest* first, 0 where there are none; the last is not 0.
        num_blocks: convolutions or residual blocks at each scale, see `Style.blocks`.
        style: of encoder and decoder.
        space: of the inputs.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        latent_dims: Sequence[int],
        num_blocks: int,
        style: Style,
        space: Space = PLANE,
    ) -> None:
        super().__init__()
        self.latent_dims, widths = tuple(latent_dims), channels[::-1]
        self.encoder = Encoder(in_channels, channels, num_blocks, style, space)
        self.gaussians = nn.ModuleList(
            GaussianMap(width, dim, space.dims) for width, dim in zip(widths, latent_dims, strict=False) if dim
        )
        self.decoder = nn.ModuleList(
            DecoderScale(coarse + dim, fine, num_blocks, style, space.kernel(len(channels) - 2 - number))
            for number, (coarse, fine, dim) in enumerate(zip(widths, widths[1:], latent_dims[:-1], strict=False))
        )

    def shares(self, features: list[Tensor]) -> list[Share]:
        """The shares of the encoder's features, finest first, in the scales of the decoder, coarsest first."""
        return shares_of(self.decoder, features[-2::-1])

    def descend(
        self, coarsest: Tensor, shares: Sequence[Share], image: Tensor | None, choose: Choice
    ) -> tuple[Tensor, list[Level]]:
        """From the coarsest features `(B, F, *spatial)` to those of the last latent scale, its latents joined to them.

        Args:
            coarsest, shares: of the B images.
            image: `(P,)`, the image that each of the P passes is for; None: one pass for each image.
            choose: the latents of each pass.
        """
        x, levels = of_images(coarsest, image), list[Level]()
        for number, dim in enumerate(self.latent_dims):
            if number:
                x = self.decoder[number - 1](x, shares[number - 1], image)
            if dim:
                gaussian = self.gaussians[len(levels)](x)
                levels.append(Level(gaussian, choose(len(levels), gaussian)))
                x = torch.cat([levels[-1].latents.to(x.dtype), x], dim=1)
        return x, levels

    def forward(self, inputs: Tensor, choose: Choice) -> list[Level]:
        """One pass for each of the inputs `(P, in_channels, *spatial)`."""
        features = self.encoder(inputs)
        return self.descend(features[-1], self.shares(features), None, choose)[1]


class StitchingDecoder(nn.Module):
    """The rest of a core's decoder, from its last latents to the class scores. Arguments as of `HierarchicalCore`."""

    def __init__(
        self,
        channels: Sequence[int],
        latent_dims: Sequence[int],
        num_blocks: int,
        style: Style,
        space: Space,
        num_classes: int,
    ) -> None:
        super().__init__()
        widths = list(channels[: len(channels) - len(latent_dims) + 1])  # from the last latent scale on, finest first
        self.num_finer = len(widths) - 1
        coarse, fine = [*widths[1:-1], widths[-1] + latent_dims[-1]], widths[:-1]
        self.decoder = nn.ModuleList(
            DecoderScale(before, after, num_blocks, style, space.kernel(len(fine) - 1 - number))
            for number, (before, after) in enumerate(zip(coarse[::-1], fine[::-1], strict=False))
        )
        self.scores = class_scores(channels[0] if fine else coarse[-1], num_classes, spatial_dims=space.dims)

    def shares(self, features: list[Tensor]) -> list[Share]:
        """The shares of the core's encoder's features, finest first, in the scales of this decoder."""
        return shares_of(self.decoder, features[: self.num_finer][::-1])

    def forward(self, x: Tensor, shares: Sequence[Share], image: Tensor | None) -> Tensor:
        """Features of the last latent scale -> class scores `(P, C, *spatial)`."""
        for scale, share in zip(self.decoder, shares, strict=True):
            x = scale(x, share, image)
        scores: Tensor = self.scores(x)
        return scores
