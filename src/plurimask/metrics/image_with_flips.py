"""All figures of an image whose classes flip at random, against every mode with its exact probability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from plurimask.distribution import IGNORE, entropy
from plurimask.errors import InputError
from plurimask.flips import Flip, switchable_classes
from plurimask.metrics.calibration import NUM_BINS, CalibrationBins, LogLikelihood, calibration_bins
from plurimask.metrics.error_detection import ErrorHistograms, PixelUncertainty, error_histograms, no_errors
from plurimask.metrics.image import ImageEvaluation, ImageScores
from plurimask.metrics.modes import (
    expected_overlap,
    mode_distances,
    mode_spread,
    weighted_energy_distance,
    weighted_hungarian_iou,
)
from plurimask.metrics.overlap import ClassOverlap, no_class_overlap
from plurimask.metrics.reconstruction import reconstruction_iou
from plurimask.metrics.uncertainty import expected_dice, mean_entropy


def evaluate_flipped_image(
    samples: Tensor,
    mean_probabilities: Tensor,
    label: Tensor,
    flips: Sequence[Flip],
    reconstruction: Tensor | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> ImageEvaluation:
    """The figures of one image against all its modes, each with its probability.

    `dice` and `iou` are expectations over the modes, of the most likely classes of the mean. Calibration, likelihood,
    errors and counts of classes compare the mean with the exact probabilities of the classes at each pixel. The figures
    of reconstructions are of the annotator's own map, the mode in which nothing flips.

    Args:
        samples: `(N, *spatial)`, uint8.
        mean_probabilities: `(C, *spatial)`, 0 to 1, of all classes, twins among them.
        label: the annotator's map `(*spatial)`, uint8, in the classes before flipping.
        flips: K of them.
        reconstruction: of the annotator's map, `(*spatial)`, uint8; None for a method that has none.
        uncertainty: how far the draws disagree, maps `(*spatial)`; None: errors are counted by the entropy alone.

    Returns:
        All figures NaN, all sums 0 if the annotator marked no class that flips: the published evaluation leaves it out.

    Raises:
        InputError: shapes or types do not fit, a class is not below C, or the annotator marked a twin class.
    """
    counted = switchable_classes(flips)
    _check_classes(samples, mean_probabilities, label, flips)
    if mode_spread(label, flips) is None:
        return _left_out(len(counted), len(mean_probabilities))
    distances = mode_distances(samples, label, flips)
    ged, ged_unbiased, ged_oracle, diversity, rater_diversity = weighted_energy_distance(distances)
    most_likely, entropies = mean_probabilities.argmax(0), entropy(mean_probabilities, dim=0)
    dice, iou = expected_overlap(most_likely.to(torch.uint8), label, flips)
    calibration = _calibration(mean_probabilities, label, flips)
    likelihood = _likelihood(mean_probabilities, label, flips)
    reconstructed = reconstruction_iou(None if reconstruction is None else reconstruction[None], label[None], counted)
    scores: ImageScores = {
        "ged": ged,
        "ged_unbiased": ged_unbiased,
        "ged_oracle": ged_oracle,
        "hungarian_iou": weighted_hungarian_iou(distances),
        "diversity": diversity,
        "rater_diversity": rater_diversity,
        "dice": dice,
        "iou": iou,
        "ece": calibration.error(),
        "nll": likelihood.mean(),
        "expected_dice": expected_dice(samples, counted, label != IGNORE),
        "mean_entropy": mean_entropy(entropies, label != IGNORE),
        "reconstruction_iou": reconstructed.iou,
        "reconstruction_iou_marked": reconstructed.marked,
        "all_marked": False,
        "num_raters": 1,
    }
    errors = _errors(most_likely, entropies, uncertainty, label, flips)
    classes = _classes(most_likely, label, flips, len(mean_probabilities))
    return ImageEvaluation(scores, calibration, likelihood, errors, classes)


def _check_classes(samples: Tensor, probabilities: Tensor, label: Tensor, flips: Sequence[Flip]) -> None:
    if probabilities.shape[1:] != label.shape:
        raise InputError(
            f"probabilities {tuple(probabilities.shape)} and label {tuple(label.shape)} differ in their spatial shape"
        )
    num_classes = len(probabilities)
    largest = max(int(maps[maps != IGNORE].max()) if bool((maps != IGNORE).any()) else 0 for maps in (samples, label))
    largest = max(largest, *switchable_classes(flips))
    if largest >= num_classes:
        raise InputError(
            f"samples, label or flips hold class {largest}, but there are probabilities of {num_classes} classes "
            f"(0 to {num_classes - 1}; {IGNORE} is a pixel that nobody judged)"
        )


def _calibration(probabilities: Tensor, label: Tensor, flips: Sequence[Flip]) -> CalibrationBins:
    counted = switchable_classes(flips)
    row = {index: number for number, index in enumerate(counted)}
    # The exact probabilities stand in for the shares of the votes; the last row is all classes that do not flip.
    votes = torch.zeros(len(counted) + 1, *label.shape, dtype=torch.float64, device=label.device)
    votes[-1] = label != IGNORE
    for flip in flips:
        where = label == flip.source
        votes[-1][where] = 0
        votes[row[flip.source]][where] = 1 - flip.probability
        votes[row[flip.target]][where] = flip.probability
    return calibration_bins(probabilities[list(counted)], votes, range(len(counted)))


def _likelihood(probabilities: Tensor, label: Tensor, flips: Sequence[Flip]) -> LogLikelihood:
    surprise = -probabilities.float().clamp(min=torch.finfo(torch.float32).tiny).log()
    valid = label != IGNORE
    twin, share = _twins(label[valid], flips)
    own, other = (surprise[:, valid].gather(0, index[None])[0].double() for index in (label[valid].long(), twin))
    return LogLikelihood(float(((1 - share) * own + share * other).sum()), int(valid.sum()))


def _errors(
    most_likely: Tensor, entropies: Tensor, uncertainty: PixelUncertainty | None, label: Tensor, flips: Sequence[Flip]
) -> ErrorHistograms:
    right = _share_right(most_likely, label, flips)
    return error_histograms(entropies, uncertainty, right, (label != IGNORE).double() - right)


def _share_right(most_likely: Tensor, label: Tensor, flips: Sequence[Flip]) -> Tensor:
    """The probability that the prediction is right at each pixel, float64 `(*spatial)`; 0 where nobody judged."""
    twin, share = _twins(label, flips)
    return torch.where(most_likely == label, 1 - share, torch.where(most_likely == twin, share, 0.0))


def _classes(most_likely: Tensor, label: Tensor, flips: Sequence[Flip], num_classes: int) -> ClassOverlap:
    """The counts of all classes, in expectation over the modes."""
    valid = label != IGNORE
    predicted, own = most_likely[valid], label[valid].long()
    twin, share = _twins(own, flips)
    right = _share_right(predicted, own, flips)
    return ClassOverlap(
        *(
            torch.bincount(index.cpu(), weights.double().cpu(), minlength=num_classes)
            for index, weights in (
                (predicted, right),
                (predicted, torch.ones_like(share)),
                (torch.cat([own, twin]), torch.cat([1 - share, share])),
            )
        )
    )


def _twins(label: Tensor, flips: Sequence[Flip]) -> tuple[Tensor, Tensor]:
    """The class that each pixel may flip to, long `(*spatial)`, and with what probability, float64; else itself, 0."""
    twin, share = torch.arange(256, device=label.device), torch.zeros(256, dtype=torch.float64, device=label.device)
    for flip in flips:
        twin[flip.source], share[flip.source] = flip.target, flip.probability
    return twin[label.long()], share[label.long()]


def _left_out(num_counted: int, num_classes: int) -> ImageEvaluation:
    nan = math.nan
    scores: ImageScores = {
        "ged": nan,
        "ged_unbiased": nan,
        "ged_oracle": nan,
        "hungarian_iou": nan,
        "diversity": nan,
        "rater_diversity": nan,
        "dice": nan,
        "iou": nan,
        "ece": nan,
        "nll": nan,
        "expected_dice": nan,
        "mean_entropy": nan,
        "reconstruction_iou": nan,
        "reconstruction_iou_marked": nan,
        "all_marked": False,
        "num_raters": 1,
    }
    nothing = [torch.zeros(num_counted, NUM_BINS, dtype=torch.float64) for _ in range(3)]
    errors = ErrorHistograms(no_errors(), no_errors(), no_errors())
    classes = no_class_overlap(num_classes)
    return ImageEvaluation(scores, CalibrationBins(*nothing), LogLikelihood(0.0, 0), errors, classes)
