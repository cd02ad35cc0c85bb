"""How well a latent method can express what each rater drew: IoU between the rater's map and its reconstruction.

Kohl et al., A Hierarchical Probabilistic U-Net, 2019, IoU_rec: the reconstruction is decoded from the means of the
posterior that has seen the map itself, so it tells what the latent space has room for, not what is likely to be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics.distance import joint_distances, judged
from plurimask.metrics.maps import Maps, label_maps


class ReconstructionIoU(NamedTuple):
    """Means over present raters of one image, from 0 to 1; NaN where the figure does not exist."""

    iou: float
    """Of all of them; two empty maps count 1."""
    marked: float
    """Of those whose map has a counted class among the pixels that count."""


def reconstruction_iou(reconstructions: Maps | None, labels: Maps, counted_classes: Sequence[int]) -> ReconstructionIoU:
    """IoU between each present rater's map and its reconstruction, by the conventions of `joint_distances`.

    Only pixels that every present rater judged count. The mean over all raters is flattered where many of them mark
    nothing, since an empty map is easily reconstructed; `marked` leaves those maps out.

    Args:
        reconstructions: `(R, *spatial)`, class indices or bool, from torch or numpy; those of absent raters do not
            matter. None: there are none.
        labels: `(R, *spatial)`, so too; absent raters are maps of IGNORE.
        counted_classes: the class indices that count, without the background.

    Raises:
        InputError: if the reconstructions are not of the labels' shape.

        >>> import numpy as np
        >>> labels = np.array([[1, 1, 0], [0, 0, 0]])
        >>> reconstruction_iou(np.array([[1, 0, 0], [0, 0, 0]]), labels, [1])
        ReconstructionIoU(iou=0.75, marked=0.5)
    """
    if reconstructions is None:
        return ReconstructionIoU(math.nan, math.nan)
    reconstructions, labels = label_maps(reconstructions, "reconstructions"), label_maps(labels, "labels")
    raters, valid = judged(labels)
    if reconstructions.shape != labels.shape:
        raise InputError(
            f"reconstructions {tuple(reconstructions.shape)} and labels {tuple(labels.shape)} differ in their shape: "
            "there must be one map of the same size for each rater"
        )
    if not bool(valid.any()):
        return ReconstructionIoU(math.nan, math.nan)
    present = labels.flatten(1).amin(1) != IGNORE
    distances = joint_distances([reconstructions[present], raters], counted_classes, valid)
    iou = 1 - distances[: len(raters), len(raters) :].diagonal()
    counted = torch.tensor(list(counted_classes), dtype=raters.dtype, device=raters.device)
    marked = (torch.isin(raters, counted) & valid).flatten(1).any(1).to(iou.device)
    return ReconstructionIoU(float(iou.mean()), float(iou[marked].mean()))
