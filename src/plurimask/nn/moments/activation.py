"""Moments after activations, dropout and softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plurimask.nn.moments.fused import can_compile, fused_leaky, learned_leaky
from plurimask.nn.moments.moments import Moments, Propagation, Spent, precise


def leaky_relu(x: Moments, slope: float, how: Propagation) -> Moments:
    """Exact for Gaussian inputs (`plurimask.nn.moments.gaussian`). Slope 0 is a ReLU."""
    return Moments(*fused_leaky(*x, float(slope), how.floor, is_compiled(how, x), isinstance(x, Spent)))


def prelu(layer: nn.PReLU, x: Moments, how: Propagation) -> Moments:
    """A leaky ReLU whose slopes, one or one a channel, are learned."""
    slope = layer.weight if len(layer.weight) == 1 else layer.weight.view(-1, *[1] * (x.mean.ndim - 2))
    mean, variance = learned_leaky(precise(x.mean), precise(x.variance), precise(slope))
    return Moments(mean.to(x.mean.dtype), variance.to(x.mean.dtype)).raised(how.floor)


def dropout(x: Moments, probability: float, training: bool) -> Moments:
    """Exact: in training each value is times z / (1 - p), z being 1 with probability 1 - p.

    The mean stays, and the variance becomes (v + p mu^2) / (1 - p): the noise of the dropout is propagated in place of
    being drawn. In evaluation nothing is dropped. (The published code never drops anything.)

    Where whole channels are dropped each value has the same moments; that a channel's values are dropped together is
    neglected, as all dependence is.
    """
    if not training or probability == 0:
        return x
    if probability >= 1:
        return x.moved(torch.zeros_like)
    return Moments(x.mean, (x.variance + probability * x.mean.square()) / (1 - probability))


def softmax(x: Moments, dim: int) -> Moments:
    """The first-order (delta) approximation at the means, m = softmax(mu), for which

        mean_i = m_i        variance_i = sum_j (d m_i / d mu_j)^2 v_j = m_i^2 [(1 - m_i)^2 v_i + sum_{j != i} m_j^2 v_j]

    but never more than m_i (1 - m_i), the most that a number from 0 to 1 of that mean can have. It is exact to first
    order in v; the tests bound its error.

    Source: the delta method, as in Oehlert, "A Note on the Delta Method", The American Statistician 1992.
    """
    share, variance = precise(x.mean).softmax(dim), precise(x.variance)
    others = 1 - share
    spread = _sum_of_others(share.square() * variance, dim) + others.square() * variance
    variance = torch.minimum(share.square() * spread, share * others)
    return Moments(share.to(x.mean.dtype), variance.to(x.mean.dtype))


def _sum_of_others(values: Tensor, dim: int) -> Tensor:
    """The sum of all values but each one itself, without subtracting: sums from both ends."""
    before = values.cumsum(dim).narrow(dim, 0, values.shape[dim] - 1)
    after = values.flip(dim).cumsum(dim).flip(dim).narrow(dim, 1, values.shape[dim] - 1)
    nothing = torch.zeros_like(values.narrow(dim, 0, 1))
    return torch.cat([nothing, before], dim) + torch.cat([after, nothing], dim)


def is_compiled(how: Propagation, x: Moments) -> bool:
    """Whether the fused functions are compiled for these values."""
    if how.compiled is not None:
        return how.compiled
    return torch.is_grad_enabled() and any(part.requires_grad for part in x) and can_compile(x.mean.device)
