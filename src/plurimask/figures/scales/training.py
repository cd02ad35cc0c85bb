"""Charts of training a method whose latents live at several scales: reconstruction, KL of each level, multiplier.

The terms are those of Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities"
(arXiv:1905.13077). Levels are counted from the coarsest, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from plurimask.figures.colours import FAINT, INK, PALETTE
from plurimask.figures.style import (
    SMALL,
    Rows,
    canvas,
    draw_series,
    legend_below,
    legend_of_lines,
    say,
    series,
    step_label,
    steps_along,
    style,
)

LEAST_KL = 1e-3
"""Nats: a level below that says nothing of the label map, and is drawn at the lower edge."""

_COLOURS = tuple(PALETTE[k] for k in (4, 5, 2, 6, 0, 1, 7, 15))
_DASHES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")


def hierarchy_training(rows: Rows, kappa: float | None = None, scale_names: Sequence[str] = ()) -> Figure:
    """Against training steps: the reconstruction term, the KL of each level, and the multiplier if there is one.

    Running means over a fortieth of the training are drawn over the values themselves. The reconstruction term is that
    per hard pixel (`reconstruction_per_pixel`) or, where this was not recorded, `reconstruction`. Scales are
    logarithmic; a KL below 0.001 nats is drawn at the lower edge.

    Args:
        rows: of `metrics.csv`: `step`, and what there is of the columns above, of `kl_0`, `kl_1` ... and `lambda`.
        kappa: the bound on the reconstruction term, nats per hard pixel: a line beside that term.
        scale_names: of the levels, coarse to fine.
    """
    term, title = "reconstruction_per_pixel", "reconstruction, nats per hard pixel"
    if not len(series(rows, term)[1]):
        term, title, kappa = "reconstruction", "reconstruction, nats", None
    columns = [term, "kl", *(["lambda"] if len(series(rows, "lambda")[1]) else [])]
    figure = canvas(3.3 * len(columns), 2.65)
    panels = dict(zip(columns, figure.subplots(1, len(columns)), strict=True))
    for axes, words in zip(panels.values(), (title, "KL of each level, nats", "multiplier lambda"), strict=False):
        style(axes, words, step_label(rows))
        steps_along(axes, rows)
    lines = draw_levels(panels["kl"], rows, scale_names)
    level_limits([panels["kl"]])
    if not lines:
        say(panels["kl"], "no KL of levels was recorded")
    for column in (term, "lambda"):
        if column in panels and draw_series(panels[column], rows, column, INK) is None:
            say(panels[column], "no reconstruction term was recorded")
    if kappa is not None:
        panels[term].axhline(kappa, color=FAINT, linewidth=1.2, linestyle="--", label=f"kappa = {kappa:g}")
        legend_of_lines(panels[term], "upper right")
    for column, axes in panels.items():
        if column != "kl" and axes.lines and all(np.min(line.get_ydata()) > 0 for line in axes.lines):
            _logarithmic(axes)
    legend_below(figure, [*lines.values()], max(2, int(figure.get_figwidth() / 1.2)))
    return figure


def level_columns(rows: Rows) -> list[str]:
    """The columns `kl_0`, `kl_1` ... that have values, from coarse to fine."""
    found = {name for row in rows for name in row if name.startswith("kl_") and name[3:].isdigit()}
    return sorted((name for name in found if len(series(rows, name)[1])), key=lambda name: int(name[3:]))


def draw_levels(axes: Axes, rows: Rows, scale_names: Sequence[str]) -> dict[str, Line2D]:
    """The KL of each level: label -> line."""
    lines = {}
    for column in level_columns(rows):
        level = int(column[3:])
        name = scale_names[level] if level < len(scale_names) else f"level {level}{' (coarsest)' * (level == 0)}"
        line = draw_series(axes, rows, column, _COLOURS[level % len(_COLOURS)], least=LEAST_KL)
        if line is not None:
            line.set(linestyle=_DASHES[level % len(_DASHES)], label=name)
            lines[name] = line
    return lines


def level_limits(panels: Sequence[Axes]) -> None:
    """One logarithmic scale for panels with levels: all that is drawn in any of them."""
    drawn = [np.asarray(line.get_ydata(), np.float64) for axes in panels for line in axes.lines]
    if not drawn:
        return
    together = np.concatenate(drawn)
    for axes in panels:
        axes.set_ylim(0.8 * together.min(), 1.3 * together.max())
        _logarithmic(axes)


def _logarithmic(axes: Axes) -> None:
    """Powers of ten are named; where there are few of them, twice and five times each too."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter(plain if high / low < 100 else NullFormatter())
    axes.tick_params(axis="y", which="minor", labelsize=SMALL, colors=INK)
