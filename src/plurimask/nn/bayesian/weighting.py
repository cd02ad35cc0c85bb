"""What the divergence from the prior counts for in a step of training.

The bound has the divergence once for all data: an epoch of M mini-batches shares it out,

    uniform     pi_i = 1 / M
    halving     pi_i = 2^(M - i) / (2^M - 1)      i = 1 ... M: the first batches by the prior, the last by the data

Blundell et al. 2015, section 3.4. With a loss that is averaged over the images of a batch, and N images in all, the
divergence is multiplied by pi_i M / N.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from plurimask.method import TrainingStep

Shares = Literal["uniform", "halving"]


class DivergenceWeight(nn.Module):
    """The factor of the divergence, where the loss is averaged over images.

    Args:
        shares: how an epoch's batches share the divergence out.
        warmup: the share of the training in which it rises linearly from 0, from 0 to 1.
        scale: times all of it. 1 is the bound on the evidence; less makes the posterior colder than Bayes' rule does.
    """

    num_images: Tensor
    """N, int64; 0 while nobody has said it: then a batch is all the data."""
    num_batches: Tensor
    """M, int64."""
    num_steps: Tensor
    """Steps made so far, int64."""
    progress: Tensor
    """The share of the training that they are."""

    def __init__(self, shares: Shares, warmup: float, scale: float) -> None:
        super().__init__()
        self.shares, self.warmup, self.scale = shares, warmup, scale
        for name in ("num_images", "num_batches", "num_steps"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("progress", torch.zeros(()))

    def begin(self, num_images: int, num_batches: int) -> None:
        """Is told of N images, which are M batches."""
        self.num_images.fill_(num_images)
        self.num_batches.fill_(num_batches)

    def count(self, step: TrainingStep) -> None:
        """Is told of a step that was made."""
        self.num_steps.fill_(step.index + 1)
        self.progress.fill_(step.progress)

    def forward(self, batch_size: int) -> Tensor:
        """The factor `()` for the step that is made now, on a batch of so many images."""
        is_known = self.num_images > 0
        images = torch.where(is_known, self.num_images, max(1, batch_size))
        batches = torch.where(is_known, self.num_batches, 1)
        warm = (self.progress / self.warmup).clamp(max=1) if self.warmup else torch.ones_like(self.progress)
        factor = self.scale * warm / images
        if self.shares == "halving":
            number = self.num_steps % batches + 1
            factor = factor * batches * torch.exp2(-number.float()) / (1 - torch.exp2(-batches.float()))
        return factor
