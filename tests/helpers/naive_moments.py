"""Moments by slow and independent means: a layer's matrix, and draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plurimask.nn.moments import Moments, Propagation
from plurimask.nn.moments.rules import LAYER_RULES

EAGER = Propagation(compiled=False)
SYMMETRIC = Propagation(max_pool="symmetric", compiled=False)


def uncertain(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Moments:
    """Means from a standard normal distribution, variances from 0.05 to 2.05."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=generator, dtype=torch.float64)
    variance = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) + 0.05
    return Moments(mean.to(dtype), variance.to(dtype))


def propagated(layer: nn.Module, x: Moments, how: Propagation = EAGER) -> Moments:
    return LAYER_RULES[type(layer)](layer, x, how)


def by_matrix(function: Callable[[Tensor], Tensor], x: Moments) -> Moments:
    """Of an affine function A x + b of single images: A mu + b and A^2 v. Unit vectors give the columns of A."""
    images = x.mean.shape[1:]
    unit = torch.eye(images.numel(), dtype=torch.float64).view(-1, *images)
    constant = function(torch.zeros(1, *images, dtype=torch.float64))
    columns = (function(unit) - constant).flatten(1)
    shape = (len(x.mean), *constant.shape[1:])
    mean, variance = x.mean.flatten(1) @ columns, x.variance.flatten(1) @ columns.square()
    return Moments(mean.view(shape) + constant, variance.view(shape))


class Drawn(NamedTuple):
    """Moments of draws, with the standard error of each."""

    mean: Tensor
    variance: Tensor
    mean_error: Tensor
    variance_error: Tensor


def drawn(function: Callable[[Tensor], Tensor], x: Moments, num_samples: int, seed: int = 1) -> Drawn:
    """Of a function of many inputs `(N, *shape)`, drawn from independent Gaussians."""
    noise = torch.randn(num_samples, *x.mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return of_samples(function(x.mean + x.variance.sqrt() * noise))


def of_samples(samples: Tensor) -> Drawn:
    mean, number = samples.mean(0), len(samples)
    squares = (samples - mean).square()
    variance = squares.mean(0)
    fourth = squares.square().mean(0)
    return Drawn(mean, variance, (variance / number).sqrt(), ((fourth - variance.square()) / number).sqrt())


def assert_within_errors(moments: Moments, of_draws: Drawn, number: float = 4) -> None:
    """Both moments are within so many standard errors of the draws'."""
    for value, draws, error in zip(moments, of_draws[:2], of_draws[2:], strict=True):
        assert value.shape == draws.shape
        away = (value - draws).abs() / error.clamp(min=1e-12)
        assert float(away.max()) < number


def assert_same(moments: Moments, expected: Moments, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(moments.mean, expected.mean, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(moments.variance, expected.variance, rtol=tolerance, atol=tolerance)
