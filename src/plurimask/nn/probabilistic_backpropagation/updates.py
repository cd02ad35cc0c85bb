"""Gaussian weights after data: assumed density filtering.

A weight is believed to be N(m, v). Of a datum whose evidence is Z, with g = d ln Z / dm and h = d ln Z / dv, the
Gaussian of the same mean and variance as what is known after it is

    m' = m + v g          v' = v - v^2 (g^2 - 2 h) .

Where Z is only approximated v' may come out at 0 or below: such a weight stays as it was.

Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable Learning of Bayesian Neural Networks", ICML
2015; Minka, "A Family of Algorithms for Approximate Bayesian Inference", 2001.

Of many data at once each multiplies the belief by a Gaussian factor, whose precision is c / (1 - v c) with its own
c = g^2 - 2 h: for one datum this is the formula above. Where each of them says little (v c much below 1) precisions
add,

    1 / v' = 1 / v + sum_i c_i .

The means would move by d = v sum_i g_i, the step of each weight as if it were alone. But all weights change the outputs
of all data together: d may go far beyond what the data ask for. Let delta_i be the change of output i by d, and kappa_i
how its ln Z is curved, - d^2 ln Z / d mu^2. Then along d the belief times the data is largest at

    m' = m + a d          a = q / (q + sum_i kappa_i delta_i^2),      q = sum_j d_j^2 / v_j .

Of a model with one weight, or of an orthogonal design, that is again m' = m + v' sum_i g_i, which is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

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


@torch.no_grad()
def update_(mean: Tensor, variance: Tensor, step: Tensor, new_variance: Tensor) -> Tensor:
    """Add `step` to the means and take the new variances in place, where these are above 0.

    Returns:
        How many weights stayed as they were, `()`.
    """
    is_sound = (new_variance > 0) & torch.isfinite(new_variance) & torch.isfinite(step)
    mean.add_(torch.where(is_sound, step, 0))
    variance.copy_(torch.where(is_sound, new_variance, variance))
    return (~is_sound).sum()


def step_share(steps: Sequence[Tensor], variances: Sequence[Tensor], curved: Tensor) -> Tensor:
    """a, above 0 and at most 1, `()`.

    Args:
        steps: d of all weights.
        variances: v of all weights.
        curved: sum_i kappa_i delta_i^2, `()`, at least 0.
    """
    q = torch.stack([(d.square() / v).sum() for d, v in zip(steps, variances, strict=True)]).sum()
    return q / (q + curved).clamp(min=1e-30)
