"""Figures of images with many objects, each there or not on its own: how often samples show them, and in what company.

What the numbers mean is in `object_statistics.py`. Each function returns a matplotlib Figure. A method keeps its
colour by its place in the mapping, as in `plurimask.figures.methods`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from plurimask.figures.colours import FAINT, INK, RATER_COLOUR, SAMPLE_COLOUR, display_image
from plurimask.figures.methods import MethodMark, method_marks
from plurimask.figures.page import MARGIN, Classes, Page, draw_map, outline, show
from plurimask.figures.style import SMALL, TEXT, say, style

_FIRST, _COLUMN, _SIDE, _CHART = 0.52, 1.78, 1.5, 2.4  # inches: left of all; widths of column, panel and chart
_NAME_LINE, _NOTE, _AXIS, _LEGEND_LINE = 0.16, 0.2, 0.45, 0.17  # inches: heights
_LEAST = 1.6  # inches: height of the chart, at least
_NAME = 24  # characters of a method's name in a line
_BIG, _PANEL, _GAP, _LINE = 1.9, 0.98, 0.04, 0.23  # inches: the image, a sample, between samples, a line of text
_BINARY = Classes(("background", "object"), has_background=True)


@dataclass(frozen=True, eq=False)
class SeenObjects:
    """How the samples of one method show objects."""

    frequencies: Sequence[float]
    """Of each object of all images, 0 to 1."""
    correlations: NDArray[np.float64]
    """`(k, k)`, of one image, -1 to 1; NaN for an object that is in all of its samples or in none."""
    modes: Sequence[tuple[int, float]]
    """(number of samples, different combinations of objects that so many samples of an image show, on average)."""


@dataclass(frozen=True, eq=False)
class ObjectSamples:
    """An image with its objects."""

    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    regions: NDArray[np.bool_]
    """`(k, H, W)`: the pixels of each object."""
    probabilities: Sequence[float]
    """Of each object, 0 to 1."""


def object_independence(
    probabilities: Sequence[float], methods: Mapping[str, SeenObjects], truth: Sequence[tuple[int, float]]
) -> Figure:
    """Three views of whether samples show objects as often as they should, and independently of each other.

    For each method a column: above, the frequency of each object against its probability; below, the correlations
    between the objects of one image, white where two have nothing to do with each other, grey for those of an object
    that no sample changes. On the right, how many different combinations the samples show.

    Args:
        probabilities: the true one of each object of all images, 0 to 1.
        methods: method -> what its samples show.
        truth: (number of draws, different combinations that independent draws show), dashed.

    Raises:
        ValueError: there is no method, or one has another number of frequencies than there are probabilities.
    """
    for name, seen in methods.items():
        if len(seen.frequencies) != len(probabilities):
            raise ValueError(f"{name}: {len(seen.frequencies)} frequencies of {len(probabilities)} objects")
    if not methods:
        raise ValueError("there is no method to draw: give at least one")
    names = [textwrap.wrap(name, _NAME) for name in methods]
    above = MARGIN + _NAME_LINE * max(map(len, names)) + _NOTE  # of the frequencies
    below = above + _SIDE + _AXIS + _NOTE  # of the correlations
    right = _FIRST + _COLUMN * len(methods) + 0.3
    legend = _LEGEND_LINE * (len(methods) + 1)
    page = Page(right + _CHART + 2 * MARGIN, max(below + _SIDE, above + _LEAST + _AXIS + legend) + 0.5)
    expected, marks = np.asarray(probabilities, np.float64), method_marks(methods)
    for column, (name, seen) in enumerate(methods.items()):
        left = _FIRST + column * _COLUMN
        for number, line in enumerate(reversed(names[column])):
            page.text(left, above - _NOTE - (number + 0.5) * _NAME_LINE, line)
        axes = page.panel(left, above, _SIDE, _SIDE)
        _draw_frequencies(axes, expected, seen, marks[name])
        if column:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("share of samples", fontsize=TEXT, color=INK, labelpad=2)
        image = _draw_correlations(page.panel(left, below, _SIDE, _SIDE), seen.correlations)
    bar = page.figure.colorbar(
        image, cax=page.panel(_FIRST, below + _SIDE + 0.1, _SIDE, 0.08), orientation="horizontal"
    )
    bar.set_ticks([-1, 0, 1], labels=["-1", "0", "1"])
    bar.ax.tick_params(labelsize=SMALL, colors=INK, length=2, pad=1.5)
    page.text(_FIRST + _SIDE + 0.12, below + _SIDE + 0.14, "correlation of two objects of one image")
    chart = max(_LEAST, below + _SIDE - above - _AXIS - legend)
    axes = page.panel(right, above, _CHART, chart)
    _draw_modes(axes, methods, truth)
    _legend_of_modes(axes, chart)
    return page.figure


def _draw_frequencies(axes: Axes, probabilities: NDArray[np.float64], seen: SeenObjects, mark: MethodMark) -> None:
    style(axes, "", "true probability")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    frequencies = np.asarray(seen.frequencies, np.float64)
    small = 7 if len(frequencies) > 200 else 12
    axes.scatter(probabilities, frequencies, s=small, color=mark.colour, alpha=0.35, linewidths=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_xticks((0, 0.5, 1), labels=("0", "0.5", "1"))
    axes.set_yticks((0, 0.5, 1), labels=("0", "0.5", "1"))
    axes.xaxis.labelpad = 2
    if len(frequencies):
        _note(axes, f"mean error {np.abs(frequencies - probabilities).mean():.3f}")


def _note(axes: Axes, words: str) -> None:
    axes.set_title(words, fontsize=SMALL, color=INK, loc="left", pad=3)


def _draw_correlations(axes: Axes, correlations: NDArray[np.float64]) -> AxesImage:
    """The matrix; above it the mean absolute correlation and, if there are any, how many objects never change."""
    matrix = np.asarray(correlations, np.float64)
    axes.set_facecolor("#B8B8B8")  # shows where the matrix is NaN
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap="RdBu_r", norm=Normalize(-1, 1), interpolation="nearest")
    pairs = np.abs(matrix[np.triu_indices(len(matrix), 1)])
    pairs = pairs[np.isfinite(pairs)]
    constant = int(np.isnan(np.diagonal(matrix)).sum())
    words = f"mean |r| {pairs.mean():.3f}" if len(pairs) else "no correlation"
    if constant:
        words += f", {constant} constant"
    _note(axes, words)
    return image


def _draw_modes(axes: Axes, methods: Mapping[str, SeenObjects], truth: Sequence[tuple[int, float]]) -> None:
    style(axes, "different combinations of objects", "samples of an image")
    for name, mark in method_marks(methods).items():
        pairs = sorted(methods[name].modes)
        if pairs:
            axes.plot(
                *zip(*pairs, strict=True),
                color=mark.colour,
                marker=mark.marker,
                markersize=4,
                linewidth=1.3,
                label=f"{name}: {pairs[-1][1]:.0f}",
            )
    if truth:
        pairs = sorted(truth)
        label = f"independent objects: {pairs[-1][1]:.0f}"
        axes.plot(*zip(*pairs, strict=True), color=INK, linewidth=1.2, linestyle="--", label=label)
    if not axes.lines:
        say(axes, "no samples were counted")
        return
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator())
        axis.set_major_formatter(lambda number, _: f"{number:g}")
        axis.set_minor_locator(NullLocator())
    axes.xaxis.labelpad = 2


def _legend_of_modes(axes: Axes, height: float) -> None:
    """Below the chart, which is `height` inches high."""
    if not axes.lines:
        return
    legend = axes.legend(
        fontsize=SMALL,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(-0.12, -_AXIS / height),
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.3,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def object_samples(shown: ObjectSamples, samples: Mapping[str, NDArray[Any]], num_shown: int = 5) -> Figure:
    """An image, its objects with their probabilities, and a row of samples for each method.

    Args:
        shown: the image with its objects.
        samples: method -> label maps `(N, H, W)`, uint8.
        num_shown: how many samples of each method are drawn, at least 1.

    Raises:
        ValueError: a method has no sample, or none is to be drawn.
    """
    if num_shown < 1 or any(len(maps) == 0 for maps in samples.values()):
        raise ValueError(
            f"nothing to draw: give num_shown >= 1 (is {num_shown}) and at least one sample of each method"
        )
    aspect = min(1.6, shown.image.shape[-2] / shown.image.shape[-1])
    columns = max((min(num_shown, len(maps)) for maps in samples.values()), default=0)
    left = MARGIN + _BIG + 0.18
    width = left + columns * (_PANEL + _GAP) + MARGIN
    one, row = _LINE + _BIG * aspect, _LINE + _PANEL * aspect + 0.06
    page = Page(width, MARGIN + max(2 * one + 0.06, row * len(samples)))
    picture = display_image(shown.image)
    for number, words in enumerate(("image", "probability of each object")):
        top = number * (one + 0.06)
        page.text(MARGIN, top + _LINE / 2, words)
        axes = page.panel(MARGIN, top + _LINE, _BIG, _BIG * aspect)
        show(axes, picture)
        if number:
            _write_probabilities(axes, shown)
    for number, (name, maps) in enumerate(samples.items()):
        top = number * row
        page.text(left, top + _LINE / 2, f"{name}, {min(len(maps), columns)} samples")
        for column, labels in enumerate(maps[:columns]):
            axes = page.panel(left + column * (_PANEL + _GAP), top + _LINE, _PANEL, _PANEL * aspect)
            show(axes, picture)
            draw_map(axes, np.asarray(labels), _BINARY, SAMPLE_COLOUR)
    return page.figure


def _write_probabilities(axes: Axes, shown: ObjectSamples) -> None:
    """Each object's outline, and in its middle its probability as .25."""
    size = min(SMALL, 0.32 * 72 * _BIG / math.sqrt(max(1, len(shown.regions))))
    for region, probability in zip(shown.regions, shown.probabilities, strict=True):
        outline(axes, region, RATER_COLOUR)
        row, column = np.argwhere(region).mean(0)
        text = axes.text(
            column,
            row,
            f"{probability:.2f}".removeprefix("0"),
            fontsize=size,
            color=INK,
            ha="center",
            va="center",
        )
        text.set_path_effects([withStroke(linewidth=1.6, foreground="white")])
