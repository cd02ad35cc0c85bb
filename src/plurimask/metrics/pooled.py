"""The figures of a data set, accumulated image by image over any number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torchmetrics import Metric

from plurimask.distribution import IGNORE
from plurimask.metrics.calibration import NUM_BINS, CalibrationBins, LogLikelihood
from plurimask.metrics.error_detection import NUM_ENTROPY_BINS, ErrorHistograms
from plurimask.metrics.image import PixelSums
from plurimask.metrics.overlap import ClassOverlap
from plurimask.metrics.scores import ImageEvaluation
from plurimask.metrics.table import TABLE, Table

ByClass: TypeAlias = list[float | None]
"""A figure of each class, by its index; None of a class that is nowhere."""

Totals: TypeAlias = dict[str, "float | int | ByClass | Totals | None"]


class SegmentationMetrics(Metric):  # type: ignore[misc]
    """Streaming totals of `evaluate_images` over a data set; safe under distributed data parallelism.

        evaluations = evaluate_images(samples, mean_probabilities, labels, counted_classes)
        metrics.update(evaluations)         # totals
        rows += [evaluation.scores for evaluation in evaluations]

    All states are sums, but for one number per image where a median needs the exact list. The counts of
    classes have room for every index, since a process that has seen no image does not know how many there are.
    Everything is held twice: for all images, and for those on which at least two raters are present and each marked
    something (subset B of Kohl et al. 2019). Sums are float64, so keep it on the CPU or a CUDA device.

    Args:
        counted_classes: the class indices that count, without the background.
        table: which figures.
    """

    full_state_update = False
    higher_is_better = None

    def __init__(self, counted_classes: Sequence[int], table: Table = TABLE) -> None:
        super().__init__()
        self.set_dtype(torch.float64)
        self.counted_classes, self.table = tuple(counted_classes), tuple(table)
        self.means = tuple(row.key for row in table if row.over == "images")
        self.medians = tuple(dict.fromkeys(row.median_of for row in table if row.median_of))
        self.ratios = {row.key: row.ratio_of for row in table if row.ratio_of is not None}
        for name, shape in {
            "num_images": (2,),
            "num_undefined": (2,),
            "num_multiply_rated": (),
            "sums": (2, len(self.means)),
            "counts": (2, len(self.means)),
            "ratio_sums": (2, len(self.ratios), 2),
            "calibration": (2, 3, len(self.counted_classes), NUM_BINS),
            "likelihood": (2, 2),
            "errors": (2, 3, 2, NUM_ENTROPY_BINS),
            "classes": (2, 3, IGNORE),
        }.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_classes", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        for name in self._lists():
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, evaluations: Sequence[ImageEvaluation]) -> None:
        """Add images, each once."""
        for scores, sums in evaluations:
            values = torch.tensor([scores[name] for name in self.means], dtype=torch.float64)
            has_several = scores["num_raters"] > 1  # so that raters can be compared
            in_b = has_several and scores["all_marked"]
            # Subset 0 is all images, subset 1 those that everybody marked.
            subsets = slice(0, 2 if in_b else 1)
            self.num_images[subsets] += 1
            self.num_undefined[subsets] += math.isnan(scores["ged"])
            self.num_multiply_rated += has_several
            self.sums[subsets] += values.nan_to_num(0.0).to(self.sums.device)
            self.counts[subsets] += (~values.isnan()).to(self.counts.device)
            pairs = torch.tensor(
                [[scores[key] for key in keys] for keys in self.ratios.values()], dtype=torch.float64
            ).view(-1, 2)
            self.ratio_sums[subsets] += torch.where(pairs.isnan().any(1, True), 0.0, pairs).to(self.sums.device)
            self.calibration[subsets] += torch.stack(list(sums.calibration)).to(self.calibration.device)
            self.likelihood[subsets] += torch.tensor(sums.likelihood, dtype=torch.float64).to(self.likelihood.device)
            self.errors[subsets] += sums.errors.stacked().to(self.errors.device)
            classes = torch.stack(list(sums.classes))
            self.classes[subsets, :, : classes.shape[1]] += classes.to(self.classes.device)
            self.num_classes.clamp_(min=classes.shape[1])
            for name, key in self._lists(num_subsets=2 if in_b else 1).items():
                if not math.isnan(scores[key]):
                    value = torch.tensor([scores[key]], dtype=torch.float64, device=self.sums.device)
                    getattr(self, name).append(value)

    def _lists(self, num_subsets: int = 2) -> dict[str, str]:
        """The states that are lists, of the first subsets, each with the key of the figure that it lists."""
        return {f"{key}_values{subset}": key for subset in ("", "_b")[:num_subsets] for key in self.medians}

    def compute(self) -> Totals:
        """`num_images`, `num_undefined`, and the figures of the table that are of a data set, by their keys.

        Figures of each class are lists by class index. None where a figure does not exist. `num_undefined`
        images have no pixel that all their raters judged; they are left out of the means. `subset_b` has the same
        figures for the images that at least two raters marked, all of them; it is there if any image has several
        raters.
        """
        totals = self._subset(0)
        if float(self.num_multiply_rated) > 0:
            totals["subset_b"] = self._subset(1)
        return totals

    def calibration_bins(self) -> CalibrationBins:
        """The pooled bins of all images seen by this process, for a reliability diagram."""
        return self._sums(0).calibration

    def error_histograms(self) -> ErrorHistograms:
        """The pooled right and wrong labels of all images seen by this process, for sparsification curves."""
        return self._sums(0).errors

    def _subset(self, index: int) -> Totals:
        """The totals of subset 0 or 1."""
        means = dict(zip(self.means, (self.sums[index] / self.counts[index]).tolist(), strict=True))
        pooled = self._sums(index)
        figures: Totals = {"num_images": int(self.num_images[index]), "num_undefined": int(self.num_undefined[index])}
        for row in self.table:
            if row.over == "images":
                figures[row.key] = _plain(means[row.key])
            elif row.over == "median":
                figures[row.key] = self._median(row.median_of, index)
            elif row.over == "ratio":
                upper, lower = self.ratio_sums[index, list(self.ratios).index(row.key)].tolist()
                figures[row.key] = upper / lower if lower else None
            elif row.of_sums is not None:
                figures[row.key] = _plain(row.of_sums(pooled))
        return figures

    def _median(self, key: str, index: int) -> float | None:
        # A list of one number per image, or, once processes are joined, one tensor.
        values = getattr(self, f"{key}_values{'_b' * index}")
        joined = torch.cat(values) if isinstance(values, list) and values else values
        return float(joined.quantile(0.5)) if isinstance(joined, Tensor) and joined.numel() else None

    def _sums(self, index: int) -> PixelSums:
        surprise, num_labels = self.likelihood[index].tolist()
        return PixelSums(
            CalibrationBins(*self.calibration[index].cpu()),
            LogLikelihood(surprise, int(num_labels)),
            ErrorHistograms.from_stacked(self.errors[index].cpu()),
            ClassOverlap(*self.classes[index, :, : int(self.num_classes)].cpu()),
            self.counted_classes,
        )


def _plain(value: float | Tensor) -> float | ByClass | None:
    """None where there is no figure."""
    if isinstance(value, Tensor):
        return [None if math.isnan(one) else one for one in value.tolist()]
    return None if math.isnan(value) else value
