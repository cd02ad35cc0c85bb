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
from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST = 2.0**-120
"""Added to variances before they divide: a variance of 0 is a sure value. The root is a power of 2, so that dividing by
it and multiplying again changes no digit."""
_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)
_FARTHEST = {torch.float32: 12.5, torch.float64: 37.0}
"""Standard deviations from 0 beyond which the density and the tails are taken as they are there: what is smaller is
below the normal numbers of the precision, with which processors calculate a hundred times slower."""
_RATIO = (
    *(0.0961871557, -0.496915022, 0.841074336, -0.463436925, 0.522605496),
    *(0.165458042, 0.304597664, 0.283646025, 9.72855503e-05),
)
"""Of `normal_by_ratio`, the highest power first."""


def leaky_moments(mean: Tensor, variance: Tensor, slope: float, floor: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean and variance of a leaky ReLU (slope 0: of a ReLU) of Gaussians, of variances at least 0.

    The slope is that for values below 0; the floor is added to the variance.
    """
    sigma, above, _, h, low = _parts(mean, variance)
    if slope == 0:
        return sigma * h, variance * (above - h * low).clamp(min=0) + floor
    share = above + (slope * slope) * (1 - above) - (1 - slope) ** 2 * (h * low)
    return sigma * (h - slope * low), variance * share.clamp(min=0) + floor


def _parts(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """sigma, Phi, phi, h and l."""
    sigma = (variance + _LEAST).sqrt()
    a = mean / sigma
    above, density = _normal(a)
    h = (density + a * above).clamp(min=0)
    return sigma, above, density, h, h - a


def leaky_moments_into(
    out: tuple[Tensor, Tensor], scratch: Sequence[Tensor], mean: Tensor, variance: Tensor, slope: float, floor: float
) -> None:
    """`leaky_moments` written to `out`, which may be the inputs, by way of four tensors of scratch: for blocks that fit
    into a cache.
    """
    sigma = torch.add(variance, _LEAST, out=scratch[0]).sqrt_()
    a = torch.div(mean, sigma, out=scratch[1])
    above, density = _normal(a, scratch[2:])
    h = density.addcmul_(a, above).clamp_(min=0)
    low = torch.sub(h, a, out=a)
    if slope == 0:
        share = above.addcmul_(h, low, value=-1)
        torch.mul(sigma, h, out=out[0])
    else:
        share = above.mul_(1 - slope**2).add_(slope**2).addcmul_(h, low, value=-((1 - slope) ** 2))
        torch.mul(sigma, h.sub_(low, alpha=slope), out=out[0])
    torch.mul(share.clamp_(min=0), variance, out=out[1])
    if floor:
        out[1].add_(floor)


def leaky_gradients(
    mean: Tensor, variance: Tensor, of_mean: Tensor, of_variance: Tensor, slope: float
) -> tuple[Tensor, Tensor]:
    """What `leaky_moments` hands back: gradients by `mean` and `variance`, given those by its two results.

    From Price's theorem: d E[f(x)] / d mu = E[f'], d E[f(x)] / d v = E[f''] / 2.
    """
    sigma, above, density, h, low = _parts(mean, variance)
    below = 1 - above
    first = of_mean * (above + slope * below)
    first = first + of_variance * (2 * (1 - slope)) * sigma * (below * h + slope * (above * low))
    second = of_mean * ((1 - slope) / 2) * density / sigma
    spread = above + slope**2 * below - (1 - slope) * (h - slope * low) * density
    return first, second + of_variance * spread


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
    mean1: Tensor, variance1: Tensor, mean2: Tensor, variance2: Tensor, of_mean: Tensor, of_variance: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `larger_moments` hands back: gradients by `mean1`, `variance1`, `mean2` and `variance2`."""
    theta = (variance1 + variance2 + _LEAST).sqrt()
    a = (mean1 - mean2) / theta
    d = a.abs()
    q, t = _beyond(d)
    density = _normal(-d)[1]
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
    q, density = _normal(-d)
    return q, (density - d * q).clamp(min=0)


def _normal(a: Tensor, scratch: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
    """Phi(a) and phi(a), a taken as not beyond `_FARTHEST`. Both are tensors of their own, or two of scratch."""
    if torch.compiler.is_compiling() and a.dtype == torch.float32:
        return normal_by_ratio(a)
    farthest = _FARTHEST[a.dtype] * _ROOT_HALF
    above, c = scratch if len(scratch) else (None, None)
    c = torch.mul(a, -_ROOT_HALF, out=c).clamp_(-farthest, farthest)
    above = torch.erfc(c, out=above).mul_(0.5)
    return above, c.square_().neg_().exp_().mul_(_DENSITY)


def normal_by_ratio(a: Tensor) -> tuple[Tensor, Tensor]:
    """Phi(a) and phi(a) to the precision of float32, by one exponential: for compiled functions, in which a polynomial
    takes half the time of `erfc`.

    From Mills' ratio (1 - Phi(x)) / phi(x), as a polynomial of t = 3.5 / (3.5 + x), fitted to a relative error of 7e-8.
    """
    x = a.abs().clamp(max=_FARTHEST[torch.float32])
    t = 3.5 / (3.5 + x)
    ratio = _RATIO[0] * t + _RATIO[1]
    for coefficient in _RATIO[2:]:
        ratio = ratio * t + coefficient
    density = torch.exp(x * x * -0.5) * _DENSITY
    beyond = density * ratio
    return torch.where(a > 0, 1 - beyond, beyond), density
