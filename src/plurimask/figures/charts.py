"""Curves and diagrams of a run: training, calibration, distances. Each function returns a matplotlib Figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from plurimask.figures.colours import FAINT, INK, PALETTE, class_colours
from plurimask.figures.style import (
    SMALL,
    Rows,
    canvas,
    chart,
    draw_series,
    in_percent,
    legend_below,
    legend_of_lines,
    say,
    series,
    step_label,
    steps_along,
    style,
)
from plurimask.metrics import CalibrationBins, ErrorHistograms, Sparsification, sparsification

_NOT_TERMS = {"step", "minutes", "learning_rate", "gradient_norm", "loss"}
_MANY_CLASSES = 12
_MANY_LINES = 5
_FEW_LEFT = 0.005  # of the errors: beyond that a sparsification curve is flat
_BLUE, _VERMILION = PALETTE[4], PALETTE[5]


def training_curve(rows: Rows, oracle: float | None = None) -> Figure:
    """The loss with its terms, and the validation GED, against training steps.

    Args:
        rows: of `metrics.csv`: at least `step`, and `loss` and its terms or `val_ged` or both.
        oracle: the GED of the raters themselves, drawn as a line where given.
    """
    figure = canvas(7.2, 2.7)
    axes_loss, axes_ged = figure.subplots(1, 2)
    _draw_losses(axes_loss, rows)
    _draw_ged(axes_ged, rows, oracle)
    for axes, title in ((axes_loss, "loss and its terms"), (axes_ged, "GED on validation images")):
        style(axes, title, step_label(rows))
        if axes.lines:
            steps_along(axes, rows)
    return figure


def _draw_losses(axes: Axes, rows: Rows) -> None:
    names = dict.fromkeys(name for row in rows for name in row if not name.startswith("val_"))
    terms = [name for name in names if name not in _NOT_TERMS]
    colours = dict(zip(terms, (PALETTE[k % len(PALETTE)] for k in (4, 5, 2, 6, 0, 1)), strict=False))
    drawn = []
    for name in (["loss"] if "loss" in names else []) + (terms if len(terms) > 1 else []):
        line = draw_series(axes, rows, name, colours.get(name, INK), 2.6 if name == "loss" else 1.3)
        if line is not None:
            line.set_label(name.replace("_", " "))
            drawn.append(series(rows, name)[1])
    if not drawn:
        say(axes, "no losses were recorded")
        return
    together = np.concatenate(drawn)
    if together.min() > 0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(together.min() * 0.8, together.max() * 1e-5))
    legend_of_lines(axes, "best")


def _draw_ged(axes: Axes, rows: Rows, oracle: float | None) -> None:
    steps, values = series(rows, "val_ged")
    if not len(values):
        say(axes, "nothing was validated")
        return
    kept = series([row for row in rows if row.get("val_kept")], "val_ged")[0]
    best = int((steps == kept[-1]).nonzero()[0][-1]) if len(kept) else int(values.argmin())  # version 0.1: the lowest
    axes.plot(steps, values, color=_BLUE, linewidth=1.4, marker="o", markersize=3)
    label = f"kept: {values[best]:.3f} at step {steps[best]:.0f}"
    axes.plot(steps[best], values[best], color=_VERMILION, marker="D", markersize=5, linestyle="", label=label)
    if oracle is not None:
        axes.axhline(oracle, color=FAINT, linewidth=1, linestyle="--", label=f"raters themselves: {oracle:.3f}")
    axes.set_ylim(0, max(values.max(), oracle or 0) * 1.25 or 1)
    legend_of_lines(axes, "upper right")


def reliability_diagram(
    bins: CalibrationBins, class_names: Sequence[str] = (), colours: NDArray[np.float64] | None = None
) -> Figure:
    """How often raters marked a pixel, against the probability that was predicted for it; below, how many pixels.

    Args:
        bins: pooled over a data set, of the K counted classes.
        class_names: of the counted classes; from 2 to 12 of them are drawn as lines of their own.
        colours: `(K, 3)`, of the counted classes.
    """
    wide = 4.7 if _MANY_LINES <= len(class_names) <= _MANY_CLASSES else 3.5
    figure = canvas(wide, 4.3)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    error = bins.error()
    title = "no pixels" if math.isnan(error) else f"calibration error {error:.4f}"
    style(axes, title, "", "share of raters who marked it")
    style(below, "", "predicted probability", "pixels")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--", label="perfect")
    if 2 <= len(class_names) <= _MANY_CLASSES:
        shades = class_colours(len(class_names), False) if colours is None else colours
        for number, name in enumerate(class_names):
            curve = reliability_curve(CalibrationBins(*(part[[number]] for part in bins)))
            axes.plot(*curve, color=tuple(shades[number]), linewidth=1.2, label=f" {name}")
    label, marks = "predicted" if len(bins[0]) < 2 else "all", "o-" if len(class_names) < 2 else ".:"
    axes.plot(*reliability_curve(bins), marks, color=INK, markersize=4, linewidth=1.4, label=label)
    pixels = np.asarray(bins[0], dtype=np.float64).sum(0)
    edges, shares = np.linspace(0, 1, len(pixels) + 1), pixels / max(pixels.sum(), 1)
    below.bar(edges[:-1], shares, width=edges[1], align="edge", color=_BLUE, edgecolor="white", linewidth=0.5)
    if shares.any():
        below.set_yscale("log")
        in_percent(below.yaxis)
        below.set_ylim(max(shares[shares > 0].min() / 3, 1e-7), 1.5)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    legend_of_lines(axes)
    return figure


def sparsification_curves(errors: ErrorHistograms) -> Figure:
    """The share of wrong labels among those left, against the share removed, the most uncertain first.

    A line for each uncertainty that is not zero everywhere, with its AUSE in brackets, and the two ends: the oracle,
    which removes the wrong labels first, and a random order.

    Args:
        errors: pooled over a data set.
    """
    figure, axes = chart((3.5, 2.7), "", "")
    curves = {
        name: sparsification(histogram)
        for name, histogram in zip(("entropy", "mutual information", "spread"), errors, strict=True)
        if not histogram.is_silent
    }
    style_sparsification(axes, list(curves.values()))
    whole = sparsification(errors.entropy)
    if not whole.error[0] > 0:
        say(axes, "no label is wrong")
        return figure
    axes.plot(whole.removed, whole.oracle, color=PALETTE[2], linewidth=1.3, linestyle="--", label="oracle: wrong first")
    colours = {"entropy": _BLUE, "mutual information": _VERMILION, "spread": PALETTE[6]}
    for name, curve in curves.items():
        label = f"{name} ({curve.ause():.3f})"
        axes.plot(curve.removed, curve.error, color=colours[name], linewidth=1.6, label=label)
    axes.axhline(whole.error[0], color=FAINT, linewidth=1.3, linestyle=":", label="at random")
    axes.set_ylim(bottom=0)
    legend_below(figure, columns=2)
    return figure


def style_sparsification(axes: Axes, curves: Sequence[Sparsification]) -> float:
    """The axes of sparsification curves: shares in percent on both. Returns the largest share removed that is shown.

    That is where hardly an error is left by any curve: most labels are easy, and all happens among the first.
    """
    style(axes, "sparsification (AUSE in brackets)", "most uncertain labels removed", "wrong among those left")
    last = max((float(one.removed[one.error > _FEW_LEFT * one.error[0]].max(initial=0.0)) for one in curves), default=1)
    end = min(1.0, math.ceil(10 * last + 0.5) / 10)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    in_percent(axes.xaxis, axes.yaxis)
    return end


def ged_per_image(values: Sequence[float], oracle: Sequence[float] | None = None) -> Figure:
    """GED of each image, sorted, with what draws from the image's own raters would score.

    Args:
        values: one per image; NaN where it does not exist.
        oracle: one per image in the same order, NaN where an image has fewer than two raters.
    """
    figure, axes = chart((3.5, 2.7), "GED of each image", "images, from best to worst")
    scores = np.asarray(values, dtype=np.float64)
    order = np.argsort(scores)[: np.count_nonzero(~np.isnan(scores))]
    if not len(order):
        say(axes, "no image has a GED")
        return figure
    ranks, scores = np.arange(1, len(order) + 1), scores[order]
    size = 9 if len(order) < 200 else 3
    if oracle is not None and not np.isnan(best := np.asarray(oracle, dtype=np.float64)[order]).all():
        label = f"raters themselves (mean {np.nanmean(best):.3f})"
        axes.scatter(ranks, best, s=size, color=PALETTE[0], linewidths=0, label=label)
    axes.scatter(ranks, scores, s=size, color=_BLUE, linewidths=0, label=f"samples (mean {scores.mean():.3f})")
    axes.set_ylim(0, max(axes.get_ylim()[1], 0.1) * 1.15)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    legend_of_lines(axes)
    return figure


def agreement(rater_diversity: Sequence[float], diversity: Sequence[float]) -> Figure:
    """Whether samples differ where raters do: one point an image, mean distance between samples against between raters.

    Args:
        rater_diversity: mean 1 - IoU between two raters of each image, 0 to 1, NaN where there is one rater.
        diversity: mean 1 - IoU between two samples of each image, 0 to 1.
    """
    title, along = "do samples differ where raters do?", "mean distance between two raters"
    figure, axes = chart((3.5, 2.7), title, along, "between two samples")
    raters, samples = np.asarray(rater_diversity, dtype=np.float64), np.asarray(diversity, dtype=np.float64)
    both = ~(np.isnan(raters) | np.isnan(samples))
    raters, samples = raters[both], samples[both]
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    axes.scatter(raters, samples, s=12 if len(raters) < 200 else 6, color=_BLUE, alpha=0.6, linewidths=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if len(raters) > 2 and raters.std() > 0 and samples.std() > 0:
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
        correlation = float(np.corrcoef(raters, samples).item(1))
        axes.text(0.04, 0.92, f"correlation {correlation:.2f}", fontsize=SMALL, color=INK, bbox=box)
    return figure


def pruning_curve(curves: Mapping[str, Sequence[tuple[float, float]]], score: str = "Dice") -> Figure:
    """A score against the share of a network's weights that was taken away (`plurimask.nn.bayesian.pruned`).

    Args:
        curves: name of a run -> (share from 0 to 1, score), in the order of the shares.
        score: its name, for the axis.
    """
    figure, axes = chart((4.7, 2.9), f"{score} without the weakest weights", "weights taken away", score)
    for number, (name, points) in enumerate(curves.items()):
        shares, values = zip(*points, strict=True)
        axes.plot(shares, values, "o-", color=PALETTE[(4 + number) % len(PALETTE)], markersize=4, label=name)
    axes.set_ylim(bottom=0)
    in_percent(axes.xaxis)
    if len(curves) > 1:
        legend_below(figure)
    return figure


def reliability_curve(bins: CalibrationBins) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability and mean frequency of the bins that hold pixels, all classes pooled."""
    pixels, probability, frequency = (np.asarray(part, dtype=np.float64).sum(0) for part in bins)
    filled = pixels > 0
    return probability[filled] / pixels[filled], frequency[filled] / pixels[filled]
