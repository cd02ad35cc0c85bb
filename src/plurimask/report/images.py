"""The images of a report as pictures that the page lays out itself: each once, from the best to the worst."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from plurimask.figures.cells import Cell, image_cells
from plurimask.figures.page import Classes
from plurimask.figures.samples import entropy_peak
from plurimask.report.content import ReportContent
from plurimask.report.html import data_uri

_STOPS = 6  # colours of a scale


@dataclass(frozen=True)
class Picture:
    """One cell for the page."""

    address: str
    """A data URI."""
    caption: str
    ruler: dict[str, Any] | None


def image_blocks(content: ReportContent) -> Iterator[dict[str, Any]]:
    """For each image that the report shows, the ranks of the best first: name, caption, cells, and its samples.

    Samples are unfolded for the images that are evenly spread over the ranking.
    """
    about = content.record.data
    classes = Classes(tuple(about.class_names), about.has_background)
    rows = {row.name: row for row in (*content.spread, *content.best, *content.worst)}
    if not rows:
        return
    top = entropy_peak(list(rows.values()), classes)
    scores = sorted((row["ged"], row["name"]) for row in content.evaluation.rows if not math.isnan(row["ged"]))
    ranks = {name: rank for rank, (_, name) in enumerate(scores, 1)}
    open_names = {row.name for row in content.spread}
    for name in sorted(rows, key=lambda name: ranks.get(name, math.inf)):
        made = image_cells(rows[name], classes, top)
        yield {
            "name": name,
            "caption": made.caption,
            "rank": f"rank {ranks[name]} of {len(ranks)}" if name in ranks else "",
            "cells": [_picture(cell) for cell in made.cells],
            "samples": [_picture(cell) for cell in made.samples],
            "num_samples": made.num_samples,
            "is_open": name in open_names,
        }


def _picture(cell: Cell) -> Picture:
    bar = None if cell.ruler is None else {"words": cell.ruler.words, "percent": round(100 * cell.ruler.share, 2)}
    return Picture(data_uri(cell.picture, "webp"), cell.caption, bar)


def scale_legend(content: ReportContent) -> list[tuple[str, str, str]]:
    """For each scale of colours: what it shows, its end, and the colours as a CSS gradient."""
    about = content.record.data
    classes = Classes(tuple(about.class_names), about.has_background)
    rows = (*content.spread, *content.best, *content.worst)
    scales = [("probability", "1", "viridis")] if classes.is_binary else []
    if rows:
        scales.append(("entropy", f"{entropy_peak(rows, classes):.2g} nats", "magma"))
    return [(what, top, _gradient(cmap)) for what, top, cmap in scales]


def _gradient(cmap: str) -> str:
    colours = [to_hex(colormaps[cmap](stop / (_STOPS - 1))) for stop in range(_STOPS)]
    return f"linear-gradient(90deg, {', '.join(colours)})"


def class_legend(content: ReportContent) -> list[tuple[str, str]]:
    """Names and colours of the classes, where there are several."""
    about = content.record.data
    return [(name, to_hex(colour)) for name, colour in Classes(tuple(about.class_names), about.has_background).legend()]
