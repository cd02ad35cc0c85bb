"""Dice and IoU of a single prediction, the label map of the mean probabilities, against the raters.

Two averagings: `overlap` is of one image, for means over images; `ClassOverlap` counts pixels of each class, which are
added up over a data set before they are divided, as for the mean IoU of semantic segmentation (Everingham et al., The
Pascal Visual Object Classes Challenge, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.errors import InputError
from plurimask.metrics.distance import judged, shared_pixels
from plurimask.metrics.maps import Maps, label_maps, numbers


class Overlap(NamedTuple):
    """Means over the present raters of one image, from 0 to 1; NaN if no pixel was judged by all of them."""

    dice: float
    iou: float


class ClassOverlap(NamedTuple):
    """How many pairs of a judged pixel and a rater are of each class, `(C,)` each, float64.

    The sums of two sets of pixels are the sums of both.
    """

    shared: Tensor
    """Predicted as the class, and called so by the rater."""
    predicted: Tensor
    """Predicted as the class."""
    labelled: Tensor
    """Called so by the rater."""

    def dice(self) -> Tensor:
        """2 shared / (predicted + labelled) of each class, `(C,)`, 0 to 1; NaN of one that is nowhere."""
        return 2 * self.shared / (self.predicted + self.labelled)

    def iou(self) -> Tensor:
        """shared / (predicted + labelled - shared) of each class, `(C,)`, 0 to 1; NaN of one that is nowhere."""
        return self.shared / (self.predicted + self.labelled - self.shared)


def class_overlap(label_map: Maps, votes: Maps) -> ClassOverlap:
    """The counts of one image, of all its classes.

    Args:
        label_map: `(*spatial)`, class indices below C.
        votes: how many raters chose each class, `(C, *spatial)` (`rater_votes`), or with what probability they do. A
            pixel without votes does not count.

    Raises:
        InputError: if the shapes differ.

    Two raters; the prediction has one pixel of class 1 that both call so, and misses one that the second calls so:

        >>> import numpy as np
        >>> from plurimask.metrics import rater_votes
        >>> counts = class_overlap(np.array([0, 1, 0]), rater_votes(np.array([[0, 1, 0], [0, 1, 1]]), 2))
        >>> counts.iou()
        tensor([0.7500, 0.6667], dtype=torch.float64)
    """
    label_map, votes = label_maps(label_map, "the label map"), numbers(votes)
    if votes.shape[1:] != label_map.shape:
        raise InputError(f"label map {tuple(label_map.shape)} and votes {tuple(votes.shape)} differ in their shape")
    num_classes, index = len(votes), label_map.flatten().long()
    shared, predicted = (
        torch.bincount(index.cpu(), weights.flatten().double().cpu(), minlength=num_classes)
        for weights in (votes.gather(0, label_map[None].long()), votes.sum(0))
    )
    return ClassOverlap(shared, predicted, votes.flatten(1).sum(1).double().cpu())


def overlap(label_map: Maps, labels: Maps, counted_classes: Sequence[int]) -> Overlap:
    """Dice 2|A & B| / (|A| + |B|) and IoU |A & B| / |A | B| of one label map against each present rater.

    Args:
        label_map: `(*spatial)`, class indices or bool, from torch or numpy.
        labels: `(R, *spatial)`, so too; absent raters are maps of IGNORE.
        counted_classes: the class indices that count, without the background. Classes that are in neither map are left
            out of the mean over classes; if none of them is in either map, both figures are 1.

        >>> import numpy as np
        >>> overlap(np.array([True, True, False]), np.array([[True, False, False], [True, True, False]]), [1])
        Overlap(dice=0.8333333333333333, iou=0.75)
    """
    label_map = label_maps(label_map, "the label map")
    raters, valid = judged(labels)
    if not bool(valid.any()):
        return Overlap(math.nan, math.nan)
    dice = torch.zeros(len(raters), dtype=torch.float64)
    iou, num_classes = torch.zeros_like(dice), torch.zeros_like(dice)
    for shared in shared_pixels([label_map[None], raters], counted_classes, valid):
        both, area = shared[0, 1:].double(), shared.diagonal().double()
        sum_of_areas = area[0] + area[1:]
        num_classes += sum_of_areas > 0
        dice += 2 * both / sum_of_areas.clamp(min=1)
        iou += both / (sum_of_areas - both).clamp(min=1)
    defined, divisor = num_classes > 0, num_classes.clamp(min=1)
    return Overlap(*(float(torch.where(defined, total / divisor, 1.0).mean()) for total in (dice, iou)))
