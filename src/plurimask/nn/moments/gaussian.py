"""Moments of a rectified Gaussian and of the larger of two, in forms that cannot cancel.

With x ~ N(mu, v), sigma = sqrt(v), a = mu / sigma, Phi and phi the normal distribution function and density, let

    h = E[max(x, 0)] / sigma = a Phi(a) + phi(a)          l = E[max(-x, 0)] / sigma = h - a

so that the covariance of the two parts of x is -v h l. A leaky ReLU of slope k, max(x, 0) - k max(-x, 0), then has

    mean = sigma (h - k l)        variance = v [Phi + k^2 (1 - Phi) - (1 - k)^2 h l]

and the larger of two independent x1, x2, with theta^2 = v1 + v2, d = |mu1 - mu2| / theta, q = 1 - Phi(d) and
t = phi(d) - d q, the first being the one of higher mean (Clark, "The Greatest of a Finite Set of Random Variables",
Operations Research 1961),

    mean = mu1 + theta t          variance = v1 [1 - q - t (d + t)] + v2 [q - t (d + t)].

Published code subtracts a squared mean from a second moment instead, which in float32 leaves negative variances. Here
no term is a difference of large numbers: 0 <= h l <= 1 / (2 pi), and h l <= min(Phi, 1 - Phi); what is clamped to 0 is
the rounding of numbers too small for a normal float.

All functions are elementwise, on float32 and float64, and exact for Gaussian inputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LEAST = 2.0**-120
"""Added to variances before they divide: a variance of 0 is a sure value. The root is a power of 2, so that dividing by
it and multiplying again changes no digit."""
_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)


def leaky_moments(mean: Tensor, variance: Tensor, slope: float | Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of a leaky ReLU (slope 0: of a ReLU) of Gaussians.

    Args:
        mean: any shape.
        variance: of that shape, at least 0.
        slope: below 0; a number, or a tensor that can be broadcast.
    """
    sigma = (variance + _LEAST).sqrt()
    a = mean / sigma
    above = torch.erfc(a * -_ROOT_HALF) * 0.5
    h = (torch.exp(a * a * -0.5) * _DENSITY + a * above).clamp(min=0)
    low = h - a
    if isinstance(slope, float) and slope == 0:
        return sigma * h, variance * (above - h * low).clamp(min=0)
    share = above + (slope * slope) * (1 - above) - (1 - slope) ** 2 * (h * low)
    return sigma * (h - slope * low), variance * share.clamp(min=0)


def leaky_moments_into(out: tuple[Tensor, Tensor], mean: Tensor, variance: Tensor, slope: float) -> None:
    """`leaky_moments` written to `out`, with as few passes over memory as there can be, for blocks that fit into a
    cache. `out` must not share memory with the inputs.
    """
    sigma = torch.add(variance, _LEAST, out=out[0]).sqrt_()
    a = mean / sigma
    above = torch.mul(a, -_ROOT_HALF, out=out[1]).erfc_().mul_(0.5)
    h = torch.square(a).mul_(-0.5).exp_().mul_(_DENSITY).addcmul_(a, above).clamp_(min=0)
    low = torch.sub(h, a, out=a)
    if slope == 0:
        sigma.mul_(h)
        share = above.addcmul_(h, low, value=-1)
    else:
        product = h * low
        sigma.mul_(h.sub_(low, alpha=slope))
        share = above.mul_(1 - slope**2).add_(slope**2).sub_(product, alpha=(1 - slope) ** 2)
    share.clamp_(min=0).mul_(variance)


def leaky_gradients(
    mean: Tensor, variance: Tensor, of_mean: Tensor, of_variance: Tensor, slope: float | Tensor
) -> tuple[Tensor, Tensor]:
    """What `leaky_moments` hands back: gradients by `mean` and `variance`, given those by its two results.

    From Price's theorem: d E[f(x)] / d mu = E[f'], d E[f(x)] / d v = E[f''] / 2.
    """
    sigma = (variance + _LEAST).sqrt()
    a = mean / sigma
    above = torch.erfc(a * -_ROOT_HALF) * 0.5
    density = torch.exp(a * a * -0.5) * _DENSITY
    h = (density + a * above).clamp(min=0)
    low = h - a
    below = 1 - above
    first = of_mean * (above + slope * below)
    first = first + of_variance * (2 * (1 - slope)) * sigma * (below * h + slope * (above * low))
    second = of_mean * ((1 - slope) / 2) * density / sigma
    spread = above + slope**2 * below - (1 - slope) * (h - slope * low) * density
    return first, second + of_variance * spread


def slope_gradient(
    mean: Tensor, variance: Tensor, of_mean: Tensor, of_variance: Tensor, slope: float | Tensor
) -> Tensor:
    """What `leaky_moments` hands back by the slope, for each element."""
    sigma = (variance + _LEAST).sqrt()
    a = mean / sigma
    above = torch.erfc(a * -_ROOT_HALF) * 0.5
    h = (torch.exp(a * a * -0.5) * _DENSITY + a * above).clamp(min=0)
    low = h - a
    return of_variance * 2 * variance * (slope * (1 - above) + (1 - slope) * (h * low)) - of_mean * sigma * low


def larger_moments(mean1: Tensor, variance1: Tensor, mean2: Tensor, variance2: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the larger of two independent Gaussians; all of one shape, variances at least 0."""
    theta = (variance1 + variance2 + _LEAST).sqrt()
    distance = mean1 - mean2
    d = distance.abs() / theta
    q, t = _beyond(d)
    product = t * (d + t)
    first = distance > 0
    high, low = torch.where(first, variance1, variance2), torch.where(first, variance2, variance1)
    return torch.maximum(mean1, mean2) + theta * t, high * (1 - q - product) + low * (q - product).clamp(min=0)


def larger_gradients(
    means: tuple[Tensor, Tensor], variances: tuple[Tensor, Tensor], of_mean: Tensor, of_variance: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `larger_moments` hands back: gradients by `mean1`, `variance1`, `mean2` and `variance2`."""
    (mean1, mean2), (variance1, variance2) = means, variances
    theta = (variance1 + variance2 + _LEAST).sqrt()
    a = (mean1 - mean2) / theta
    d = a.abs()
    q, t = _beyond(d)
    density = torch.exp(d * d * -0.5) * _DENSITY
    above = torch.where(a > 0, 1 - q, q)
    product = t * (d + t)
    # d (h l) / d a = Phi l - (1 - Phi) h, odd in a.
    turn = torch.where(a > 0, 1.0, -1.0) * ((1 - q) * t - q * (d + t))
    bend = (variance1 - variance2) * density - theta * theta * turn
    by_mean = of_variance * bend / theta
    by_theta = of_mean * density / (2 * theta) - of_variance * bend * a / (2 * theta * theta)
    return (
        of_mean * above + by_mean,
        of_variance * (above - product) + by_theta,
        of_mean * (1 - above) - by_mean,
        of_variance * (1 - above - product) + by_theta,
    )


def _beyond(d: Tensor) -> tuple[Tensor, Tensor]:
    """q = 1 - Phi(d) and t = phi(d) - d q = E[max(z - d, 0)], for d >= 0 and z ~ N(0, 1)."""
    q = torch.erfc(d * _ROOT_HALF) * 0.5
    return q, (torch.exp(d * d * -0.5) * _DENSITY - d * q).clamp(min=0)
