"""An image whose classes flip at random, beside every mode with its exact probability."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import Flip, switchable_classes
from plurimask.metrics.calibration import NUM_BINS, CalibrationBins, LogLikelihood, calibration_bins
from plurimask.metrics.energy_distance import EnergyDistance
from plurimask.metrics.error_detection import ErrorHistograms, PixelUncertainty, error_histograms, no_errors
from plurimask.metrics.image import ComparedImage, PixelSums, refuse_unknown_classes
from plurimask.metrics.maps import Maps, label_maps, numbers
from plurimask.metrics.modes import (
    ModeDistances,
    expected_overlap,
    mode_distances,
    mode_spread,
    weighted_energy_distance,
    weighted_hungarian_iou,
)
from plurimask.metrics.overlap import ClassOverlap, Overlap, no_class_overlap
from plurimask.metrics.reconstruction import ReconstructionIoU, reconstruction_iou


class ImageWithModes(ComparedImage):
    """An image against all its modes.

    `overlap` is the expectation over the modes. Calibration, likelihood, errors and counts of classes compare the mean
    with the exact probabilities of the classes at each pixel. Reconstructions are of the annotator's own map, the mode
    in which nothing flips. An image in which the annotator marked no class that flips does not count, as in the
    published evaluation.

    Args:
        samples: `(N, *spatial)`.
        mean_probabilities: `(C, *spatial)`, 0 to 1, of all classes, twins among them.
        label: the annotator's map `(*spatial)`, in the classes before flipping.
        flips: K of them.
        reconstruction: of the annotator's map, `(*spatial)`; None for a method that has none.
        uncertainty: how far the draws disagree, maps `(*spatial)`; None: errors are counted by the entropy alone.

    Raises:
        InputError: shapes or types do not fit, a class is not below C, or the annotator marked a twin class.
    """

    num_raters, all_marked = 1, False

    def __init__(
        self,
        samples: Maps,
        mean_probabilities: Maps,
        label: Maps,
        flips: Sequence[Flip],
        reconstruction: Maps | None = None,
        uncertainty: PixelUncertainty | None = None,
    ) -> None:
        samples, label, mean = label_maps(samples, "samples"), label_maps(label, "label"), numbers(mean_probabilities)
        if mean.shape[1:] != label.shape:
            raise InputError(
                f"probabilities {tuple(mean.shape)} and label {tuple(label.shape)} differ in their spatial shape"
            )
        super().__init__(samples, mean, uncertainty)
        self.label, self.flips, self.reconstructed = label, flips, reconstruction
        self.counted_classes, self.valid = switchable_classes(flips), label != IGNORE
        flipping = torch.tensor(self.counted_classes)
        refuse_unknown_classes({"samples": samples, "labels": label, "flips": flipping}, len(mean))
        self.counts = mode_spread(label, flips) is not None

    @cached_property
    def distances(self) -> ModeDistances:
        return mode_distances(self.samples, self.label, self.flips)

    @cached_property
    def energy(self) -> EnergyDistance[float]:
        return weighted_energy_distance(self.distances)

    @cached_property
    def hungarian_iou(self) -> float:
        return weighted_hungarian_iou(self.distances)

    @cached_property
    def overlap(self) -> Overlap:
        return expected_overlap(self.label_map, self.label, self.flips)

    @cached_property
    def reconstruction(self) -> ReconstructionIoU:
        made = None if self.reconstructed is None else label_maps(self.reconstructed, "reconstructions")[None]
        return reconstruction_iou(made, self.label[None], self.counted_classes)

    @cached_property
    def sums(self) -> PixelSums:
        mean, label, flips, num_counted = self.mean, self.label, self.flips, len(self.counted_classes)
        if not self.counts:
            nothing = CalibrationBins(*torch.zeros(3, num_counted, NUM_BINS, dtype=torch.float64))
            errors = ErrorHistograms(no_errors(), no_errors(), no_errors())
            classes = no_class_overlap(len(mean))
            return PixelSums(nothing, LogLikelihood(0.0, 0), errors, classes, self.counted_classes)
        right = _share_right(self.label_map, label, flips)
        return PixelSums(
            _calibration(mean, label, flips),
            _likelihood(mean, label, flips),
            error_histograms(self.entropies, self.uncertainty, right, self.valid.double() - right),
            _classes(self.label_map, label, flips, len(mean)),
            self.counted_classes,
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
