"""A distribution over label maps whose samples are networks, drawn from Gaussians over the weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from plurimask.distribution import SegmentationDistribution
from plurimask.nn.bayesian.network import run_with, with_weights
from plurimask.nn.bayesian.prior import Gaussian
from plurimask.noise import Noise, NoisePart


class WeightDraws(SegmentationDistribution):
    """Each sample is one draw of all weights: the same for all images of the batch and all places of an image.

    Args:
        network: an ordinary one, images `(B, K, *spatial)` -> class scores `(B, C, *spatial)`.
        posterior: of its weights, `(P,)`, side by side as in `plurimask.nn.bayesian.network.gaussian_parameters`.
        images: `(B, K, *spatial)`.
        num_classes: C.
    """

    def __init__(self, network: nn.Module, posterior: Gaussian, images: Tensor, num_classes: int) -> None:
        shape = (len(images), num_classes, *images.shape[2:])
        # The weights themselves would be gigabytes for many samples.
        super().__init__(shape, images.device, [NoisePart("weights", "seed")])
        self.network, self.images, self.posterior = network, images, posterior

    def expand(self, noise: Noise) -> Noise:
        """Standard normal numbers `(N, P)`, one a weight."""
        (given,) = noise
        return noise if given.is_floating_point() else (torch.stack([one.clone() for one in self._normal(given)]),)

    def scores(self, noise: Noise) -> Tensor:
        (given,), (mean, sigma) = noise, self.posterior
        if mean.requires_grad:
            draws = torch.addcmul(mean, sigma, self.expand(noise)[0].to(mean.device))
            return torch.stack([run_with(self.network, self.images, weights) for weights in draws])
        # All draws in one place: new memory for each would take longer than the draw itself.
        row, kind, maps = torch.empty_like(mean), mean.device.type, []
        # Rounded once to what the layers compute in.
        weights = row.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else row
        drawn = with_weights(self.network, weights)
        for one in given if given.is_floating_point() else self._normal(given):
            weights.copy_(torch.addcmul(mean, sigma, one.to(mean.device), out=row))
            with drawn:
                maps.append(self.network(self.images))
        return torch.stack(maps)

    def _normal(self, seeds: Tensor) -> Iterator[Tensor]:
        """`(P,)` standard normal numbers of each seed, which last until the next are drawn."""
        generator, numbers = torch.Generator(), torch.empty(len(self.posterior.mean))
        for seed in seeds.tolist():
            yield torch.randn(len(numbers), generator=generator.manual_seed(seed), out=numbers)
