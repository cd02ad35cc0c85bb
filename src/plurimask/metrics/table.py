"""Every figure of an evaluation, said once: its name, what it tells, how it is computed, averaged and printed.

The rows of an image, the totals of a data set, the log of a training, the files of `evaluate`, the tables of reports
and comparisons, the conventions in words and `docs/metrics.md` are made from `TABLE`. A further metric is a function of
a `ComparedImage` (or of `PixelSums`), and a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from plurimask.metrics.error_detection import ErrorHistogram
from plurimask.metrics.row import MetricRow
from plurimask.metrics.sparsification import sparsification
from plurimask.metrics.uncertainty import expected_dice, mean_entropy

Table: TypeAlias = Sequence[MetricRow]

_KOHL_2018, _KOHL_2019 = "Kohl et al. 2018, arXiv:1806.05034", "Kohl et al. 2019, arXiv:1905.13077"


def _auroc(histogram: ErrorHistogram) -> float:
    return math.nan if histogram.is_silent else histogram.auroc()


def _ause(histogram: ErrorHistogram) -> float:
    return math.nan if histogram.is_silent else sparsification(histogram).ause()


# A row reads as a paragraph: its name, what it tells, how it is made.
# fmt: off
TABLE: Table = (
    MetricRow(
        "ged", "GED",
        "the generalised energy distance, squared, between the distributions of samples S and raters Y: "
        "2 E d(S,Y) - E d(S,S') - E d(Y,Y') as a V-statistic (pairs of a map with itself are counted)",
        better="lower", raters="ged_oracle", empty="empty_ged", is_validated=True,
        of_image=lambda image: image.energy.ged, source=f"{_KOHL_2018}; Szekely and Rizzo 2013",
    ),
    MetricRow(
        "ged_unbiased", "GED, unbiased",
        "the same without the pairs of a map with itself (U-statistic): 0 is expected when samples are distributed as "
        "the raters' maps are, whatever their numbers",
        better="lower", needs="two raters and two samples", is_validated=True,
        of_image=lambda image: image.energy.ged_unbiased, source="Szekely and Rizzo 2013",
    ),
    MetricRow(
        "ged_oracle", "GED of draws from the raters themselves",
        "mu (1/n + 1/m), what n independent draws from the distribution of the m raters score in expectation, mu = "
        "rater_diversity",
        needs="two raters", of_image=lambda image: image.energy.ged_oracle,
    ),
    MetricRow(
        "ged_ratio", "GED over that of the raters",
        "the quotient ged / ged_oracle: 1 is what draws from the raters themselves score in expectation",
        better="lower", digits=2, over="ratio", ratio_of=("ged", "ged_oracle"),
        needs="two raters who are not all of one opinion",
    ),
    MetricRow(
        "ged_spread", "GED of spread draws",
        "the GED of as many draws whose latents are spread evenly, apart from all other figures, which are of "
        "independent draws; it may be below ged_oracle, which is of independent draws too",
        better="lower", needs="a method that draws latents of an image", raters="ged_oracle", empty="empty_ged",
        of_image=lambda image: image.ged_spread,
    ),
    MetricRow(
        "empty_ged", "GED of empty masks",
        "the GED of samples that all mark nothing: the background everywhere, or, where all classes count, the one "
        "that the raters chose most",
        of_image=lambda image: image.agreement.empty_ged,
    ),
    MetricRow(
        "hungarian_iou_balanced", "Hungarian IoU, balanced",
        "samples and raters are repeated to their least common multiple and matched one to one, so that they overlap "
        "most: the mean IoU of the pairs",
        better="higher", is_validated=True, of_image=lambda image: image.hungarian.balanced, source=_KOHL_2019,
    ),
    MetricRow(
        "hungarian_iou_best_draws", "Hungarian IoU, best draws",
        "each rater is matched with a sample of its own, so that they overlap most, and the samples that are left over "
        "do not count: the mean IoU of the pairs, which grows with the number of samples",
        better="higher", needs="at least as many samples as raters, who are listed one by one",
        of_image=lambda image: image.hungarian.best_draws, source="Ribeiro et al. 2025, ICCV",
    ),
    MetricRow(
        "diversity", "diversity",
        "mean d over pairs of different samples, best near that of different raters",
        needs="two samples", raters="rater_diversity", is_validated=True, of_image=lambda image: image.energy.diversity,
    ),
    MetricRow(
        "rater_diversity", "diversity of raters",
        "mu, the mean d over pairs of different raters",
        needs="two raters", of_image=lambda image: image.energy.rater_diversity,
    ),
    MetricRow(
        "empty_samples", "share of empty samples",
        "the share of the samples that mark no counted class, best near that of the raters' maps",
        raters="empty_raters", of_image=lambda image: image.agreement.empty_samples,
    ),
    MetricRow(
        "empty_raters", "share of empty maps of raters",
        "the share of the present raters who marked no counted class",
        of_image=lambda image: image.agreement.empty_raters,
    ),
    MetricRow(
        "sample_dice", "Dice of a sample",
        "overlap of a sample with a present rater, mean over all pairs; 1 if both are empty",
        better="higher", raters="rater_dice", empty="empty_dice", of_image=lambda image: image.agreement.sample_dice,
    ),
    MetricRow(
        "rater_dice", "Dice of raters",
        "overlap of a rater's map with another's, mean over pairs of different raters: what one of them scores as a "
        "prediction of the others",
        needs="two raters", of_image=lambda image: image.agreement.rater_dice,
    ),
    MetricRow(
        "empty_dice", "Dice of empty masks",
        "overlap with each present rater of a map that marks nothing, as for empty_ged",
        of_image=lambda image: image.agreement.empty_dice,
    ),
    MetricRow(
        "dice", "Dice",
        "overlap of the single prediction, the most likely classes of the mean probabilities, with each present rater, "
        "mean over raters; 1 if both are empty",
        better="higher", raters="rater_dice", empty="empty_dice", is_validated=True,
        of_image=lambda image: image.overlap.dice,
    ),
    MetricRow(
        "median_dice", "median Dice",
        "the same for the image in the middle of the ranking",
        better="higher", over="median", median_of="dice",
    ),
    MetricRow(
        "iou", "IoU",
        "intersection over union of the single prediction with each present rater, mean over raters; 1 if both are "
        "empty",
        better="higher", is_validated=True, of_image=lambda image: image.overlap.iou,
    ),
    MetricRow(
        "mean_class_dice", "mean class Dice",
        "mean of class_dice over the counted_classes that are in any map",
        better="higher", over="pixels", needs="a counted class that is in some map",
        of_sums=lambda sums: sums.mean_of_counted(sums.classes.dice()),
    ),
    MetricRow(
        "mean_class_iou", "mean class IoU",
        "mean of class_iou over the counted_classes that are in any map",
        better="higher", over="pixels", needs="a counted class that is in some map",
        of_sums=lambda sums: sums.mean_of_counted(sums.classes.iou()), source="Everingham et al. 2015, IJCV",
    ),
    MetricRow(
        "class_dice", "Dice",
        "2 n / (p + y) of each class, the background too: of all pairs of a judged pixel and a rater of the data set, "
        "n are predicted as the class and called so by the rater, p are predicted so, y called so",
        better="higher", over="classes", needs="a class that is in some map", of_sums=lambda sums: sums.classes.dice(),
    ),
    MetricRow(
        "class_iou", "IoU",
        "n / (p + y - n) of the same counts",
        better="higher", over="classes", needs="a class that is in some map",
        of_sums=lambda sums: sums.classes.iou(), source="Everingham et al. 2015, IJCV",
    ),
    MetricRow(
        "ece", "calibration error",
        "how far the mean probabilities are from the share of the raters who marked the pixel, in 15 equal-width bins, "
        "mean over counted_classes",
        better="lower", over="pixels", is_validated=True,
        of_image=lambda image: image.sums.calibration.error(), of_sums=lambda sums: sums.calibration.error(),
        source="Naeini et al. 2015, AAAI",
    ),
    MetricRow(
        "nll", "negative log-likelihood",
        "nats per judged pixel and rater of the mean probabilities: how surprising the raters' labels are",
        better="lower", over="pixels", is_validated=True,
        of_image=lambda image: image.sums.likelihood.mean(), of_sums=lambda sums: sums.likelihood.mean(),
    ),
    MetricRow(
        "expected_dice", "expected Dice",
        "mean Dice over pairs of different samples, the quality that the prediction itself expects",
        over="image", needs="two samples",
        of_image=lambda image: expected_dice(image.samples, image.counted_classes, image.valid),
        source="DeVries and Taylor 2018, arXiv:1807.00502",
    ),
    MetricRow(
        "mean_entropy", "mean entropy",
        "nats per pixel of the mean probabilities",
        over="image", of_image=lambda image: mean_entropy(image.entropies, image.valid),
    ),
    MetricRow(
        "error_auroc", "AUROC of entropy for errors",
        "the probability that a wrong label (the most likely class of the mean probabilities is not the rater's) has a "
        "higher entropy than a right one, over all pairs of a judged pixel and a rater, in 1024 bins of the entropy: 1 "
        "is perfect, 0.5 chance",
        better="higher", digits=3, over="pixels",
        needs="a wrong and a right label, and an entropy that is not zero everywhere",
        of_sums=lambda sums: _auroc(sums.errors.entropy),
    ),
    MetricRow(
        "error_auroc_information", "AUROC of mutual information",
        "the same by the mutual information, the part of the entropy that comes from draws that disagree",
        better="higher", digits=3, over="pixels", needs="a wrong and a right label, and draws that are not all equal",
        of_sums=lambda sums: _auroc(sums.errors.mutual_information),
    ),
    MetricRow(
        "error_auroc_spread", "AUROC of spread",
        "the same by the mean over all classes of the standard deviation of their probability over the draws",
        better="higher", digits=3, over="pixels", needs="a wrong and a right label, and draws that are not all equal",
        of_sums=lambda sums: _auroc(sums.errors.spread),
    ),
    MetricRow(
        "ause", "AUSE",
        "area between the share of wrong labels among those left when 0 to 99 % with the highest entropy are removed, "
        "and the same where the wrong ones are removed first, both divided by the share of all: 0 is perfect, near 1 "
        "chance",
        better="lower", digits=3, over="pixels", needs="a wrong label, and an entropy that is not zero everywhere",
        of_sums=lambda sums: _ause(sums.errors.entropy), source="Ilg et al. 2018, ECCV",
    ),
    MetricRow(
        "reconstruction_iou", "IoU of reconstructions",
        "IoU between a rater's map and the map decoded from the means of the posterior that has seen it, mean over "
        "raters",
        better="higher", needs="a method with a posterior", is_validated=True,
        of_image=lambda image: image.reconstruction.iou, source=_KOHL_2019,
    ),
    MetricRow(
        "reconstruction_iou_marked", "IoU of reconstructions, marked",
        "the same over the maps that mark a counted class in a pixel that counts: empty maps are easily reconstructed",
        better="higher", needs="a method with a posterior, and a map that marks something",
        of_image=lambda image: image.reconstruction.marked,
    ),
)
# fmt: on
"""In the order in which figures are written and shown."""

VALIDATED: Table = tuple(row for row in TABLE if row.is_validated)
"""What a training's log has of the validation images."""


def row_of(key: str, table: Table = TABLE) -> MetricRow:
    """The row of a figure; KeyError if there is none."""
    return {row.key: row for row in table}[key]


def compared_rows(table: Table = TABLE) -> list[MetricRow]:
    """By what methods are compared: one number of a data set each, without what raters or empty masks score."""
    of_others = {row.raters for row in table} | {row.empty for row in table}
    return [row for row in table if row.over not in ("classes", "image") and row.key not in of_others]
