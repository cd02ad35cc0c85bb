"""Where latents enter a decoder: they scale and shift the features of its last scales, or they enter a head behind it.

Latents are one vector for an image, `(N, B, L)`, or a map of vectors for its parts, `(N, B, L, *grid)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.head import LatentHead
from plurimask.nn.joining import JoiningConvolution
from plurimask.nn.space import PLANE, Space
from plurimask.nn.unet import LINEAR_INTERPOLATION, PLAIN, class_scores, conv_block

HIDDEN = 32
"""Features of the layer between a latent vector and what it scales and shifts by."""


class ModulatedScale(nn.Module):
    """A 3x3 convolution over [coarse features; skip], scaled and shifted by z, and more of them.

        y = conv relu( (1 + a(z)) conv([up(x); skip]) + b(z) ),    a, b: a layer of ReLUs and a linear one

    Up-sampling is to the nearest. `num_convs` counts all convolutions, each with its ReLU; z goes through 32 features.
    `places` is how many pixels of this scale a place of a map of latents is for, along each axis.
    """

    def __init__(
        self,
        coarse_channels: int,
        channels: int,
        num_convs: int,
        latent_dim: int,
        kernel: Sequence[int] = (3, 3),
        places: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.places = tuple(places)
        self.first = JoiningConvolution(coarse_channels, channels, channels, kernel)
        self.modulation = nn.Sequential(nn.Linear(latent_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * channels))
        self.rest = conv_block(channels, channels, num_convs - 1, PLAIN, kernel)

    def forward(self, joined: Tensor, latents: Tensor) -> Tensor:
        """The first convolution's output `(N, B, F, *spatial)`, or `(1, B, F, *spatial)` where it is the same for all
        samples, and latents `(N, B, L)` or `(N, B, L, *grid)` -> `(N * B, F, *spatial)`."""
        scale, shift = self._change(latents, joined.shape[3:]).to(joined.dtype).chunk(2, dim=2)
        features: Tensor = self.rest(torch.addcmul(shift, joined, 1 + scale).relu().flatten(0, 1))
        return features

    def _change(self, latents: Tensor, size: Sequence[int]) -> Tensor:
        """a and b `(N, B, 2 F, 1, ...)`; of a map `(N, B, 2 F, *size)`, by linear interpolation between its places."""
        with torch.autocast(latents.device.type, enabled=False):
            change: Tensor = self.modulation(latents.float().movedim(2, -1)).movedim(-1, 2)
            if latents.ndim == 3:
                return change.view(*change.shape, *[1] * len(size))
            # The last places may be for fewer pixels: the map is made finer as a whole, then cut.
            whole = [number * pixels for number, pixels in zip(latents.shape[3:], self.places, strict=True)]
            finer = functional.interpolate(change.flatten(0, 1), size=whole, mode=LINEAR_INTERPOLATION[len(size)])
            seen = finer
            for axis, length in enumerate(size, 2):
                seen = seen.narrow(axis, 0, length)
            return seen.reshape(*latents.shape[:2], *seen.shape[1:])


class Shared(NamedTuple):
    """What samples of B images share."""

    joined: Tensor  # (1, B, F, *spatial): the first convolution of the first of the scales
    skips: list[Tensor]  # of the further scales: the skip's half of theirs, (B, F, *spatial) each


class ModulatedDecoder(nn.Module):
    """The last scales of a decoder and the class scores, for many latent vectors of few images.

    Args:
        channels: of the features that come in, then of each scale, coarse to fine; the skips have the same.
        num_convs: 3x3 convolutions a scale.
        latent_dim, num_classes: L, C.
        space: of the images.
        latent_stride: pixels of the images, along each axis, that a place of a map of latents is for; 0: one vector.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_convs: int,
        latent_dim: int,
        num_classes: int,
        space: Space = PLANE,
        latent_stride: int = 0,
    ) -> None:
        super().__init__()
        strides = space.total_strides(len(channels) - 1)[::-1]
        self.scales = nn.ModuleList(
            ModulatedScale(
                coarse,
                fine,
                num_convs,
                latent_dim,
                space.kernel(len(channels) - 2 - number),
                [latent_stride // one for one in strides[number]],
            )
            for number, (coarse, fine) in enumerate(pairwise(channels))
        )
        self.scores = class_scores(channels[-1], num_classes, spatial_dims=space.dims)

    def shared(self, coarse: Tensor, skips: Sequence[Tensor]) -> Shared:
        """Once for images: their coarse features `(B, F, *coarse)` and skips, coarse to fine."""
        (entry, *further), (skip, *finer) = self._each(), skips
        joined = entry.first.of_coarse(coarse, skip.shape[2:]) + entry.first.of_skip(skip)
        return Shared(joined[None], [scale.first.of_skip(one) for scale, one in zip(further, finer, strict=True)])

    def forward(self, shared: Shared, latents: Tensor) -> Tensor:
        """Latents `(N, B, L)` or `(N, B, L, *grid)` -> class scores `(N * B, C, *spatial)`."""
        entry, *further = self._each()
        x = entry(shared.joined, latents)
        for scale, skip in zip(further, shared.skips, strict=True):
            coarse = scale.first.of_coarse(x, skip.shape[2:])
            x = scale(coarse.view(*latents.shape[:2], *coarse.shape[1:]) + skip, latents)
        scores: Tensor = self.scores(x)
        return scores

    def _each(self) -> list[Any]:
        return [*self.scales]


class HeadOfSamples(nn.Module):
    """1x1 convolutions over the features of a whole decoder and z, for many latent vectors of few images.

    It stands where a `ModulatedDecoder` of no scales would.
    """

    def __init__(self, channels: int, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.head = LatentHead(channels, latent_dim, num_classes)

    def shared(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Once for images: what the head makes of the decoder's features `(B, F, *spatial)`."""
        return self.head.project(features)

    def forward(self, shared: Tensor, latents: Tensor) -> Tensor:
        """Latents `(N, B, L)` -> class scores `(N * B, C, *spatial)`."""
        return self.head.of_samples(shared, latents)
