"""Distances d = 1 - IoU between samples and raters: what pairs count, and which pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.sets.distance import joint_distances, joint_overlaps, mean_over_classes, mean_overlaps
from plurimask.sets.maps import Maps, label_maps

__all__ = [
    "joint_distances",
    "joint_overlaps",
    "judged",
    "mean_of_pairs",
    "mean_over_classes",
    "mean_overlaps",
    "pairwise_distance",
    "rater_distance",
]


def judged(labels: Maps) -> tuple[Tensor, Tensor]:
    """Which raters of one image's label maps `(R, *spatial)` are present, and which pixels all of them judged.

    Returns:
        The label maps of the raters who are present `(m, *spatial)` (an absent rater is a map of IGNORE), and a bool
        map `(*spatial)` of the pixels that each of them judged: all False if nobody is present.
    """
    labels = label_maps(labels, "labels")
    # IGNORE is the largest uint8: a map's minimum tells whether its rater is there, a pixel's maximum whether all of
    # them judged it.
    present = labels.flatten(1).amin(1) != IGNORE
    if not bool(present.any()):
        return labels[:0], torch.zeros(labels.shape[1:], dtype=torch.bool, device=labels.device)
    raters = labels if bool(present.all()) else labels[present]
    return raters, raters.amax(0) != IGNORE


def pairwise_distance(first: Maps, second: Maps, counted_classes: Sequence[int], valid: Maps | None = None) -> Tensor:
    """d = 1 - IoU between each map of `first` `(N, *spatial)` and each of `second` `(M, *spatial)`: `(N, M)`, float64.

    Conventions, arguments and errors as in `joint_distances`.

        >>> import numpy as np
        >>> maps = np.array([[True, True, False, False], [True, False, False, False], [False, False, False, False]])
        >>> pairwise_distance(maps[:1], maps, [1])
        tensor([[0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """
    if second is first:
        return joint_distances([first], counted_classes, valid)
    return joint_distances([first, second], counted_classes, valid)[: len(first), len(first) :]


def rater_distance(labels: Maps, counted_classes: Sequence[int]) -> float | None:
    """How far the raters of one image are apart: the mean distance over pairs of different raters, 0 to 1.

    Absent raters among the labels `(R, *spatial)` are maps of IGNORE and are left out. None if fewer than two raters
    are present, or if no pixel was judged by all of them.

        >>> import numpy as np
        >>> rater_distance(np.array([[1, 1, 0], [0, 1, 0], [255, 255, 255]]), [1])
        0.5
    """
    raters, valid = judged(labels)
    if len(raters) < 2:
        return None
    mean = mean_of_pairs(joint_distances([raters], counted_classes, valid))
    return None if math.isnan(mean) else mean


def mean_of_pairs(distances: Tensor) -> float:
    """The mean of a symmetric `(N, N)` over pairs of different members; NaN if N < 2."""
    num = len(distances)
    return float(distances.sum() - distances.diagonal().sum()) / (num * (num - 1)) if num > 1 else math.nan
