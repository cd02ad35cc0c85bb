"""Distances between soft masks, and the energy score of samples against raters that is made of them.

    min-max   d(p, q) = sum |p - q| / (e + sum max(p, q))                         of one class
    product   d(p, q) = (sum p + sum q - 2 sum p q) / (e + sum p + sum q - sum p q)

On hard masks both are 1 - IoU, but for e = `SHARED`. The first is the weighted Jaccard (Ruzicka) distance of masks with
one more pixel, which both mark with weight e: a metric of negative type with d(p, p) = 0. Two empty masks have
d = 0, and near them d rises with slope 1 / e, where 1 - IoU jumps from 0 to 1. The second has d(p, p) > 0 where p is
neither 0 nor 1; where one of two masks is hard it is the first.

    several   d(p, q) = sum_c |p_c - q_c| / (e + U_c)  /  max(1, sum_c U_c / (e + U_c)),   U_c = sum max(p_c, q_c)

is the mean over the classes that occur in either mask, where "occurs" is itself soft. Sums are over pixels.

    score     2 mean_(i, r) d(s_i, y_r) - mean_(i != j) d(s_i, s_j)                n samples s, R raters y
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from plurimask.nn.losses import judgements, one_hot

Distance = Literal["min-max", "product"]

EnergyWeight: TypeAlias = Annotated[
    float,
    Field(ge=0, le=1e9, description="weight of the energy score of draws from the prior; the bound sums over pixels"),
]
EnergySamples: TypeAlias = Annotated[int, Field(ge=2, le=256, description="draws of each image in an energy score")]
HasBackground: TypeAlias = Annotated[
    bool, Field(description="whether class 0 is background, which an energy score does not count")
]

SHARED = 0.5
"""e, in pixels."""


class _Differences(torch.autograd.Function):
    """sum |p_i - p_j| over pixels of all pairs i < j: masks `(B, N, C, pixels)` -> `(B, pairs, C)`.

    Pairs are in the order of `torch.combinations`. Nothing of the size of all pairs' pixels is held.
    """

    @staticmethod
    def forward(ctx: Any, masks: Tensor) -> Tensor:
        ctx.save_for_backward(masks)
        return torch.cat([_from(masks, i).abs_().sum(3) for i in range(masks.shape[1] - 1)], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (masks,), (gradient,) = ctx.saved_tensors, gradients
        total, start = torch.zeros_like(masks), 0
        for i in range(masks.shape[1] - 1):
            share = gradient[:, start : start + masks.shape[1] - 1 - i, :, None]
            signs = _from(masks, i).sign_().mul_(share)
            total[:, i + 1 :] += signs
            total[:, i] -= signs.sum(1)
            start += share.shape[1]
        return total


def _from(masks: Tensor, i: int) -> Tensor:
    """The masks after number i less that one."""
    return masks[:, i + 1 :] - masks[:, i : i + 1]


def _of_classes(differences: Tensor, unions: Tensor) -> Tensor:
    """Differences and unions `(..., C)` of each class, pixels -> distances `(...)`."""
    occurring = (unions / (unions + SHARED)).sum(-1)
    return (differences / (unions + SHARED)).sum(-1) / occurring.clamp(min=1)


def distances_to_raters(samples: Tensor, raters: Tensor) -> Tensor:
    """Soft masks `(B, N, C, pixels)` and hard ones `(B, R, C, pixels)` -> distances `(B, N, R)`."""
    both = torch.einsum("bncp,brcp->bnrc", samples, raters)
    areas = samples.sum(3)[:, :, None] + raters.sum(3)[:, None]
    return _of_classes(areas - 2 * both, areas - both)


def distances_between(samples: Tensor, distance: Distance = "min-max") -> Tensor:
    """Soft masks `(B, N, C, pixels)` -> distances of the pairs i < j `(B, N (N - 1) / 2)`."""
    first, second = torch.triu_indices(samples.shape[1], samples.shape[1], 1, device=samples.device)
    area = samples.sum(3)
    areas = area[:, first] + area[:, second]
    if distance == "min-max":
        differences: Tensor = _Differences.apply(samples)  # type: ignore[no-untyped-call]
        return _of_classes(differences, (areas + differences) / 2)
    both = torch.einsum("bncp,bmcp->bnmc", samples, samples)[:, first, second]
    return _of_classes(areas - 2 * both, areas - both)


def energy_score(samples: Tensor, raters: Tensor, weight: Tensor, distance: Distance = "min-max") -> Tensor:
    """The score of each image `(B,)`, its expectation that of the distribution which the samples are drawn from.

    Args:
        samples: soft masks `(B, N, C, pixels)` of the classes that count, N >= 2, float32; pixels that do not count
            are 0.
        raters: hard masks `(B, R, C, pixels)`, so too.
        weight: of each rater in the mean `(B, R)`, of sum 1, and 0 of one who is absent; all 0 where nobody judged.
        distance: between samples.
    """
    crossed = torch.einsum("bnr,br->b", distances_to_raters(samples, raters), weight) / samples.shape[1]
    return 2 * crossed - weight.sum(1) * distances_between(samples, distance).mean(1)


class RaterMaps(NamedTuple):
    """What the raters of B images drew."""

    maps: Tensor  # (B, R, C, pixels) float32: one-hot, all 0 where nobody judged
    weight: Tensor  # (B, R): of each rater in a mean over raters, then images; 0 of one who is absent


def rater_maps(labels: Tensor, num_classes: int) -> RaterMaps:
    """Labels `(B, R, *spatial)`, uint8 -> the raters' maps."""
    raters = judgements(labels)
    weight = torch.zeros(labels.shape[:2], device=labels.device)
    weight[raters.image, raters.rater] = raters.weight
    maps = one_hot(labels.flatten(0, 1), num_classes).view(*labels.shape[:2], num_classes, -1)
    return RaterMaps(maps, weight)


def mean_score(masks: Tensor, raters: RaterMaps, has_background: bool, distance: Distance = "min-max") -> Tensor:
    """The energy score of soft samples `(N, B, C, pixels)`, averaged over images: `()`.

    There is one distance for all pairs of an image: of the pixels that all of its raters judged. Class 0 does not count
    where it is background.
    """
    maps, weight = raters
    by_all = ((maps.sum(2) > 0) | (weight == 0)[..., None]).all(1)[:, None, None]
    counted = slice(int(has_background), None)
    samples = (masks[:, :, counted] * by_all[:, 0]).transpose(0, 1)
    return energy_score(samples, maps[:, :, counted] * by_all, weight, distance).sum()


def mean_per_pixel(scores: Tensor, raters: RaterMaps) -> Tensor:
    """Sums over the pixels of each rater's map `(B, R)` -> per judged pixel, averaged over raters and images: `()`."""
    return (raters.weight * scores / raters.maps.sum((2, 3)).clamp(min=1)).sum()


def log_likelihood(logits: Tensor, maps: Tensor) -> Tensor:
    """log of the mean over N samples of a pixel's probability, summed over pixels, nats: `(B, R)`.

    Of logits `(N, B, C, pixels)` and one-hot maps `(B, R, C, pixels)`; pixels that are 0 in all classes are left out.
    """
    mean = logits.log_softmax(2).logsumexp(0) - math.log(len(logits))
    return torch.einsum("brcp,bcp->br", maps, mean)


class ChargeOfDraws(NamedTuple):
    """What draws of a model are charged, averaged over images: `()` each."""

    energy_score: Tensor
    pixels: Tensor  # nats per pixel

    @property
    def total(self) -> Tensor:
        return self.energy_score + self.pixels

    @property
    def terms(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self._asdict().items()}


def charge_of_draws(scores: Tensor, labels: Tensor, has_background: bool) -> ChargeOfDraws:
    """The energy score of N draws against the raters, and the likelihood of their mean, which has a gradient also where
    no draw overlaps with any rater. Of class scores `(N * B, C, *spatial)` and labels `(B, R, *spatial)`."""
    with torch.autocast(scores.device.type, enabled=False):
        flat = scores.float().flatten(2)
        logits, raters = flat.view(-1, len(labels), *flat.shape[1:]), rater_maps(labels, flat.shape[1])
        pixels = mean_per_pixel(-log_likelihood(logits, raters.maps), raters)
        return ChargeOfDraws(mean_score(logits.softmax(2), raters, has_background), pixels)
