"""A distribution over label maps whose samples are networks, drawn from Gaussians over the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plurimask.distribution import SegmentationDistribution
from plurimask.nn.bayesian.network import run_with
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
        return noise if noise[0].is_floating_point() else (torch.stack([self._normal(s) for s in noise[0].tolist()]),)

    def scores(self, noise: Noise) -> Tensor:
        (given,) = noise
        numbers = iter(given) if given.is_floating_point() else map(self._normal, given.tolist())
        return torch.stack([run_with(self.network, self.images, self._weights(one)) for one in numbers])

    def _weights(self, numbers: Tensor) -> Tensor:
        """`(P,)`, rounded once to what the layers compute in."""
        mean, sigma = self.posterior
        kind = mean.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else mean.dtype
        return torch.addcmul(mean, sigma, numbers.to(mean.device)).to(dtype)

    def _normal(self, seed: int) -> Tensor:
        return torch.randn(len(self.posterior.mean), generator=torch.Generator().manual_seed(seed))
