"""The figures of a run on one split, by name: for its report, and for `plurimask figures`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from matplotlib.figure import Figure

from plurimask.evaluation.evaluate import flip_frequencies as frequencies_of
from plurimask.figures import charts
from plurimask.figures.errors import class_uncertainty, error_maps, referral_curve, referral_score
from plurimask.figures.latents import latent_walk
from plurimask.figures.modes import flip_frequencies, mode_strip
from plurimask.figures.samples import readings_grid, samples_grid
from plurimask.figures.scales.maps import coarse_to_fine, reconstruction_ladder, scale_samples
from plurimask.figures.scales.training import hierarchy_training, level_columns
from plurimask.report.content import ReportContent
from plurimask.report.html import Named
from plurimask.report.scales import Scales

PLANES = (
    "Of the best, the middle and the worst of the images that are spread over the ranking: the axial, the coronal and "
    "the sagittal slice that hold most of what raters and samples mark. Axial slices are seen from the feet, coronal "
    "ones from the front, sagittal ones from the left, as far as the files say how they lie."
)
ONE_PLANE = "Of the volume that slice is shown which holds most of what raters marked. "
"""Ahead of what is said of a figure that is of pictures."""
OF_PICTURES = ("latents", "scales", "coarse-to-fine", "reconstruction", "modes")


class ReportFigure(NamedTuple):
    """A figure with its title and a sentence about it."""

    title: str
    text: str
    figure: Figure


def report_figures(content: ReportContent) -> dict[str, ReportFigure]:
    """All figures that the content has data for: `training`, `readings`, `spread`, `best`, `worst`, `errors`,
    `class-uncertainty`, `planes`, `reliability`, `sparsification`, `ged`, `referral`, `agreement`, `latents`, `scales`,
    `coarse-to-fine`, `reconstruction`, `levels`, `modes`, `flips`.
    """
    return _by_name((*_grids(content), *_errors(content))) | page_figures(content)


def page_figures(content: ReportContent) -> dict[str, ReportFigure]:
    """The same without `readings`, `spread`, `best`, `worst` and `errors`, whose images a page lays out itself."""
    return _by_name((*_planes(content), *_class_uncertainty(content), *_charts(content), *_of_the_method(content)))


def _by_name(named: Iterable[Named]) -> dict[str, ReportFigure]:
    return {name: ReportFigure(title, text, figure) for name, title, text, figure in named}


def _grids(content: ReportContent) -> Iterator[Named]:
    about, spread = content.record.data, content.spread
    classes = about.class_names, about.has_background
    if spread:
        text = (
            "The few different masks that the samples of an image amount to, with the share of the samples that show "
            "each. Of the same images as below."
        )
        yield "readings", "Readings", text, readings_grid(spread, *classes)
        text = "Images evenly spread over the ranking by GED, the best first."
        yield "spread", "From good to bad", text, samples_grid(spread, *classes)
    if content.best:
        text = "The images with the lowest GED, the very best first."
        yield "best", "The best", text, samples_grid(content.best, *classes)
    if content.worst:
        text = "The images with the highest GED, the very worst first: look here for what fails."
        yield "worst", "The worst", text, samples_grid(content.worst, *classes)


def _planes(content: ReportContent) -> Iterator[Named]:
    about, count = content.record.data, len(content.spread)
    if content.has_volumes and count:
        chosen = [content.spread[number] for number in sorted({0, count // 2, count - 1})]
        yield (
            "planes",
            "Three planes through the object",
            PLANES,
            samples_grid(chosen, about.class_names, about.has_background),
        )


def _errors(content: ReportContent) -> Iterator[Named]:
    about, spread = content.record.data, content.spread
    classes = about.class_names, about.has_background
    if spread:
        title = f"{len(spread)} images with raters, prediction, errors, and maps of uncertainty"
        yield "errors", title, "Uncertainty should lie where the errors are.", error_maps(spread, *classes)


def _class_uncertainty(content: ReportContent) -> Iterator[Named]:
    about, spread = content.record.data, content.spread
    classes = about.class_names, about.has_background
    if any(row.variance.any() for row in spread):
        title = f"{len(spread)} images with prediction, errors, and how far the samples' probabilities spread"
        yield "class-uncertainty", title, "", class_uncertainty(spread, *classes)


def _charts(content: ReportContent) -> Iterator[Named]:
    rows, about, totals = content.evaluation.rows, content.record.data, content.evaluation.totals
    if content.history:
        oracle = totals["ged_oracle"] if content.split == "val" else None
        figure = charts.training_curve(content.history, oracle if isinstance(oracle, float) else None)
        yield "training", "Training: loss and its terms, and validation GED, against steps", "", figure
    names = [about.class_names[index] for index in about.counted_classes]
    figure = charts.reliability_diagram(content.evaluation.calibration, names if len(names) > 1 else ())
    yield "reliability", "Reliability diagram", "", figure
    title = "Share of wrong labels among those left, against the share of the most uncertain that is removed"
    yield "sparsification", title, "", charts.sparsification_curves(content.evaluation.errors)
    figure = charts.ged_per_image([row["ged"] for row in rows], [row["ged_oracle"] for row in rows])
    yield "ged", "GED of each image, sorted", "", figure
    score, score_name, sentence = referral_score(rows)
    figure = referral_curve([row["dice"] for row in rows], score, score_name)
    yield "referral", "Mean Dice of the images kept, against the share handed to a person", sentence, figure
    if totals["rater_diversity"] is not None:
        figure = charts.agreement([row["rater_diversity"] for row in rows], [row["diversity"] for row in rows])
        yield "agreement", "Diversity of samples against diversity of raters, each image a point", "", figure


def _of_the_method(content: ReportContent) -> Iterator[Named]:
    for name, title, text, figure in _of_one_image(content):
        yield name, title, (ONE_PLANE if content.has_volumes and name in OF_PICTURES else "") + text, figure


def _of_one_image(content: ReportContent) -> Iterator[Named]:
    about = content.record.data
    if content.plane is not None:
        text = (
            "What the method draws for one image as it walks over two of its latents, those in which the prior is "
            "widest. On the right the prior's ellipses of one and two sigmas, and the posterior of each rater's map."
        )
        yield "latents", "A walk over the latent plane", text, latent_walk(content.plane)
    if content.scales is not None:
        yield from _of_the_scales(content.scales, content)
    if content.modes is not None:
        text = "Samples of one image, one of each mode that was drawn, with the classes that flipped in it."
        yield "modes", "Modes of one image", text, mode_strip(content.modes)
    flips = frequencies_of(content.evaluation, about)
    if flips:
        found = [flip["frequency"] for flip in flips.values()]
        sampled = {content.record.method: [math.nan if value is None else value for value in found]}
        figure = flip_frequencies([flip.probability for flip in about.flips], sampled, list(flips))
        text = "The share of the samples' pixels of a class that show its twin, against the true probability."
        yield "flips", "Frequency of each flip", text, figure


def _of_the_scales(scales: Scales, content: ReportContent) -> Iterator[Named]:
    text = "Samples with some scales of the latents drawn and the others at the mean of the prior."
    yield "scales", "Global, local and full variation", text, scale_samples(scales.samples)
    text = "Draws that grow from the mean of the prior, one scale after the other. Marked is what a scale changed."
    yield "coarse-to-fine", "From coarse to fine", text, coarse_to_fine(scales.samples)
    if scales.ladder is not None:
        text = "Each rater's map decoded from the means of its posterior at more and more scales."
        yield "reconstruction", "Reconstructions by scale", text, reconstruction_ladder(scales.ladder)
    if level_columns(content.history):
        kappa = content.record.config.get("kappa")
        figure = hierarchy_training(content.history, kappa, scales.samples.scale_names)
        text = "Reconstruction, the KL term of each scale, and the multiplier that weighs the first against the second."
        yield "levels", "Training: the terms of each scale", text, figure
