"""Distributions whose samples are decoded from latents: what figures, reports and the viewer know of such a method."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.distribution import SegmentationDistribution
from plurimask.noise import Noise, take


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


class LatentSegmentation(SegmentationDistribution):
    """noise -> latents -> class scores. Each part of the noise has the shape of one level's latents, coarse to fine.

    Latents are a tuple with a tensor for each level: `(N, B, L)`, one vector an image, or `(N, B, L, *spatial)`, a map.
    """

    images: Tensor
    """`(B, K, *spatial)`."""
    prior: Gaussian | None
    """p(z | image) of a single latent vector, `(B, L)`; None where latents are maps or depend on each other."""

    @abc.abstractmethod
    def latents(self, noise: Noise) -> tuple[Tensor, ...]:
        """Standard normal noise of each level -> draws from the prior."""

    def posteriors_of(self, images: Tensor, labels: Tensor) -> Sequence[Gaussian]:
        """Of P images and P label maps `(P, *spatial)`, of each level: see `posterior`. None by default."""
        return ()

    def posterior(self, labels: Tensor) -> tuple[Gaussian, ...]:
        """Which latents stand for label maps `(N, B, *spatial)`, uint8: of each level q(z | image, label map).

        The Gaussians have the shape of latents; that of a level is given the means of the levels before it. There are
        none of a method without a posterior.
        """
        images = self.images.repeat(len(labels), *[1] * (self.images.ndim - 1))
        with self.precision():
            levels = self.posteriors_of(images, labels.flatten(0, 1).to(images.device))
        return tuple(Gaussian(*(part.view(len(labels), -1, *part.shape[1:]) for part in level)) for level in levels)

    @abc.abstractmethod
    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        """Class scores as of `scores`, of one chunk of samples; latents that are None are drawn by the noise."""

    def decode(self, latents: Sequence[Tensor | None], noise: Noise | None = None) -> Tensor:
        """Latents of each level -> logits `(N, B, C, *spatial)`, float32.

        Args:
            latents: at most one tensor a level. Where it is None, or missing at the end, the latents are drawn from the
                prior given those before, by the noise: its mean, where `draw_noise` was told so.
            noise: N draws; the means if not given.
        """
        counts = {len(given) for given in latents if given is not None}
        if len(counts) != 1 or len(latents) > len(self.noise):
            raise ValueError(
                f"latents of {len(latents)} levels with {sorted(counts)} samples: expected at most {len(self.noise)} "
                "levels, at least one of them given, all with the same number of samples"
            )
        levels = range(len(self.noise))
        noise = self.draw_noise(counts.pop(), at_mean=levels) if noise is None else noise
        of_all = [latents[level] if level < len(latents) else None for level in levels]
        chunks = []
        for part in self.chunks(len(noise[0])):
            given = [None if one is None else one[part] for one in of_all]
            with self.precision():
                chunks.append(self.scores_of(given, take(noise, part)).float().view(-1, *self.logits_shape))
        return torch.cat(chunks)

    def scores(self, noise: Noise) -> Tensor:
        return self.scores_of([None] * len(self.noise), noise)
