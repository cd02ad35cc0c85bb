"""What flows through a moment-propagating network in place of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

MaxPool = Literal["pairwise", "symmetric"]


class Moments(NamedTuple):
    """Mean and variance of independent values: two tensors of one shape, the variance at least 0."""

    mean: Tensor
    variance: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.mean.shape

    def moved(self, view: Callable[[Tensor], Tensor]) -> Moments:
        """Both, after what only moves, repeats or leaves out values."""
        return Moments(view(self.mean), view(self.variance))

    def raised(self, floor: float) -> Moments:
        """With `floor` added to all variances."""
        return Moments(self.mean, self.variance + floor) if floor else self


class Spent(Moments):
    """Moments in tensors of their own that nobody else reads: who gets them may overwrite them."""

    __slots__ = ()

    def raised(self, floor: float) -> Moments:
        return Moments(self.mean, self.variance.add_(floor) if floor else self.variance)


class Propagation(NamedTuple):
    """How moments go through a network, where there is a choice."""

    floor: float = 0.0
    """Added to the variances after each convolution, linear layer, normalisation, activation, pooling and linear
    resizing (not after what only moves, adds or scales values, dropout and softmax): the minimum variance of Gast and
    Roth, who take 1e-3 and 1e-4."""
    max_pool: MaxPool = "pairwise"
    """How the largest of a window is reduced to the larger of two, which is exact but no Gaussian. "pairwise": along
    each axis in turn, the last one first, as their code does; the result depends on that order. "symmetric": the mean
    over all pairings of a window of four; it depends on no order, so that turned images give turned moments, at three
    times the price."""
    compiled: bool | None = None
    """Whether the fused activations are compiled by `torch.compile`, half a minute once. None: where gradients are
    needed, which a training asks for often enough, and there is a compiler."""


def precise(values: Tensor) -> Tensor:
    """In float32, or in float64 if they are."""
    return values if values.dtype == torch.float64 else values.float()


def scaled(x: Moments, factor: float | Tensor) -> Moments:
    """factor * x: the variance times its square."""
    return Moments(x.mean * factor, x.variance * (factor * factor))


def total_variance(x: Moments, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all values along `dims` together, kept as dimensions of length 1.

    The law of total variance: that of the means plus the mean of the variances. It is what the variance of drawn values
    is in expectation, but for a share of one in the number of values.
    """
    mean = x.mean.mean(dims, keepdim=True)
    return mean, (x.mean - mean).square().mean(dims, keepdim=True) + x.variance.mean(dims, keepdim=True)
