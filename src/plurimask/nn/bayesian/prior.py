"""What is believed of a weight before the data, and how far a Gaussian is from it."""

from __future__ import annotations

import abc
import math
from typing import NamedTuple

import torch
from torch import Tensor

_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """Independent Gaussians N(mean, sigma^2), one a weight; both of one shape, sigma above 0."""

    mean: Tensor
    sigma: Tensor

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw of each, with gradients to mean and sigma: mean + sigma e, e ~ N(0, 1)."""
        return torch.addcmul(self.mean, self.sigma, standard_normal(self.mean, generator))


class Prior(abc.ABC):
    """A density over each weight, independent of the others and centred at 0."""

    @abc.abstractmethod
    def kl(self, posterior: Gaussian, generator: torch.Generator | None = None) -> Tensor:
        """KL(posterior || prior) in nats, `()`, summed over weights, or an unbiased estimate by one draw of each."""


class GaussianPrior(Prior):
    """N(0, sigma^2). Its divergence is a closed form: nothing is drawn."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def kl(self, posterior: Gaussian, generator: torch.Generator | None = None) -> Tensor:
        mean, sigma = (part / self.sigma for part in posterior)
        return (0.5 * (mean.square() + sigma.square() - 1) - sigma.log()).sum()


class ScaleMixturePrior(Prior):
    """pi N(0, sigma1^2) + (1 - pi) N(0, sigma2^2): with sigma1 > sigma2 a few large weights, and many close to 0.

    The divergence has no closed form. It is estimated by one draw of each weight: ln q(w) - ln p(w).
    """

    def __init__(self, pi: float, sigma1: float, sigma2: float) -> None:
        self.log_shares, self.sigmas = (math.log(pi), math.log1p(-pi)), (sigma1, sigma2)

    def log_density(self, weights: Tensor) -> Tensor:
        """ln p of each weight, in the shape of the weights."""
        wide, narrow = (
            share - math.log(sigma) - _LOG_ROOT_TAU - 0.5 * (weights / sigma).square()
            for share, sigma in zip(self.log_shares, self.sigmas, strict=True)
        )
        return torch.logaddexp(wide, narrow)

    def kl(self, posterior: Gaussian, generator: torch.Generator | None = None) -> Tensor:
        e = standard_normal(posterior.mean, generator)
        log_posterior = -posterior.sigma.log() - _LOG_ROOT_TAU - 0.5 * e.square()
        return (log_posterior - self.log_density(torch.addcmul(posterior.mean, posterior.sigma, e))).sum()


def standard_normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """N(0, 1) in the shape, type and place of a tensor, and laid out in memory as it is.

    The generator is one on the CPU. Elsewhere it seeds one that draws there, as all that is drawn in training is large.
    """
    # In a row, as torch draws in other layouts, and in other types, many times slower.
    numbers = torch.empty(like.numel(), device=like.device).normal_(generator=generator_on(like.device, generator))
    return torch.empty_like(like).copy_(numbers.view(like.shape))


def generator_on(device: torch.device, generator: torch.Generator | None) -> torch.Generator | None:
    """A generator for draws on a device, seeded by one on the CPU; on the CPU that one; None for torch's own."""
    if generator is None or device.type == generator.device.type:
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
