"""The evidence of a class label under Gaussian scores, in closed form.

Scores f_k ~ N(mu_k, s_k), independent, and the label y of p(y | f) = softmax(f)_y = 1 / (1 + sum over k != y of
exp(f_k - f_y)). A difference of two scores is Gaussian, and of its logistic function the mean is nearly

    E[sigmoid(f_y - f_k)] ~ sigmoid(r_k (mu_y - mu_k)),    r_k = (1 + pi (s_y + s_k) / 8)^(-1/2)

(MacKay, "The Evidence Framework Applied to Classification Networks", Neural Computation 1992). Taken in the softmax
pair by pair, as in Lu, Ie and Sha, "Mean-Field Approximation to Gaussian-Softmax Integral", 2020,

    ln Z = - ln [1 + sum over k != y of exp(r_k (mu_k - mu_y))] .

Of two classes it is MacKay's. It does not change where all scores are raised together, it is at most 0, and it is
concave in the means.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def class_evidence(mean: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
    """ln Z, nats: scores' moments `(P, C, *spatial)`, labels `(P, *spatial)` of 0 to C - 1 -> `(P, *spatial)`."""
    return -_exponents(mean, variance, labels)[0].logsumexp(1)


def evidence_curvature(mean: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
    """c = - d^2 ln Z / d mu^2 of each score, at least 0: `(P, C, *spatial)`.

    Of the exact evidence it is the bracket of the update, (d ln Z / d mu)^2 - 2 d ln Z / d s, because a Gaussian's
    variance spreads it as heat is spread. Of the approximated one the bracket may be below 0 where a label is far from
    what was expected, and this may not.
    """
    exponents, ratio = _exponents(mean, variance, labels)
    share = exponents.softmax(1)  # 0 of the label's own class is exp(0) / sum
    label = labels.long().unsqueeze(1)
    others = share.scatter(1, label, 0)
    of_label = (ratio.square() * others).sum(1, keepdim=True) - (ratio * others).sum(1, keepdim=True).square()
    return (ratio.square() * others * (1 - others)).scatter(1, label, of_label.clamp(min=0))


def _exponents(mean: Tensor, variance: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """r_k (mu_k - mu_y), which is 0 of the label's own class, and r_k."""
    label = labels.long().unsqueeze(1)
    ratio = torch.rsqrt(1 + math.pi / 8 * (variance + variance.gather(1, label)))
    return ratio * (mean - mean.gather(1, label)), ratio
