"""The figures of a data set, accumulated image by image over any number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torchmetrics import Metric

from plurimask.distribution import IGNORE
from plurimask.metrics.calibration import NUM_BINS, CalibrationBins
from plurimask.metrics.error_detection import NUM_ENTROPY_BINS, ErrorHistogram, ErrorHistograms
from plurimask.metrics.image import ImageEvaluation, is_multiply_rated, is_undefined
from plurimask.metrics.overlap import ClassOverlap
from plurimask.metrics.sparsification import sparsification

MEANS = (
    "ged",
    "ged_unbiased",
    "ged_oracle",
    "hungarian_iou",
    "diversity",
    "rater_diversity",
    "dice",
    "iou",
    "reconstruction_iou",
    "reconstruction_iou_marked",
)
"""Figures of a data set that are means over the images for which they exist."""

ByClass: TypeAlias = list[float | None]
"""A figure of each class, by its index; None of a class that is nowhere."""

Totals: TypeAlias = dict[str, "float | int | ByClass | Totals | None"]


class SegmentationMetrics(Metric):  # type: ignore[misc]
    """Streaming totals of `evaluate_images` over a data set; safe under distributed data parallelism.

        evaluations = evaluate_images(samples, mean_probabilities, labels, counted_classes)
        metrics.update(evaluations)         # totals
        rows += [evaluation.scores for evaluation in evaluations]

    All states are sums, but for one number per image, of which `median_dice` needs the exact list. The counts of
    classes have room for every index, since a process that has seen no image does not know how many there are.
    Everything is held twice: for all images, and for those on which at least two raters are present and each marked
    something (subset B of Kohl et al. 2019). Sums are float64, so keep it on the CPU or a CUDA device.

    Args:
        counted_classes: the class indices that count, without the background.
    """

    full_state_update = False
    higher_is_better = None

    def __init__(self, counted_classes: Sequence[int]) -> None:
        super().__init__()
        self.set_dtype(torch.float64)
        self.counted_classes = tuple(counted_classes)
        for name, shape in {
            "num_images": (2,),
            "num_undefined": (2,),
            "num_multiply_rated": (),
            "sums": (2, len(MEANS)),
            "counts": (2, len(MEANS)),
            "calibration": (2, 3, len(self.counted_classes), NUM_BINS),
            "likelihood": (2, 2),
            "errors": (2, 3, 2, NUM_ENTROPY_BINS),
            "classes": (2, 3, IGNORE),
        }.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_classes", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("dice_values", [], dist_reduce_fx="cat")
        self.add_state("dice_values_b", [], dist_reduce_fx="cat")

    def update(self, evaluations: Sequence[ImageEvaluation]) -> None:
        """Add images, each once."""
        for evaluation in evaluations:
            scores = evaluation.scores
            values = torch.tensor([scores[name] for name in MEANS], dtype=torch.float64)  # type: ignore[literal-required]
            in_b = is_multiply_rated(scores) and scores["all_marked"]
            # Subset 0 is all images, subset 1 those that everybody marked.
            subsets = slice(0, 2 if in_b else 1)
            self.num_images[subsets] += 1
            self.num_undefined[subsets] += is_undefined(scores)
            self.num_multiply_rated += is_multiply_rated(scores)
            self.sums[subsets] += values.nan_to_num(0.0).to(self.sums.device)
            self.counts[subsets] += (~values.isnan()).to(self.counts.device)
            self.calibration[subsets] += torch.stack(list(evaluation.calibration)).to(self.calibration.device)
            likelihood = torch.tensor(evaluation.likelihood, dtype=torch.float64)
            self.likelihood[subsets] += likelihood.to(self.likelihood.device)
            self.errors[subsets] += evaluation.errors.stacked().to(self.errors.device)
            classes = torch.stack(list(evaluation.classes))
            self.classes[subsets, :, : classes.shape[1]] += classes.to(self.classes.device)
            self.num_classes.clamp_(min=classes.shape[1])
            if not math.isnan(scores["dice"]):
                value = torch.tensor([scores["dice"]], dtype=torch.float64, device=self.sums.device)
                self.dice_values.append(value)
                if in_b:
                    self.dice_values_b.append(value)

    def compute(self) -> Totals:
        """`num_images, num_undefined, ged, ..., nll, error_auroc, ..., reconstruction_iou, reconstruction_iou_marked`.

        `class_iou` and `class_dice` are lists by class index. None where a figure does not exist. `num_undefined`
        images have no pixel that all their raters judged; they are left out of the means. `subset_b` has the same
        figures for the images that at least two raters marked, all of them; it is there if any image has several
        raters.
        """
        totals = self._subset(0, self.dice_values)
        if float(self.num_multiply_rated) > 0:
            totals["subset_b"] = self._subset(1, self.dice_values_b)
        return totals

    def calibration_bins(self) -> CalibrationBins:
        """The pooled bins of all images seen by this process, for a reliability diagram."""
        return CalibrationBins(*self.calibration[0].cpu())

    def error_histograms(self) -> ErrorHistograms:
        """The pooled right and wrong labels of all images seen by this process, for sparsification curves."""
        return ErrorHistograms.from_stacked(self.errors[0].cpu())

    def _subset(self, index: int, dice_values: list[Tensor] | Tensor) -> Totals:
        sums, counts = self.sums[index].tolist(), self.counts[index].tolist()
        means = {name: total / count if count else None for name, total, count in zip(MEANS, sums, counts, strict=True)}
        surprise, num_labels = self.likelihood[index].tolist()
        ece = CalibrationBins(*self.calibration[index]).error()
        classes = ClassOverlap(*self.classes[index, :, : int(self.num_classes)])
        # A list of one number per image, or, once processes are joined, one tensor.
        dice = torch.cat(dice_values) if isinstance(dice_values, list) and dice_values else dice_values
        return {
            "num_images": int(self.num_images[index]),
            "num_undefined": int(self.num_undefined[index]),
            **{name: means[name] for name in MEANS[: MEANS.index("iou")]},
            "median_dice": float(dice.quantile(0.5)) if isinstance(dice, Tensor) and dice.numel() else None,
            "iou": means["iou"],
            "mean_class_dice": self._mean_of_counted(classes.dice()),
            "mean_class_iou": self._mean_of_counted(classes.iou()),
            "class_dice": _by_class(classes.dice()),
            "class_iou": _by_class(classes.iou()),
            "ece": None if math.isnan(ece) else ece,
            "nll": surprise / num_labels if num_labels else None,
            **_error_detection(ErrorHistograms.from_stacked(self.errors[index])),
            **{name: means[name] for name in MEANS[MEANS.index("iou") + 1 :]},
        }

    def _mean_of_counted(self, values: Tensor) -> float | None:
        """Over the counted classes that are somewhere."""
        counted = values[[index for index in self.counted_classes if index < len(values)]]
        counted = counted[~counted.isnan()]
        return float(counted.mean()) if len(counted) else None


def _by_class(values: Tensor) -> ByClass:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _error_detection(histograms: ErrorHistograms) -> Totals:
    ause = math.nan if histograms.entropy.is_silent else sparsification(histograms.entropy).ause()
    return {
        "error_auroc": _auroc(histograms.entropy),
        "error_auroc_information": _auroc(histograms.mutual_information),
        "error_auroc_spread": _auroc(histograms.spread),
        "ause": None if math.isnan(ause) else ause,
    }


def _auroc(histogram: ErrorHistogram) -> float | None:
    value = math.nan if histogram.is_silent else histogram.auroc()
    return None if math.isnan(value) else value
