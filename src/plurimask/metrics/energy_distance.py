"""The generalised energy distance between samples and raters (Kohl et al., A Probabilistic U-Net, 2018, equation 5).

    GED^2 = 2 E d(S, Y) - E d(S, S') - E d(Y, Y'),   d = 1 - IoU

As the papers compute it, it is a V-statistic: pairs of a map with itself (d = 0) are counted, so it is never negative
(1 - IoU is of negative type, with several classes too: `plurimask.sets.representatives`), but a perfect model does not
score 0. If the n samples are independent draws from the distribution of the m raters, and mu is the mean distance
between two independent raters, the expected score is

    2 mu - (1 - 1/n) mu - (1 - 1/m) mu = mu (1/n + 1/m)

which is `ged_oracle`. The unbiased U-statistic leaves those pairs out; a perfect model then scores 0 in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from plurimask.errors import InputError
from plurimask.metrics.distance import joint_distances, judged, mean_of_pairs
from plurimask.metrics.maps import Maps, label_maps

Value = TypeVar("Value")


class ImageDistances(NamedTuple):
    """All distances within one image, float64 on the CPU, from 0 to 1; NaN if no pixel was judged by all raters."""

    samples: Tensor  # (N, N): between samples
    crossed: Tensor  # (N, m): between samples and the m raters who are present
    raters: Tensor  # (m, m): between raters


class EnergyDistance(NamedTuple, Generic[Value]):
    """Per image, `(B,)` float64 on the CPU; or floats, for one image. NaN where a figure does not exist."""

    ged: Value
    """The V-statistic of the papers, 0 to 2."""
    ged_unbiased: Value
    """The U-statistic; may be negative. NaN for one sample or one rater."""
    ged_oracle: Value
    """mu (1/n + 1/m): the expected `ged` of independent draws from the raters' distribution. NaN for one rater."""
    diversity: Value
    """The mean distance over pairs of different samples. NaN for one sample."""
    rater_diversity: Value
    """mu, the mean distance over pairs of different raters. NaN for one rater."""


def image_distances(samples: Maps, labels: Maps, counted_classes: Sequence[int]) -> ImageDistances:
    """The distances between the samples and raters of one image, all from one matrix product per class.

    Samples `(N, *spatial)` and labels `(R, *spatial)` as for `energy_distances`. Only pixels that every present rater
    judged count, for all pairs alike: with one distance for all, it is an energy distance.
    """
    samples = label_maps(samples, "samples")
    raters, valid = judged(labels)
    num = len(samples)
    joint = joint_distances([samples, raters], counted_classes, valid)
    return ImageDistances(joint[:num, :num], joint[:num, num:], joint[num:, num:])


def energy_distance(distances: ImageDistances) -> EnergyDistance[float]:
    """One image's figures."""
    num_samples, num_raters = distances.crossed.shape
    if num_samples == 0 or num_raters == 0:
        return EnergyDistance(*(math.nan,) * 5)
    cross = 2 * float(distances.crossed.mean())
    ged = cross - float(distances.samples.mean()) - float(distances.raters.mean())
    diversity, rater_diversity = mean_of_pairs(distances.samples), mean_of_pairs(distances.raters)
    return EnergyDistance(
        0.0 if -1e-12 < ged < 0 else ged,  # the exact value is not negative; rounding of the sums may be, by 1e-16
        cross - diversity - rater_diversity,
        rater_diversity * (1 / num_samples + 1 / num_raters),
        diversity,
        rater_diversity,
    )


def ged_of_weighted(distances: ImageDistances, weights: Tensor) -> float:
    """One image's GED of samples with weights `(N,)` of sum 1; NaN where there is no rater."""
    within = weights @ distances.samples @ weights
    return float(2 * weights @ distances.crossed.mean(1) - within - distances.raters.mean())


def ged_of_fewer(samples: Tensor, crossed: Tensor, raters: float, numbers: Sequence[int]) -> list[float]:
    """One image's GED as it would be with fewer samples: for each number the mean over disjoint groups of so many.

    From the distances between samples `(N, N)`, the mean distance of each to the raters `(N,)`, and the mean over all
    pairs of raters, those of a rater with itself included; numbers are from 1 to N.
    """
    values = []
    for number in numbers:
        groups = torch.arange(len(samples) // number * number).view(-1, number)
        within = samples[groups[:, :, None], groups[:, None, :]].mean((1, 2))
        values.append(float((2 * crossed[groups].mean(1) - within - raters).mean()))
    return values


def energy_distances(samples: Maps, labels: Maps, counted_classes: Sequence[int]) -> EnergyDistance[Tensor]:
    """The energy distance between samples and raters of each image of a batch.

    Args:
        samples: `(N, B, *spatial)`, class indices or bool, from torch or numpy.
        labels: `(B, R, *spatial)`, so too; absent raters are maps of IGNORE.
        counted_classes: the class indices that count, without the background.

    Raises:
        InputError: if the batch sizes or the spatial shapes differ.

    One rater marks two pixels of four, another one of them; samples show either, or nothing:

        >>> import numpy as np
        >>> labels = np.array([[[1, 1, 0, 0], [1, 0, 0, 0]]])
        >>> samples = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]])
        >>> found = energy_distances(samples, labels, [1])
        >>> [round(float(value), 4) for value in (found.ged, found.ged_unbiased, found.ged_oracle)]
        [0.1944, -0.3333, 0.4167]
        >>> float(found.rater_diversity)
        0.5
    """
    samples, labels = label_maps(samples, "samples"), label_maps(labels, "labels")
    if samples.ndim < 3 or samples.shape[1] != len(labels):
        raise InputError(
            f"samples must be (N, B, *spatial) and labels (B, R, *spatial) of the same B images, "
            f"not {tuple(samples.shape)} and {tuple(labels.shape)}"
        )
    images = zip(samples.unbind(1), labels, strict=True)
    rows = [energy_distance(image_distances(own, raters, counted_classes)) for own, raters in images]
    return EnergyDistance(*torch.tensor(rows, dtype=torch.float64).reshape(-1, 5).unbind(1))
