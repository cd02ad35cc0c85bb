"""Gaussian weights after data: assumed density filtering.

A weight is believed to be N(m, v). Of a datum whose evidence is Z, with g = d ln Z / dm and h = d ln Z / dv, the
Gaussian of the same mean and variance as what is known after it is

    m' = m + v g          v' = v - v^2 (g^2 - 2 h) .

Where Z is only approximated v' may come out at 0 or below: such a weight stays as it was.

Of many data at once each multiplies the belief by a Gaussian factor, whose precision is c / (1 - v c) with its own
c = g^2 - 2 h: for one datum this is the formula above. Where each of them says little (v c much below 1) precisions and
gradients add,

    1 / v' = 1 / v + sum_i c_i          m' = m + v' sum_i g_i .

Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable Learning of Bayesian Neural Networks", ICML
2015; Minka, "A Family of Algorithms for Approximate Bayesian Inference", 2001.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from plurimask.nn.probabilistic_backpropagation.gamma import Array


def after_one(mean: Array, variance: Array, of_mean: Array, of_variance: Array) -> tuple[Array, Array]:
    """Mean and variance after one datum.

    Args:
        mean: m, of any shape.
        variance: v, above 0.
        of_mean: g, the gradient of ln Z by the mean.
        of_variance: h, that by the variance.
    """
    new = variance - variance**2 * (of_mean**2 - 2 * of_variance)
    is_sound = new > 0
    return np.where(is_sound, mean + variance * of_mean, mean), np.where(is_sound, new, variance)


def after_many(mean: Tensor, variance: Tensor, gradient: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance after many data, of which each says little; and whether each was updated.

    Args:
        mean: m, of any shape.
        variance: v, above 0.
        gradient: the sum of their g.
        curvature: the sum of their c.
    """
    new = variance / (1 + variance * curvature)
    is_sound = (new > 0) & torch.isfinite(new) & torch.isfinite(gradient)
    return torch.where(is_sound, mean + new * gradient, mean), torch.where(is_sound, new, variance), is_sound
