"""Figures of the modes of classes that flip: what they look like, and how often a method's samples show each.

`plurimask.flips` says what a mode is: which of K classes turned into their twins. Each function returns a matplotlib
Figure.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.colours import FAINT, GRID, INK, Colours, display_image, stripes, thinned
from plurimask.figures.methods import COLUMN, method_marks
from plurimask.figures.page import MARGIN, NOT_JUDGED, Classes, Page, aspect, patch, show
from plurimask.figures.style import SMALL, canvas, legend_below, say, style
from plurimask.flips import Flip

MAX_MODES = 8
"""Modes that a strip shows."""

_COLUMNS, _PANEL, _LINE = 5, 2.0, 0.165  # panels in a row; inches
_CAPTION = 33  # characters in a line of a caption
_BOLD, _MUTED = 0.8, 0.25  # opacity of the classes that can flip, and of all others


@dataclass(frozen=True, eq=False)
class ModeStrip:
    """One image with samples whose classes may have flipped."""

    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    annotator: NDArray[Any]
    """`(H, W)`, label map before flipping."""
    samples: NDArray[Any]
    """`(N, H, W)`, label maps."""
    mode_of_sample: NDArray[Any]
    """`(N,)`, index of each sample's mode; -1 for a sample that shows no single mode."""
    mode_names: Sequence[str]
    """What flipped in each mode, see `flipped_names`."""
    probability: Sequence[float]
    """The true probability of each mode, 0 to 1."""
    class_names: Sequence[str]
    """Of all classes, twins among them, in the order of their indices."""
    flips: Sequence[Flip]
    has_background: bool = False


def flipped_names(happens: Sequence[Sequence[bool]], names: Sequence[str]) -> list[str]:
    """Which classes flip in each mode, in words: "none", "car, road".

    Args:
        happens: `(M, K)`, as `plurimask.flips.mode_table` gives it.
        names: of the K classes.
    """
    return [", ".join(name for name, yes in zip(names, row, strict=True) if yes) or "none" for row in happens]


def mode_strip(strip: ModeStrip) -> Figure:
    """An image, the annotator's map, and a sample of each mode, the mode with most samples first, at most 8.

    Above each sample: the classes that flipped in it, the share of the samples that show this mode, and its true
    probability. Classes that cannot flip are pale. A twin has the colour of its class with stripes across, so that the
    two differ without colour too.
    """
    modes, firsts, counts = np.unique(strip.mode_of_sample, return_index=True, return_counts=True)
    order = np.lexsort((modes, -counts))[:MAX_MODES]
    labelled = [(["image"], None), (["annotator"], strip.annotator)]
    for k in order:
        labelled.append((_mode_caption(strip, int(modes[k]), counts[k] / counts.sum()), strip.samples[firsts[k]]))
    groups = [labelled[start : start + _COLUMNS] for start in range(0, len(labelled), _COLUMNS)]
    height = _PANEL * aspect(strip.image)
    lines = [max(len(words) for words, _ in group) for group in groups]
    handles = _strip_legend(strip)
    columns = min(_COLUMNS, len(labelled))
    width = 2 * MARGIN + columns * (_PANEL + 0.06) - 0.06
    legend_columns = max(2, int(width / 1.45))
    bottom = 0.3 + sum(count * _LINE + height + 0.12 for count in lines)
    page = Page(width, bottom + 0.2 * math.ceil(len(handles) / legend_columns) + 0.08)
    page.text(MARGIN, 0.15, _strip_title(len(strip.samples), len(modes), len(order)), FAINT)
    picture, top = display_image(thinned(strip.image)), 0.3
    for group, count in zip(groups, lines, strict=True):
        for column, (words, labels) in enumerate(group):
            left = MARGIN + column * (_PANEL + 0.06)
            for number, line in enumerate(words):
                faint = number and number == len(words) - 1
                page.text(left, top + (count - len(words) + number + 0.5) * _LINE, line, FAINT if faint else INK)
            axes = page.panel(left, top + count * _LINE, _PANEL, height)
            show(axes, picture if labels is None else _painted(picture, thinned(labels), strip))
        top += count * _LINE + height + 0.12
    page.marks(handles, bottom, legend_columns, 2.2)
    return page.figure


def _strip_title(num_samples: int, num_modes: int, num_shown: int) -> str:
    modes = "one mode" if num_modes == 1 else f"{num_modes} different modes"
    return f"{num_samples} samples show {modes}" + (f", here the {num_shown} most frequent" * (num_shown < num_modes))


def _mode_caption(strip: ModeStrip, mode: int, share: float) -> list[str]:
    if mode < 0:
        return ["mixed: no single mode", f"{share:.1%} of samples"]
    names = textwrap.wrap(f"flipped: {strip.mode_names[mode]}", _CAPTION, max_lines=2, placeholder=" ...")
    return [*names, f"{share:.1%} of samples, true {strip.probability[mode]:.1%}"]


def _strip_shades(strip: ModeStrip) -> tuple[Colours, Colours, Colours]:
    """Colour `(256, 3)`, opacity `(256,)` and the colour of the stripes `(256, 3)` of each class."""
    classes = Classes(tuple(strip.class_names), strip.has_background)
    colours, opacity, across = np.full((256, 3), 0.5), np.zeros(256), np.zeros((256, 3))
    colours[: len(classes.names)] = classes.colours
    opacity[classes.counted.start : classes.counted.stop] = _MUTED
    for flip in strip.flips:
        colours[flip.target] = colours[flip.source]
        opacity[[flip.source, flip.target]] = _BOLD
        # The other end of the scale of brightness: stripes stay visible in grey.
        across[flip.target] = float(colours[flip.source] @ (0.3, 0.59, 0.11) < 0.5)
    return colours, opacity, across


def _painted(picture: Colours, labels: NDArray[Any], strip: ModeStrip) -> Colours:
    """A label map over the image, `(H, W, 3)`; the image is grey, so that colours mean classes alone."""
    colours, opacity, across = _strip_shades(strip)
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    period = max(3, round(max(labels.shape) / 26))
    striped = ((rows + columns) % period < 0.36 * period) & np.isin(labels, [flip.target for flip in strip.flips])
    shade = np.where(striped[..., None], across[labels], colours[labels])
    strength = opacity[labels][..., None]
    painted: Colours = (1 - strength) * (0.25 + 0.75 * picture.mean(-1, keepdims=True)) + strength * shade
    ignored = labels == IGNORE
    painted[ignored] = stripes(labels.shape)[ignored][:, :3]
    return painted


def _strip_legend(strip: ModeStrip) -> list[Patch]:
    """The classes that are there: those that can flip first, each before its twin."""
    colours, opacity, across = _strip_shades(strip)
    present = {*np.unique(strip.annotator).tolist(), *np.unique(strip.samples).tolist()}
    pairs = [index for flip in strip.flips for index in (flip.source, flip.target)]
    others = [k for k in range(int(strip.has_background), len(strip.class_names)) if k not in pairs]
    handles = []
    for k in [*pairs, *others]:
        if k in present:
            shade, twin = opacity[k] * colours[k] + (1 - opacity[k]) * 0.8, k in pairs[1::2]
            handles.append(patch(strip.class_names[k], tuple(shade)))
            if twin:
                handles[-1].set(hatch="/////", edgecolor=tuple(across[k]), linewidth=0)
    if IGNORE in present:
        handles.append(Patch(facecolor=NOT_JUDGED, label="not judged"))
    return handles


MOST_MODES = 64
"""Modes that fit side by side; of more, those with the highest true probability are drawn."""


def flip_frequencies(true: Sequence[float], sampled: Mapping[str, Sequence[float]], names: Sequence[str]) -> Figure:
    """How often each class flipped in a method's samples, a marker for each method, and how often it should: black.

    Args:
        true: the probability of each of K flips, 0 to 1.
        sampled: method -> the K frequencies, 0 to 1; NaN is left out.
        names: of the K classes.

    Raises:
        ValueError: the numbers of values differ.
    """
    _check_lengths(len(names), {"true": true, **sampled}, f"{len(names)} classes")
    room = max(0.34, 0.09 * (len(sampled) + 1))
    figure = canvas(COLUMN, 0.7 + room * max(1, len(names)))
    axes = figure.subplots()
    style(axes, "how often a class flips", "frequency in samples", rules="x")
    rows = np.arange(len(names))
    bars = axes.vlines(true, rows - 0.4, rows + 0.4, color="black", linewidth=2, label="true", zorder=1.5)
    handles: list[Artist] = [bars]
    spots = (np.arange(len(sampled)) - (len(sampled) - 1) / 2) * 0.8 / max(1, len(sampled))
    for spot, (name, mark) in zip(spots, method_marks(sampled).items(), strict=True):
        handles += axes.plot(
            sampled[name], rows + spot, mark.marker, color=mark.colour, markersize=5, mec="white", mew=0.5, label=name
        )
    axes.set_yticks(rows, labels=[name[:18] for name in names], parse_math=False)
    axes.set(xlim=(0, None), ylim=(len(names) - 0.45, -0.55))
    for row in rows[1:]:
        axes.axhline(row - 0.5, color=GRID, linewidth=0.6)
    legend_below(figure, handles)
    return figure


def mode_frequencies(true: Sequence[float], sampled: Mapping[str, Sequence[float]], names: Sequence[str]) -> Figure:
    """How often each mode is sampled, against its true probability: modes in order of that, a line for each method.

    Below, dots say which classes flip in each mode; the legend says each method's total variation distance, half the
    sum of all differences, 0 to 1.

    Args:
        true: the probability of each of the 2^K modes, as `plurimask.flips.mode_table` counts them.
        sampled: method -> the frequencies of the 2^K modes in its samples; a method with NaN is not drawn.
        names: of the K classes that can flip.

    Raises:
        ValueError: the numbers of values differ.
    """
    _check_lengths(2 ** len(names), {"true": true, **sampled}, f"2^{len(names)} modes of {len(names)} classes")
    exact = np.asarray(true, np.float64)
    order = np.argsort(-exact, kind="stable")[:MOST_MODES]
    ranks, depth = np.arange(len(order)), 0.15 * len(names) + 0.08
    figure = canvas(COLUMN, 2.6 + depth)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, depth))
    shown = "" if len(order) == len(exact) else f": {len(order)} of {len(exact)}"
    style(axes, f"frequency of each mode{shown}", "")
    handles: list[Artist] = [
        axes.bar(ranks, exact[order], width=0.85, facecolor="#D0D0D0", edgecolor="black", linewidth=0.6, label="true")[
            0
        ]
    ]
    handles[0].set_label("true")
    for name, mark in method_marks(sampled).items():
        found = np.asarray(sampled[name], np.float64)
        if np.isfinite(found).all():
            label = f"{name} (distance {0.5 * np.abs(found - exact).sum():.3f})"
            handles += axes.plot(
                ranks, found[order], color=mark.colour, marker=mark.marker, markersize=3, linewidth=0.4, label=label
            )
    axes.tick_params(bottom=False, labelbottom=False)
    axes.set_ylim(0, None)
    _draw_matrix(below, order, names)
    legend_below(figure, handles)
    return figure


def _draw_matrix(axes: Axes, order: NDArray[np.int64], names: Sequence[str]) -> None:
    """A dot for each class (row) that flips in each mode (column); bit k of a mode's index is class k."""
    if not names:
        say(axes, "no class flips")
        return
    happens = (order[None, :] >> np.arange(len(names))[:, None]) % 2 == 1
    for yes, colour in ((False, GRID), (True, INK)):
        rows, columns = np.nonzero(happens == yes)
        axes.plot(columns, rows, "o", color=colour, markersize=3 if len(order) <= 32 else 1.5, mew=0)
    axes.set_yticks(range(len(names)), labels=[name[:14] for name in names], parse_math=False)
    axes.set(xticks=[], ylim=(len(names) - 0.4, -0.6), xlim=(-0.8, len(order) - 0.2))
    axes.tick_params(labelsize=SMALL, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("modes, the most probable first; dots: classes flipped", fontsize=SMALL, color=INK)


def _check_lengths(expected: int, values: Mapping[str, Sequence[float]], what: str) -> None:
    for name, some in values.items():
        if len(some) != expected:
            raise ValueError(f"{name}: {len(some)} values for {what}: give {expected}")
