"""Dice and IoU of a single prediction, the label map of the mean probabilities, against the raters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.metrics.distance import judged, shared_pixels


class Overlap(NamedTuple):
    """Means over the present raters of one image, from 0 to 1; NaN if no pixel was judged by all of them."""

    dice: float
    iou: float


def overlap(label_map: Tensor, labels: Tensor, counted_classes: Sequence[int]) -> Overlap:
    """Dice 2|A & B| / (|A| + |B|) and IoU |A & B| / |A | B| of one label map against each present rater.

    Args:
        label_map: `(*spatial)`, uint8.
        labels: `(R, *spatial)`, uint8; absent raters are maps of IGNORE.
        counted_classes: the class indices that count, without the background. Classes that are in neither map are left
            out of the mean over classes; if none of them is in either map, both figures are 1.
    """
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
