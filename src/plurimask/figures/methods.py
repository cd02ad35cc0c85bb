"""Charts that compare methods. Each function returns a matplotlib Figure of the width `COLUMN`.

A method keeps its colour and its marker by its place in the mapping: give every chart the same methods in the same
order, those without values too (an empty sequence, NaN), and a method looks the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from plurimask.figures.charts import reliability_curve, style_sparsification
from plurimask.figures.colours import FAINT, INK, PALETTE
from plurimask.figures.style import SMALL, canvas, chart, legend_below, say, style
from plurimask.metrics import CalibrationBins, ErrorHistogram, sparsification

COLUMN = 2.8
"""Width of a chart, inches: shown so large that its smallest letters are 12 pixels high, it fits a phone."""

_BOX_ROW = 0.4  # inches
_ROUND, _CROSS = "osDv^P<>p", "X"
_COLOURS = tuple(PALETTE[k] for k in (4, 5, 2, 6, 0, 1, 7, 15, 12, 8))
_MAX_TICKS = 8
_MARKERS = 5  # on a sparsification curve


class MethodMark(NamedTuple):
    """How one method is drawn."""

    colour: str
    marker: str


def method_marks(methods: Iterable[str]) -> dict[str, MethodMark]:
    """A colour and a marker for each method, by its place: ten of each, and beyond them pairs that were not used."""
    markers = _ROUND + _CROSS
    return {
        name: MethodMark(_COLOURS[k % len(_COLOURS)], markers[(k + k // len(_COLOURS)) % len(markers)])
        for k, name in enumerate(methods)
    }


def ged_against_samples(
    curves: Mapping[str, Sequence[tuple[int, float]]], oracle: Sequence[tuple[int, float]] | None = None
) -> Figure:
    """GED against the number of samples, on a logarithmic axis: a line for each method.

    Args:
        curves: method -> (number of samples, at least 1; GED) in any order; NaN is left out.
        oracle: what as many draws from the raters themselves score; dashed.
    """
    figure, axes = chart((COLUMN, 2.5), "GED against number of samples", "samples of each image")
    axes.set_xscale("log", base=2)
    places: set[int] = set()
    for name, mark in method_marks(curves).items():
        numbers, values = _finite(curves[name])
        if len(numbers):
            label = f"{name}: {values[-1]:.3f} at {numbers[-1]}"
            axes.plot(numbers, values, mark.marker + "-", color=mark.colour, markersize=4.5, linewidth=1.3, label=label)
            places.update(numbers.tolist())
    numbers, values = _finite(oracle or ())
    if len(numbers):
        label = f"raters themselves: {values[-1]:.3f} at {numbers[-1]}"
        axes.plot(numbers, values, color=FAINT, linewidth=1.2, linestyle="--", label=label)
        places.update(numbers.tolist())
    if not axes.lines:
        say(axes, "there is no GED")
        return figure
    ticks = sorted(places) if len(places) <= _MAX_TICKS else [n for n in sorted(places) if n & (n - 1) == 0]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    legend_below(figure)
    return figure


def _finite(curve: Sequence[tuple[int, float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of samples in ascending order, and the values there."""
    pairs = sorted(pair for pair in curve if math.isfinite(pair[1]))
    return np.array([number for number, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64)


def score_boxplots(
    values: Mapping[str, Sequence[float]], score: str, lower_is_better: bool = True, reference: float | None = None
) -> Figure:
    """How a score is spread over the images: a box for each method, the best mean on top.

    The box spans the middle half of the images, the line in it is the median, the diamond the mean (its value on the
    right); whiskers reach to the last image within 1.5 box lengths; dots are the images beyond.

    Args:
        values: method -> one value for each image; NaN, where there is none, is left out.
        score: its name, the title.
        lower_is_better: of this score.
        reference: what the raters themselves score; a dashed line.
    """
    scored = {name: np.array([value for value in some if math.isfinite(value)]) for name, some in values.items()}
    sign = 1 if lower_is_better else -1
    order = sorted(scored, key=lambda name: sign * float(scored[name].mean()) if len(scored[name]) else math.inf)
    figure = canvas(COLUMN, 0.85 + _BOX_ROW * max(2, len(order)))
    axes, better = figure.subplots(), "lower" if lower_is_better else "higher"
    style(axes, f"{score} of each image", f"{score}, {better} is better", rules="x")
    if not any(map(len, scored.values())):
        say(axes, "no image has a value")
        return figure
    axes.spines["left"].set_visible(False)
    marks = method_marks(values)
    for row, name in enumerate(order):
        _draw_box(axes, row, scored[name], marks[name].colour)
        _name_box(axes, row, name, scored[name])
    if reference is not None:
        label = f"raters themselves: {reference:.3f}"
        axes.axvline(reference, color=FAINT, linewidth=1.2, linestyle="--", zorder=1, label=label)
        legend_below(figure)
    axes.set(yticks=[], ylim=(len(order) - 0.5, -0.62))
    return figure


def _draw_box(axes: Axes, row: int, values: NDArray[np.float64], colour: str) -> None:
    """A box drawn by hand: the keyword for horizontal boxes is not the same in all versions of matplotlib."""
    if not len(values):
        return
    stats, middle, half = boxplot_stats(values)[0], row + 0.16, 0.19
    axes.plot(
        stats["fliers"], np.full(len(stats["fliers"]), middle), ".", color=colour, alpha=0.4, markersize=3.5, mew=0
    )
    axes.hlines(middle, stats["whislo"], stats["whishi"], color=colour, linewidth=1)
    axes.add_patch(
        Rectangle((stats["q1"], middle - half), stats["q3"] - stats["q1"], 2 * half, fc="white", ec=colour, zorder=2.5)
    )
    axes.vlines(stats["med"], middle - half, middle + half, color=colour, linewidth=2, zorder=3)
    axes.plot(stats["mean"], middle, "D", color=colour, markersize=4.5, markeredgecolor="white", mew=0.6, zorder=4)


def _name_box(axes: Axes, row: int, name: str, values: NDArray[np.float64]) -> None:
    """The method's name above its box, which leaves the chart its whole width, and the mean at its right."""
    mean = f"mean {values.mean():.3f}" if len(values) else "no values"
    across = axes.get_yaxis_transform()
    for place, words, side in ((0.0, name, "left"), (1.0, mean, "right")):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
        axes.text(
            place, row - 0.25, words, ha=side, va="center", fontsize=SMALL, color=INK, transform=across,
            parse_math=False, bbox=box, zorder=3.5,
        )  # fmt: skip


def reliability_of_methods(bins: Mapping[str, CalibrationBins]) -> Figure:
    """How often raters marked a pixel, against the probability predicted for it: a line for each method.

    Args:
        bins: method -> sums over a data set; all counted classes are pooled. The legend says each calibration error.
    """
    title, along = "calibration (error in brackets)", "predicted probability"
    figure, axes = chart((COLUMN, 3.3), title, along, "share of raters who marked it")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--", label="perfect")
    for name, mark in method_marks(bins).items():
        error = bins[name].error()
        label = f"{name} ({'no pixels' if math.isnan(error) else f'{error:.4f}'})"
        curve = reliability_curve(bins[name])
        axes.plot(*curve, mark.marker + "-", color=mark.colour, markersize=4, linewidth=1.2, label=label)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    legend_below(figure)
    return figure


def sparsification_of_methods(errors: Mapping[str, ErrorHistogram]) -> Figure:
    """The share of wrong labels among those left, against the share removed, the most uncertain first.

    A line for each method, and dashed in its colour the oracle, which removes its wrong labels first.

    Args:
        errors: method -> right and wrong labels by an uncertainty, pooled over a data set. The legend says each AUSE.
    """
    figure, axes = chart((COLUMN, 3.0), "", "")
    curves = {name: sparsification(histogram) for name, histogram in errors.items()}
    curves = {name: curve for name, curve in curves.items() if curve.error[0] > 0}
    step = math.ceil(style_sparsification(axes, list(curves.values())) * 100 / _MARKERS)
    marks = method_marks(errors)
    for number, (name, curve) in enumerate(curves.items()):
        mark = marks[name]
        axes.plot(curve.removed, curve.oracle, color=mark.colour, linewidth=0.9, linestyle="--")
        axes.plot(
            curve.removed,
            curve.error,
            color=mark.colour,
            marker=mark.marker,
            markersize=4,
            markevery=(number * step // len(curves), step),  # side by side, for curves may lie on each other
            linewidth=1.3,
            label=f"{name} ({'zero everywhere' if errors[name].is_silent else f'{curve.ause():.3f}'})",
        )
    if not curves:
        say(axes, "no label is wrong")
        return figure
    axes.set_ylim(bottom=0)
    oracle = Line2D([], [], color=FAINT, linewidth=0.9, linestyle="--", label="oracle: wrong first")
    legend_below(figure, [*axes.get_legend_handles_labels()[0], oracle])
    return figure
