"""All figures of one image, from one matrix product per class and one pass over the probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from plurimask.distribution import IGNORE, entropy, most_likely
from plurimask.errors import InputError
from plurimask.metrics.calibration import CalibrationBins, LogLikelihood, calibration_bins, log_likelihood, rater_votes
from plurimask.metrics.distance import judged
from plurimask.metrics.energy_distance import energy_distance, image_distances
from plurimask.metrics.error_detection import ErrorHistograms, PixelUncertainty, error_histograms
from plurimask.metrics.hungarian import hungarian_iou
from plurimask.metrics.overlap import ClassOverlap, class_overlap, overlap
from plurimask.metrics.reconstruction import reconstruction_iou
from plurimask.metrics.uncertainty import expected_dice, mean_entropy


class ImageScores(TypedDict):
    """One image's figures: a row of a table. NaN where a figure does not exist."""

    ged: float
    ged_unbiased: float
    ged_oracle: float
    hungarian_iou: float
    diversity: float
    rater_diversity: float
    dice: float
    iou: float
    ece: float
    nll: float
    expected_dice: float
    """Mean Dice between two different samples; NaN for one sample."""
    mean_entropy: float
    """Nats per pixel of the mean probabilities."""
    reconstruction_iou: float
    """Mean IoU between a rater's map and its reconstruction; NaN for a method without a posterior."""
    reconstruction_iou_marked: float
    """The same over the maps that mark a counted class; NaN if there are none."""
    all_marked: bool
    """Whether every present rater marked some counted class; False if nobody is present."""
    num_raters: int
    """How many are present."""


class ImageEvaluation(NamedTuple):
    """One image's figures, and the sums that are pooled over the pixels of a data set."""

    scores: ImageScores
    calibration: CalibrationBins
    likelihood: LogLikelihood
    errors: ErrorHistograms
    classes: ClassOverlap


def evaluate_image(
    samples: Tensor,
    mean_probabilities: Tensor,
    labels: Tensor,
    counted_classes: Sequence[int],
    reconstructions: Tensor | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> ImageEvaluation:
    """The figures of one image, by `CONVENTIONS`.

    Args:
        samples: `(N, *spatial)`, uint8.
        mean_probabilities: `(C, *spatial)`, 0 to 1; its most likely classes are the single prediction.
        labels: `(R, *spatial)`, uint8; absent raters are maps of IGNORE.
        counted_classes: the class indices that count, without the background.
        reconstructions: of each rater's map, `(R, *spatial)`, uint8; None for a method that has none.
        uncertainty: how far the draws disagree, maps `(*spatial)`; None: errors are counted by the entropy alone.

    Raises:
        InputError: if shapes do not fit each other, or a class is not below C.
    """
    _check(samples, mean_probabilities, labels, counted_classes)
    distances = image_distances(samples, labels, counted_classes)
    ged, ged_unbiased, ged_oracle, diversity, rater_diversity = energy_distance(distances)
    label_map, entropies = most_likely(mean_probabilities[None, None])[0, 0], entropy(mean_probabilities, dim=0)
    prediction = overlap(label_map, labels, counted_classes)
    votes = rater_votes(labels, len(mean_probabilities))
    calibration = calibration_bins(mean_probabilities, votes, counted_classes)
    likelihood = log_likelihood(mean_probabilities, votes)
    agreeing = votes.gather(0, label_map[None].long())[0]
    reconstructed = reconstruction_iou(reconstructions, labels, counted_classes)
    raters, valid = judged(labels)
    counted = torch.tensor(list(counted_classes), dtype=raters.dtype, device=raters.device)
    scores: ImageScores = {
        "ged": ged,
        "ged_unbiased": ged_unbiased,
        "ged_oracle": ged_oracle,
        "hungarian_iou": hungarian_iou(distances.crossed),
        "diversity": diversity,
        "rater_diversity": rater_diversity,
        "dice": prediction.dice,
        "iou": prediction.iou,
        "ece": calibration.error(),
        "nll": likelihood.mean(),
        "expected_dice": expected_dice(samples, counted_classes, valid),
        "mean_entropy": mean_entropy(entropies, valid),
        "reconstruction_iou": reconstructed.iou,
        "reconstruction_iou_marked": reconstructed.marked,
        "all_marked": len(raters) > 0 and bool(torch.isin(raters, counted).flatten(1).any(1).all()),
        "num_raters": len(raters),
    }
    errors = error_histograms(entropies, uncertainty, agreeing, votes.sum(0) - agreeing)
    return ImageEvaluation(scores, calibration, likelihood, errors, class_overlap(label_map, votes))


def evaluate_images(
    samples: Tensor,
    mean_probabilities: Tensor,
    labels: Tensor,
    counted_classes: Sequence[int],
    reconstructions: Tensor | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> list[ImageEvaluation]:
    """`evaluate_image` for each image of a batch.

    Args:
        samples: `(N, B, *spatial)`, uint8.
        mean_probabilities: `(B, C, *spatial)`.
        labels: `(B, R, *spatial)`, uint8.
        counted_classes: the class indices that count, without the background.
        reconstructions: `(B, R, *spatial)`, uint8; None for a method that has none.
        uncertainty: how far the draws disagree, maps `(B, *spatial)`; None: errors are counted by the entropy alone.

    Raises:
        InputError: if shapes do not fit each other, or a class is not below C.
    """
    sizes = (samples.shape[1] if samples.ndim > 1 else 0, len(mean_probabilities), len(labels))
    if len(set(sizes)) != 1:
        raise InputError(f"samples (N, B, ...), probabilities (B, ...) and labels (B, ...) have {sizes} images")
    if reconstructions is not None and reconstructions.shape != labels.shape:
        raise InputError(
            f"reconstructions {tuple(reconstructions.shape)} and labels {tuple(labels.shape)} differ: there must be "
            "one map for each rater of each image"
        )
    made = [None] * len(labels) if reconstructions is None else list(reconstructions)
    maps = (
        [None] * len(labels)
        if uncertainty is None
        else [PixelUncertainty(*of) for of in zip(*uncertainty, strict=True)]
    )
    return [
        evaluate_image(
            samples[:, index], mean_probabilities[index], labels[index], counted_classes, made[index], maps[index]
        )
        for index in range(len(labels))
    ]


def is_multiply_rated(scores: ImageScores) -> bool:
    """Whether at least two raters judged the image, so that raters can be compared."""
    return scores["num_raters"] > 1


def is_undefined(scores: ImageScores) -> bool:
    """Whether no pixel was judged by all present raters, so that distances do not exist."""
    return math.isnan(scores["ged"])


def _check(samples: Tensor, probabilities: Tensor, labels: Tensor, counted_classes: Sequence[int]) -> None:
    shapes = [tuple(tensor.shape[1:]) for tensor in (samples, probabilities, labels)]
    if len(set(shapes)) != 1:
        raise InputError(f"samples, probabilities and labels of one image have different spatial shapes {shapes}")
    if samples.dtype != torch.uint8 or labels.dtype != torch.uint8:
        raise InputError(f"samples and labels must be uint8 class indices, not {samples.dtype} and {labels.dtype}")
    num_classes = len(probabilities)
    if not all(0 <= index < num_classes for index in counted_classes):
        raise InputError(f"counted_classes {list(counted_classes)} must be indices of the {num_classes} classes")
    for name, maps in (("samples", samples), ("labels", labels)):
        if bool(((maps >= num_classes) & (maps != IGNORE)).any()):
            raise InputError(
                f"{name} hold class {int(maps[maps != IGNORE].max())}, but there are probabilities of "
                f"{num_classes} classes (0 to {num_classes - 1}; {IGNORE} is a pixel that nobody judged)"
            )
