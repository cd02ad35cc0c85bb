"""An image whose classes flip at random, beside every mode with its exact probability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import Flip, switchable_classes
from plurimask.metrics.agreement import Agreement, empty_map, marks_anything
from plurimask.metrics.error_detection import PixelUncertainty
from plurimask.metrics.hungarian import HungarianIoU
from plurimask.metrics.image import ComparedImage, refuse_unknown_classes
from plurimask.metrics.maps import Maps, label_map_of, label_maps, numbers
from plurimask.metrics.modes import (
    expected_overlap,
    expected_overlaps,
    mode_distances,
    mode_spread,
    weighted_energy_distance,
    weighted_hungarian_iou,
)
from plurimask.metrics.reconstruction import reconstruction_iou


def image_with_modes(
    samples: Maps,
    mean_probabilities: Maps,
    label: Maps,
    flips: Sequence[Flip],
    reconstruction: Maps | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> ComparedImage:
    """An image beside all its modes.

    `overlap` is the expectation over the modes. Calibration, likelihood, errors and counts of classes compare the mean
    with the exact probabilities of the classes at each pixel. Reconstructions are of the annotator's own map, the mode
    in which nothing flips. An image in which the annotator marked no class that flips does not count, as in the
    published evaluation: its figures are NaN, its sums 0.

    Args as for `image_with_raters`, with the probabilities of all classes, twins among them, the annotator's map
    `label` `(*spatial)` in the classes before flipping, K flips, and the reconstruction of that map `(*spatial)`.

    Raises:
        InputError: shapes or types do not fit, a class is not below C, or the annotator marked a twin class.
    """
    samples, label, mean = label_maps(samples, "samples"), label_maps(label, "label"), numbers(mean_probabilities)
    if mean.shape[1:] != label.shape:
        raise InputError(
            f"probabilities {tuple(mean.shape)} and label {tuple(label.shape)} differ in their spatial shape"
        )
    counted = switchable_classes(flips)
    refuse_unknown_classes({"samples": samples, "labels": label, "flips": torch.tensor(counted)}, len(mean))
    distances, counts = mode_distances(samples, label, flips), mode_spread(label, flips) is not None
    made = None if reconstruction is None else label_maps(reconstruction, "reconstructions")[None]
    votes, energy = class_probabilities(label, flips, len(mean)) * counts, weighted_energy_distance(distances)
    empty, valid = empty_map(votes, counted)[None], label != IGNORE
    agreement = Agreement(
        sample_dice=float(expected_overlaps(samples, label, flips)[0].mean()),
        rater_dice=1 - energy.rater_diversity,  # of two modes a class agrees wholly or not at all: Dice is IoU
        empty_dice=float(expected_overlaps(empty, label, flips)[0]),
        empty_ged=weighted_energy_distance(mode_distances(empty, label, flips)).ged,
        empty_samples=1 - float(marks_anything(samples, counted, valid).double().mean()),
        empty_raters=0.0 if counts else 1.0,
    )
    return ComparedImage(
        samples=samples,
        mean=mean,
        counted_classes=counted,
        valid=valid,
        votes=votes,
        energy=energy,
        agreement=agreement,
        hungarian=HungarianIoU(weighted_hungarian_iou(distances), math.nan),
        overlap=expected_overlap(label_map_of(mean), label, flips),
        reconstruction=reconstruction_iou(made, label[None], counted),
        uncertainty=uncertainty,
        counts=counts,
    )


def class_probabilities(label: Tensor, flips: Sequence[Flip], num_classes: int) -> Tensor:
    """How probable each class is at each pixel over the modes of a map `(*spatial)`: `(C, *spatial)`, float64; 0 of
    all classes where nobody judged."""
    votes = torch.stack([label == index for index in range(num_classes)]).double()
    for flip in flips:
        votes[flip.target] = votes[flip.source] * flip.probability
        votes[flip.source] *= 1 - flip.probability
    return votes
