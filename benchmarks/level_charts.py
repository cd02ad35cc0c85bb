"""The KL of each level in several trainings, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plurimask.figures.colours import FAINT, INK
from plurimask.figures.scales.training import draw_levels, level_columns, level_limits
from plurimask.figures.style import SMALL, TEXT, Rows, canvas, legend_below, series, steps_along, style

_COLUMNS, _WIDE, _HIGH = 4, 2.3, 1.8  # panels in a row; inches
_END = 0.9  # the last tenth of a training is its end


def level_kl_of_variants(rows_by_name: Mapping[str, Rows], scale_names: Sequence[str] = ()) -> Figure:
    """The KL of each level against training steps, a panel for each variant, all on one logarithmic scale.

    Over each panel: the sum of all levels at the end, the mean of the last tenth of the training. A KL below 0.001 nats
    is drawn at the lower edge.

    Args:
        rows_by_name: of each variant, the rows of its `metrics.csv`: `step` and `kl_0`, `kl_1` ...
        scale_names: of the levels, coarse to fine: as many as the variant with most levels has.

    Raises:
        ValueError: there is no variant.
    """
    if not rows_by_name:
        raise ValueError("no variants to draw: give the rows of at least one")
    across = min(_COLUMNS, len(rows_by_name))
    down = math.ceil(len(rows_by_name) / across)
    figure = canvas(max(3.5, _WIDE * across + 0.4), _HIGH * down + 0.35)
    grid = [*figure.subplots(down, across, sharey=True, squeeze=False).reshape(-1)]
    lines: dict[str, Line2D] = {}
    for number, (axes, (name, rows)) in enumerate(zip(grid, rows_by_name.items(), strict=False)):
        below = "training step" if number + across >= len(rows_by_name) else ""
        style(axes, name, below, "" if number % across else "KL, nats")
        axes.set_title(name, fontsize=TEXT + 0.5, color=INK, loc="left", pad=15)  # room for the words below it
        steps_along(axes, rows)
        lines |= draw_levels(axes, rows, scale_names)
        end = sum(_at_the_end(rows, column) for column in level_columns(rows))
        words = f"{end:.3g} nats at the end" if level_columns(rows) else "no KL of levels was recorded"
        axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=SMALL, color=FAINT)
    level_limits(grid[: len(rows_by_name)])
    for axes in grid[len(rows_by_name) :]:
        axes.remove()
    legend_below(figure, [*lines.values()], max(2, int(figure.get_figwidth() / 1.2)))
    return figure


def _at_the_end(rows: Rows, column: str) -> float:
    steps, values = series(rows, column)
    return float(values[steps >= _END * steps.max()].mean())
