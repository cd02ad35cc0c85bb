"""The shared looks of charts: fonts, axes, legends, curves along a training, and files. No figure needs pyplot."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from plurimask.figures.colours import FAINT, GRID, INK
from plurimask.files.writing import replace_file

Rows: TypeAlias = Sequence[dict[str, float]]
"""Of a `metrics.csv`."""

TEXT, SMALL = 9.5, 9.0
"""Font sizes in points, at the size of the figure: 9 are 12 pixels of a screen, the least that is read with ease."""

_LEGEND_ROW = 0.165  # inches
_SHORT_LABEL = 22  # characters: two such labels fit side by side
_MANY_LINES = 6
_MANY_POINTS = 60  # of more, running means are drawn over the values
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


# ---- axes ---------------------------------------------------------------------------------------------------------


def canvas(width: float, height: float) -> Figure:
    """An empty white figure, inches, that makes room for labels and legends."""
    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def chart(size: tuple[float, float], title: str, xlabel: str, ylabel: str = "") -> tuple[Figure, Axes]:
    """A figure of one chart; `size`: width and height, inches."""
    figure = canvas(*size)
    axes = figure.subplots()
    style(axes, title, xlabel, ylabel)
    return figure, axes


def style(axes: Axes, title: str, xlabel: str, ylabel: str = "", rules: Literal["x", "y"] = "y") -> None:
    """A chart's title, labels, ticks, spines, and rules at the ticks of one axis."""
    axes.set_title(title, fontsize=TEXT + 0.5, color=INK, loc="left", parse_math=False)
    axes.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    axes.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.grid(axis=rules, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def in_percent(*several: Axis) -> None:
    """Shares as "5%" along these axes."""
    for axis in several:
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))


def say(axes: Axes, message: str) -> None:
    """Words in place of a chart that has nothing to show."""
    axes.text(0.5, 0.5, message, ha="center", va="center", transform=axes.transAxes, fontsize=TEXT, color=FAINT)
    axes.set(xticks=[], yticks=[])


# ---- legends ------------------------------------------------------------------------------------------------------


def legend_of_lines(axes: Axes, place: Literal["upper left", "upper right", "best"] = "upper left") -> None:
    """A legend in a corner of the axes, or on their right where there are many lines."""
    corner = None
    if len(axes.get_legend_handles_labels()[0]) > _MANY_LINES:
        place, corner = "upper left", (1.01, 1.0)
    without_formulas(axes.legend(fontsize=SMALL, frameon=False, loc=place, bbox_to_anchor=corner))


def legend_below(figure: Figure, handles: Sequence[Artist] | None = None, columns: int = 0) -> None:
    """A legend under the axes of a `canvas`, which is made higher by as much as that needs.

    Of all that has a label in the first axes, unless `handles` are given. Two columns where all labels are short, else
    one, unless `columns` are given.
    """
    handles = figure.axes[0].get_legend_handles_labels()[0] if handles is None else handles
    if not handles:
        return
    labels = [str(handle.get_label()) for handle in handles]
    columns = columns or (2 if max(map(len, labels)) <= _SHORT_LABEL and len(labels) > 1 else 1)
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * math.ceil(len(labels) / columns) + 0.1)
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        columnspacing=0.9,
        handlelength=1.5,
        labelspacing=0.25,
        borderpad=0.1,
    )
    without_formulas(legend)


def without_formulas(legend: Legend) -> None:
    """Show the names in a legend as they are, dollar signs too."""
    for text in legend.get_texts():
        text.set_parse_math(False)


# ---- curves along a training --------------------------------------------------------------------------------------


def series(rows: Rows, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and the finite values of one column."""
    pairs = [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    steps, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def draw_series(
    axes: Axes, rows: Rows, column: str, colour: str, width: float = 1.5, least: float = -math.inf
) -> Line2D | None:
    """The values of a column, none below `least`; None where there are none.

    Over more than 60 values, running means of a fortieth of the curve.
    """
    steps, values = series(rows, column)
    if not len(values):
        return None
    if len(values) > _MANY_POINTS:
        axes.plot(steps, np.maximum(values, least), color=colour, linewidth=0.5, alpha=0.25)
        kernel = np.full(len(values) // 40, 1 / (len(values) // 40))
        steps, values = np.convolve(steps, kernel, "valid"), np.convolve(values, kernel, "valid")
    (line,) = axes.plot(steps, np.maximum(values, least), color=colour, linewidth=width)
    return line


def step_label(rows: Rows) -> str:
    """What is below a chart of a training: steps, and how many minutes they took."""
    minutes = max((row.get("minutes", 0.0) for row in rows), default=0.0)
    return f"training step ({minutes:.3g} minutes in all)" if minutes else "training step"


def steps_along(axes: Axes, rows: Rows) -> None:
    """Limits and ticks for all steps of a training: "500", "2k"."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"))
    axes.set_xlim(0, 1.03 * max((row["step"] for row in rows), default=1.0))


# ---- files --------------------------------------------------------------------------------------------------------


def figure_bytes(figure: Figure, dpi: int = 150, file_format: str = "png") -> bytes:
    """A figure as the content of a "png", "pdf" or "svg" file: the same bytes whenever it is written."""
    stream = io.BytesIO()
    figure.savefig(stream, format=file_format, dpi=dpi, metadata=_METADATA[file_format])
    return stream.getvalue()


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure whole or not at all, in the format that the name says: .png, .pdf or .svg."""
    file_format = path.suffix.lower().removeprefix(".")
    if file_format not in _METADATA:
        raise ValueError(f"{path.name}: figures are written as {', '.join(_METADATA)}: give one of these endings")
    replace_file(path, figure_bytes(figure, dpi, file_format))
