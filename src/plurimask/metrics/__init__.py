"""How good a distribution over label maps is: pure functions, and a shell that accumulates them over a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plurimask.metrics.calibration import (
    NUM_BINS,
    CalibrationBins,
    calibration_bins,
    log_likelihood,
    rater_votes,
)
from plurimask.metrics.conventions import CONVENTIONS
from plurimask.metrics.distance import joint_distances, judged, pairwise_distance, rater_distance
from plurimask.metrics.energy_distance import (
    energy_distance,
    energy_distances,
    image_distances,
)
from plurimask.metrics.error_detection import (
    ErrorHistogram,
    ErrorHistograms,
    PixelUncertainty,
    class_spread,
    error_histogram,
)
from plurimask.metrics.hungarian import hungarian_iou_balanced, hungarian_iou_best_draws
from plurimask.metrics.image import ComparedImage, PixelSums
from plurimask.metrics.names import current_names
from plurimask.metrics.overlap import ClassOverlap, class_overlap, overlap
from plurimask.metrics.reconstruction import reconstruction_iou
from plurimask.metrics.row import MetricRow
from plurimask.metrics.scores import (
    evaluate_image,
    evaluate_images,
)
from plurimask.metrics.sparsification import Sparsification, sparsification
from plurimask.metrics.table import TABLE
from plurimask.metrics.uncertainty import (
    ImageUncertainty,
    expected_dice,
    image_uncertainty,
    mean_entropy,
    object_scores,
)

if TYPE_CHECKING:
    from plurimask.metrics.pooled import SegmentationMetrics, Totals

__all__ = [
    "CONVENTIONS",
    "NUM_BINS",
    "TABLE",
    "CalibrationBins",
    "ClassOverlap",
    "ComparedImage",
    "ErrorHistogram",
    "ErrorHistograms",
    "ImageUncertainty",
    "MetricRow",
    "PixelSums",
    "PixelUncertainty",
    "SegmentationMetrics",
    "Sparsification",
    "Totals",
    "calibration_bins",
    "class_overlap",
    "class_spread",
    "current_names",
    "energy_distance",
    "energy_distances",
    "error_histogram",
    "evaluate_image",
    "evaluate_images",
    "expected_dice",
    "hungarian_iou_balanced",
    "hungarian_iou_best_draws",
    "image_distances",
    "image_uncertainty",
    "joint_distances",
    "judged",
    "log_likelihood",
    "mean_entropy",
    "object_scores",
    "overlap",
    "pairwise_distance",
    "rater_distance",
    "rater_votes",
    "reconstruction_iou",
    "sparsification",
]


def __getattr__(name: str) -> Any:
    """torchmetrics, which takes long to import, waits until totals are asked for."""
    if name in ("SegmentationMetrics", "Totals"):
        from plurimask.metrics import pooled

        return getattr(pooled, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
