"""Generalised ELBO with Constrained Optimisation: the reconstruction is a constraint, and a multiplier enforces it.

    minimise over the weights, maximise over lambda:    sum_l KL_l + lambda (average(L) - kappa n)

L is the cross entropy summed over the n selected pixels of a map, average(L) its exponential moving average, kappa the
nats that a selected pixel may cost. While the constraint is broken lambda grows and reconstruction comes first; once it
holds lambda falls and the KL terms are minimised.

The multiplier is exp(u), so that one step of Adam of rate r on u changes it by the factor exp(+-r). The gradient of the
average goes straight through to L, with coefficient 1.

Rezende and Viola, "Taming VAEs", 2018 (arXiv:1810.00597); Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling
Multi-Scale Ambiguities", 2019 (arXiv:1905.13077).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConstrainedReconstruction(nn.Module):
    """lambda (average(L) - kappa n), to be added to the KL terms; `decay` is that of the moving average."""

    log_multiplier: nn.Parameter
    """u = log lambda, 0 at first. Its gradient is turned round: what descends on the weights ascends on it."""
    average: Tensor
    """`()`, nats: the moving average of L over the steps and processes so far; the first L is its first value."""
    num_averaged: Tensor
    """`()`, int64: steps so far."""

    def __init__(self, kappa: float, decay: float = 0.99) -> None:
        super().__init__()
        self.kappa, self.decay = kappa, decay
        self.log_multiplier = nn.Parameter(torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("num_averaged", torch.zeros((), dtype=torch.int64))

    @property
    def multiplier(self) -> Tensor:
        """lambda, a number without gradient."""
        return self.log_multiplier.detach().exp()

    def forward(self, reconstruction: Tensor, num_selected: Tensor) -> Tensor:
        """The constraint's term of the loss, from L of this process's batch and n, `()` both.

        n is how many pixels of a map L is a sum over, on average; 0 if there was no map.
        """
        u, is_there = self.log_multiplier, num_selected > 0  # a step without labels says nothing about the constraint
        average = self._averaged(reconstruction.detach(), is_there.to(reconstruction))
        straight_through = average + (reconstruction - reconstruction.detach())
        return (2 * u.detach() - u).exp() * (straight_through - self.kappa * num_selected) * is_there

    def _averaged(self, value: Tensor, is_there: Tensor) -> Tensor:
        """The moving average with one more value, of all processes together; it is kept in training."""
        total = torch.stack([value * is_there, is_there])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)
        value, counts = total[0] / total[1].clamp(min=1), total[1] > 0
        followed = torch.where(self.num_averaged > 0, self.decay * self.average + (1 - self.decay) * value, value)
        average = torch.where(counts, followed, self.average)
        if self.training:
            self.average.copy_(average)
            self.num_averaged.add_(counts)
        return average


def hard_pixels(cross_entropy: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """A random selection of pixels of a whole batch, of high cross entropy rather than of low: bool, in its shape.

    The Gumbel top-k trick: the k = `share` of all pixels with the highest log(cross entropy) + Gumbel noise are k draws
    without replacement with probabilities in proportion to the cross entropy. The same order, without logarithms, is
    that of cross entropy over exponential noise.

    Args:
        cross_entropy: `(P, *spatial)`, nats, 0 at pixels that do not count: those are never selected.
        share: of the pixels of the batch, above 0 to 1; at 1 all that count are selected.
        generator: on the CPU, where the noise is drawn.
    """
    counts = cross_entropy.detach()
    num_selected = max(1, int(share * counts.numel()))
    if num_selected >= counts.numel():
        return counts > 0
    noise = torch.empty(counts.shape).exponential_(generator=generator).clamp_(min=torch.finfo(torch.float32).tiny)
    scores = (counts / noise.to(counts.device)).flatten()
    selected = torch.zeros_like(scores, dtype=torch.bool)
    selected[scores.topk(num_selected, sorted=False).indices] = True
    return selected.view(counts.shape) & (counts > 0)
