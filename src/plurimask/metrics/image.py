"""One image's samples and mean beside its raters: all that figures are made of, each thing computed once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.distribution import IGNORE, entropy
from plurimask.errors import InputError
from plurimask.metrics.agreement import Agreement, agreement, empty_map, marks_anything
from plurimask.metrics.calibration import CalibrationBins, LogLikelihood, calibration_bins, log_likelihood, rater_votes
from plurimask.metrics.distance import joint_overlaps, judged
from plurimask.metrics.energy_distance import EnergyDistance, ImageDistances, energy_distance
from plurimask.metrics.error_detection import ErrorHistograms, PixelUncertainty, error_histograms
from plurimask.metrics.hungarian import HungarianIoU, hungarian_iou
from plurimask.metrics.maps import Maps, is_counted, label_map_of, label_maps, numbers
from plurimask.metrics.overlap import ClassOverlap, Overlap, class_overlap
from plurimask.metrics.reconstruction import ReconstructionIoU, reconstruction_iou
from plurimask.metrics.volumes import ClassVolumes, volumes_of


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


@dataclass(frozen=True, eq=False)
class ComparedImage:
    """One image: what the functions of the table of metrics are given (`plurimask.metrics.table`)."""

    samples: Tensor
    """`(N, *spatial)`, uint8."""
    mean: Tensor
    """Class probabilities `(C, *spatial)`."""
    counted_classes: tuple[int, ...]
    """The class indices that count, without the background."""
    valid: Tensor
    """The pixels that every present rater judged, bool `(*spatial)`."""
    votes: Tensor
    """How many raters chose each class, `(C, *spatial)`, or with what probability they do."""
    energy: EnergyDistance[float]
    """The energy distance between samples and raters, and what it is made of."""
    hungarian: HungarianIoU
    """The mean IoU of samples and raters, matched as well as they can be, in both ways."""
    overlap: Overlap
    """Of the single prediction with the raters."""
    agreement: Agreement
    """Of samples with raters, of raters with each other, and of a map that marks nothing."""
    reconstruction: ReconstructionIoU
    """Of each rater's map with what the method made of it."""
    uncertainty: PixelUncertainty | None = None
    """How far the draws disagree, maps `(*spatial)`; None: errors are counted by the entropy alone."""
    ged_spread: float = math.nan
    """The GED of as many spread draws; NaN of a method that has none."""
    ged_representatives: Mapping[int, float] = field(default_factory=dict)
    """The GED of weighted representatives, by their number; empty where none were computed."""
    num_raters: int = 1
    """How many are present."""
    all_marked: bool = False
    """Whether every present rater marked some counted class; False if nobody is present."""
    counts: bool = True
    """Whether the image is evaluated at all: where it is not, its figures are NaN."""
    raters: Tensor | None = None
    """`(m, *spatial)`, uint8: the maps of those who are present; None where the raters are modes of flips."""
    voxel: float = math.nan
    """Millilitres of one voxel; NaN where that is not known."""
    slice_axis: int = 0
    """Of the spatial axes, along which the slices of a volume follow each other."""

    @cached_property
    def label_map(self) -> Tensor:
        """`(*spatial)`, uint8: the single prediction, the most likely classes of the mean."""
        return label_map_of(self.mean)

    @cached_property
    def entropies(self) -> Tensor:
        """`(*spatial)`, nats, of the mean."""
        return entropy(self.mean, dim=0)

    @cached_property
    def volumes(self) -> tuple[ClassVolumes, ...]:
        """How large each counted class is in samples and raters; none where nobody judged the image."""
        if self.raters is None:
            return ()
        return volumes_of(self.samples, self.raters, self.counted_classes, self.valid)

    @cached_property
    def sums(self) -> PixelSums:
        """What is pooled over the pixels of a data set."""
        right = self.votes.gather(0, self.label_map[None].long())[0]
        return PixelSums(
            calibration_bins(self.mean, self.votes, self.counted_classes),
            log_likelihood(self.mean, self.votes),
            error_histograms(self.entropies, self.uncertainty, right, self.votes.sum(0) - right),
            class_overlap(self.label_map, self.votes),
            self.counted_classes,
        )


def image_with_raters(
    samples: Maps,
    mean_probabilities: Maps,
    labels: Maps,
    counted_classes: Sequence[int],
    reconstructions: Maps | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> ComparedImage:
    """An image beside the maps of its raters.

    Args:
        samples, labels: `(N, *spatial)` and `(R, *spatial)`, class indices or bool, from torch or numpy; absent raters
            are maps of IGNORE.
        mean_probabilities: `(C, *spatial)`, 0 to 1; its most likely classes are the single prediction.
        counted_classes: the class indices that count, without the background.
        reconstructions: of each rater's map, `(R, *spatial)`; None for a method that has none.
        uncertainty: how far the draws disagree, maps `(*spatial)`; None: errors are counted by the entropy alone.

    Raises:
        InputError: if shapes do not fit each other, or a class is not below C.
    """
    samples, labels = label_maps(samples, "samples"), label_maps(labels, "labels")
    mean = numbers(mean_probabilities)
    _check(samples, mean, labels, counted_classes)
    raters, valid = judged(labels)
    votes, label_map = rater_votes(labels, len(mean)), label_map_of(mean)
    groups = [samples, raters, empty_map(votes, counted_classes)[None].to(samples.device), label_map[None]]
    dice, iou = joint_overlaps(groups, counted_classes, valid)
    own, others = slice(len(samples)), slice(len(samples), len(samples) + len(raters))
    distances = ImageDistances(1 - iou[own, own], 1 - iou[own, others], 1 - iou[others, others])
    marks = marks_anything(torch.cat([samples, raters]), counted_classes, valid)
    return ComparedImage(
        samples=samples,
        mean=mean,
        counted_classes=tuple(counted_classes),
        valid=valid,
        votes=votes,
        energy=energy_distance(distances),
        hungarian=hungarian_iou(distances.crossed),
        overlap=Overlap(*(float(each[-1, others].mean()) for each in (dice, iou))),
        agreement=agreement(dice[:-1, :-1], 1 - iou[:-1, :-1], marks, len(samples)),
        reconstruction=reconstruction_iou(reconstructions, labels, counted_classes),
        uncertainty=uncertainty,
        num_raters=len(raters),
        raters=raters,
        all_marked=len(raters) > 0 and bool(is_counted(raters, counted_classes).flatten(1).any(1).all()),
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
