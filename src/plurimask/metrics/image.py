"""One image's samples and mean beside its raters: all that figures are made of, each thing computed once."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.distribution import IGNORE, entropy, most_likely
from plurimask.errors import InputError
from plurimask.metrics.calibration import CalibrationBins, LogLikelihood, calibration_bins, log_likelihood, rater_votes
from plurimask.metrics.distance import judged
from plurimask.metrics.energy_distance import EnergyDistance, ImageDistances, energy_distance, image_distances
from plurimask.metrics.error_detection import ErrorHistograms, PixelUncertainty, error_histograms
from plurimask.metrics.hungarian import hungarian_iou
from plurimask.metrics.maps import Maps, label_maps, numbers
from plurimask.metrics.overlap import ClassOverlap, Overlap, class_overlap, overlap
from plurimask.metrics.reconstruction import ReconstructionIoU, reconstruction_iou
from plurimask.metrics.uncertainty import expected_dice, mean_entropy


class PixelSums(NamedTuple):
    """Sums over pixels and raters, of one image or of all images of a data set."""

    calibration: CalibrationBins
    likelihood: LogLikelihood
    errors: ErrorHistograms
    classes: ClassOverlap
    counted_classes: tuple[int, ...]

    def mean_of_counted(self, values: Tensor) -> float:
        """Over the counted classes that are somewhere, of values of all classes `(C,)`; NaN if none is."""
        counted = values[[index for index in self.counted_classes if index < len(values)]]
        return float(counted[~counted.isnan()].mean()) if len(counted) else math.nan


class ComparedImage(abc.ABC):
    """One image: what the functions of the table of metrics are given (`plurimask.metrics.table`)."""

    counted_classes: tuple[int, ...]
    """The class indices that count, without the background."""
    num_raters: int
    """How many raters are present."""
    all_marked: bool
    """Whether every present rater marked some counted class; False if nobody is present."""
    valid: Tensor
    """The pixels that every present rater judged, bool `(*spatial)`."""
    counts = True
    """Whether the image is evaluated at all: where it is not, its figures are NaN."""

    def __init__(self, samples: Tensor, mean: Tensor, uncertainty: PixelUncertainty | None) -> None:
        self.samples = samples
        """`(N, *spatial)`, uint8."""
        self.mean = mean
        """Mean class probabilities `(C, *spatial)`."""
        self.uncertainty = uncertainty
        self.label_map = most_likely(mean[None, None])[0, 0]
        """`(*spatial)`, uint8: the single prediction, the most likely classes of the mean."""
        self.entropies = entropy(mean, dim=0)
        """`(*spatial)`, nats, of the mean."""

    @cached_property
    def expected_dice(self) -> float:
        """Mean Dice between two different samples; NaN for one sample."""
        return expected_dice(self.samples, self.counted_classes, self.valid)

    @cached_property
    def mean_entropy(self) -> float:
        """Nats per pixel of the mean probabilities."""
        return mean_entropy(self.entropies, self.valid)

    @property
    @abc.abstractmethod
    def energy(self) -> EnergyDistance[float]:
        """The energy distance between samples and raters, and what it is made of."""

    @property
    @abc.abstractmethod
    def hungarian_iou(self) -> float:
        """The mean IoU of samples and raters, matched as well as they can be."""

    @property
    @abc.abstractmethod
    def overlap(self) -> Overlap:
        """Of the single prediction with the raters."""

    @property
    @abc.abstractmethod
    def reconstruction(self) -> ReconstructionIoU:
        """Of each rater's map with what the method made of it."""

    @property
    @abc.abstractmethod
    def sums(self) -> PixelSums:
        """What is pooled over the pixels of a data set."""


class ImageWithRaters(ComparedImage):
    """An image with the maps of its raters.

    Args:
        samples: `(N, *spatial)`.
        mean_probabilities: `(C, *spatial)`, 0 to 1.
        labels: `(R, *spatial)`; absent raters are maps of IGNORE.
        counted_classes: the class indices that count, without the background.
        reconstructions: of each rater's map, `(R, *spatial)`; None for a method that has none.
        uncertainty: how far the draws disagree, maps `(*spatial)`; None: errors are counted by the entropy alone.

    Raises:
        InputError: if shapes do not fit each other, or a class is not below C.
    """

    def __init__(
        self,
        samples: Maps,
        mean_probabilities: Maps,
        labels: Maps,
        counted_classes: Sequence[int],
        reconstructions: Maps | None = None,
        uncertainty: PixelUncertainty | None = None,
    ) -> None:
        samples, labels, mean = (
            label_maps(samples, "samples"),
            label_maps(labels, "labels"),
            numbers(mean_probabilities),
        )
        _check(samples, mean, labels, counted_classes)
        super().__init__(samples, mean, uncertainty)
        self.labels, self.reconstructions, self.counted_classes = labels, reconstructions, tuple(counted_classes)
        raters, self.valid = judged(labels)
        counted = torch.tensor(list(counted_classes), dtype=raters.dtype, device=raters.device)
        self.num_raters = len(raters)
        self.all_marked = len(raters) > 0 and bool(torch.isin(raters, counted).flatten(1).any(1).all())

    @cached_property
    def distances(self) -> ImageDistances:
        return image_distances(self.samples, self.labels, self.counted_classes)

    @cached_property
    def energy(self) -> EnergyDistance[float]:
        return energy_distance(self.distances)

    @cached_property
    def hungarian_iou(self) -> float:
        return hungarian_iou(self.distances.crossed)

    @cached_property
    def overlap(self) -> Overlap:
        return overlap(self.label_map, self.labels, self.counted_classes)

    @cached_property
    def reconstruction(self) -> ReconstructionIoU:
        return reconstruction_iou(self.reconstructions, self.labels, self.counted_classes)

    @cached_property
    def sums(self) -> PixelSums:
        votes = rater_votes(self.labels, len(self.mean))
        agreeing = votes.gather(0, self.label_map[None].long())[0]
        return PixelSums(
            calibration_bins(self.mean, votes, self.counted_classes),
            log_likelihood(self.mean, votes),
            error_histograms(self.entropies, self.uncertainty, agreeing, votes.sum(0) - agreeing),
            class_overlap(self.label_map, votes),
            self.counted_classes,
        )


def _check(samples: Tensor, probabilities: Tensor, labels: Tensor, counted_classes: Sequence[int]) -> None:
    shapes = [tuple(tensor.shape[1:]) for tensor in (samples, probabilities, labels)]
    if len(set(shapes)) != 1:
        raise InputError(f"samples, probabilities and labels of one image have different spatial shapes {shapes}")
    num_classes = len(probabilities)
    if not all(0 <= index < num_classes for index in counted_classes):
        raise InputError(f"counted_classes {list(counted_classes)} must be indices of the {num_classes} classes")
    refuse_unknown_classes({"samples": samples, "labels": labels}, num_classes)


def refuse_unknown_classes(maps: Mapping[str, Tensor], num_classes: int) -> None:
    """Raise `InputError` if one of the named label maps holds a class that has no probability."""
    for name, one in maps.items():
        if bool(((one >= num_classes) & (one != IGNORE)).any()):
            raise InputError(
                f"{name} hold class {int(one[one != IGNORE].max())}, but there are probabilities of "
                f"{num_classes} classes (0 to {num_classes - 1}; {IGNORE} is a pixel that nobody judged)"
            )
