"""Probabilities forward through fully connected layers and ReLUs, and gradients of the evidence back: by hand.

A layer with weights N(M, V), of means z and variances s of its I inputs (the last of them 1, for the bias):

    mu = M z                    va = M^2 s + V (z^2 + s)
    dM = dmu z' + 2 (M s) dva   dV = dva (z^2 + s)'     dz = M' dmu + 2 z (V' dva)     ds = (M^2 + V)' dva

A ReLU of N(mu, va), with a = mu / sqrt(va), Phi and phi of the standard normal distribution, h = a Phi + phi:

    mean = sqrt(va) h           variance = va [Phi - h (h - a)]
    dmu = Phi dmean + 2 sqrt(va) (1 - Phi) h dvariance       dva = phi / (2 sqrt(va)) dmean + (Phi - h phi) dvariance

One datum goes through such a network in a tenth of the time that any general automatic differentiation needs to begin.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from plurimask.nn.probabilistic_backpropagation.gamma import Array


class Layer(NamedTuple):
    """Means and variances of weights `(O, I + 1)`; those of the bias are last."""

    mean: Array
    variance: Array


class _Passed(NamedTuple):
    """What a layer was given, `(I + 1,)`, and made of it before its ReLU, `(O,)`."""

    mean: Array
    variance: Array
    sum_mean: Array
    sum_variance: Array


def forward(layers: list[Layer], x: Array) -> tuple[float, float, list[_Passed]]:
    """Mean and variance of the one output for inputs `(D,)`, and what the way back needs."""
    passed: list[_Passed] = []
    mean, variance = x, np.zeros_like(x)
    for number, layer in enumerate(layers):
        if number:
            mean, variance = _rectified(mean, variance)
        mean, variance = np.append(mean, 1.0), np.append(variance, 0.0)
        sums = layer.mean @ mean, layer.mean**2 @ variance + layer.variance @ (mean**2 + variance)
        passed.append(_Passed(mean, variance, *sums))
        mean, variance = sums
    return float(mean[0]), float(variance[0]), passed


def backward(layers: list[Layer], passed: list[_Passed], of_mean: float, of_variance: float) -> list[Layer]:
    """Gradients by the means and variances of all weights, given those by the output's."""
    gradients: list[Layer] = []
    dmu, dva = np.array([of_mean]), np.array([of_variance])
    for (weights, spread), (z, s, _, _), before in reversed(
        list(zip(layers, passed, [None, *passed[:-1]], strict=True))
    ):
        gradients.append(Layer(np.outer(dmu, z) + 2 * weights * np.outer(dva, s), np.outer(dva, z**2 + s)))
        if before is not None:
            dz = weights.T @ dmu + 2 * z * (spread.T @ dva)
            ds = (weights**2 + spread).T @ dva
            dmu, dva = _rectified_back(before.sum_mean, before.sum_variance, dz[:-1], ds[:-1])
    return gradients[::-1]


def _rectified(mean: Array, variance: Array) -> tuple[Array, Array]:
    sigma, a, above, _, h = _parts(mean, variance)
    return sigma * h, variance * np.maximum(above - h * (h - a), 0)


def _rectified_back(mean: Array, variance: Array, of_mean: Array, of_variance: Array) -> tuple[Array, Array]:
    sigma, _, above, density, h = _parts(mean, variance)
    first = of_mean * above + 2 * of_variance * sigma * (1 - above) * h
    return first, of_mean * density / (2 * sigma) + of_variance * (above - h * density)


def _parts(mean: Array, variance: Array) -> tuple[Array, Array, Array, Array, Array]:
    """sqrt(va), a, Phi, phi and h."""
    sigma = np.sqrt(variance)
    a = mean / sigma
    above, density = ndtr(a), np.exp(-0.5 * a**2) / math.sqrt(2 * math.pi)
    return sigma, a, above, density, np.maximum(a * above + density, 0)
