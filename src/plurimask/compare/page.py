"""One self-contained HTML page that compares methods: their scores, figures, and every evaluated image."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from plurimask.compare.table import (
    COLUMNS,
    GED_RATIO,
    Column,
    Score,
    scale_top,
    table_cells,
    table_columns,
    telling_columns,
)
from plurimask.figures.gallery import GalleryItem
from plurimask.figures.page import Classes
from plurimask.report.html import data_uri, picture, template

DPI = 150
SCALE = 1.2
"""Figures are shown so much larger than they are: their smallest letters are then 12 pixels high."""
PAGE_ROWS = 50
"""Images of the gallery that are shown at a time."""


class MethodReadings(NamedTuple):
    """What the samples of one method amount to on one image."""

    method: str
    caption: str
    pictures: Sequence[tuple[bytes, str]]
    """Of each reading, as WebP, with its caption."""


class ShownReadings(NamedTuple):
    """One image with its readings by each method."""

    name: str
    image: bytes
    """As WebP, as all of these pictures."""
    raters: bytes
    methods: Sequence[MethodReadings]


@dataclass(frozen=True, eq=False)
class ComparisonContent:
    """Everything that the page shows."""

    title: str
    facts: Sequence[tuple[str, str]]
    """About the data and the evaluation."""
    rows: Sequence[Mapping[str, Score]]
    """One for each method: values by the columns' keys; None or NaN where there is none."""
    oracle: float | None = None
    """The GED of draws from the raters themselves, marked on the bars of GED."""
    readings: Sequence[ShownReadings] = ()
    charts: Sequence[tuple[str, str, Figure]] = ()
    """Title, text and figure."""
    samples: Sequence[tuple[str, str, Figure]] = ()
    """The same, of wide figures."""
    gallery: Sequence[GalleryItem] = ()
    """Every evaluated image, all with pictures of one width, in one order of methods."""
    image_titles: Sequence[str] = ()
    """Of the pictures of the image itself, the first of the gallery."""
    num_samples: int = 0
    """Of each image."""
    classes: Classes | None = None
    """For the colours' legend."""


def build_comparison_page(content: ComparisonContent) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere."""
    columns = table_columns(content.rows)
    return template("compare").render(
        content=content,
        few=_bars(content),
        methods=[(row["method"], row.get("note")) for row in content.rows],
        columns=columns,
        # A row for each column: methods are few, and figures many.
        table=list(zip(columns, zip(*table_cells(content.rows, columns), strict=True), strict=True))[1:],
        readings=[_addressed(one) for one in content.readings],
        charts=[picture(*one, DPI) for one in content.charts],
        samples=[picture(*one, DPI) for one in content.samples],
        scale=SCALE,
        gallery=_gallery(content) if content.gallery else None,
        legend=[] if content.classes is None else [(name, to_hex(shade)) for name, shade in content.classes.legend()],
        page_rows=PAGE_ROWS,
    )


def _bars(content: ComparisonContent) -> dict[str, Any]:
    """The most telling columns, each with the place of the raters' mark on its bars, and their cells by method."""
    columns = telling_columns(content.rows)
    return {
        "columns": [(column, _mark(content, column)) for column in columns],
        "cells": table_cells(content.rows, columns),
    }


def _mark(content: ComparisonContent, column: Column) -> float | None:
    """Where on the bars of a column raters themselves are, as a share of the longest; None where that is not known."""
    value, top = {"ged": content.oracle, GED_RATIO: 1.0}.get(column.key), scale_top(content.rows, column)
    return value / top if value is not None and value <= top else None


def _addressed(shown: ShownReadings) -> dict[str, Any]:
    return {
        "name": shown.name,
        "image": data_uri(shown.image, "webp"),
        "raters": data_uri(shown.raters, "webp"),
        "methods": [
            (one.method, one.caption, [(data_uri(drawn, "webp"), words) for drawn, words in one.pictures])
            for one in shown.methods
        ],
    }


# ---- pictures -----------------------------------------------------------------------------------------------------

_TITLES = {column.key: column.title for column in COLUMNS}


def _gallery(content: ComparisonContent) -> dict[str, Any]:
    """What the template shows of every image: its strip, a caption for each method, and values to sort by."""
    scores = content.gallery[0].scores
    keys = {method: dict.fromkeys(key for item in content.gallery for key in item.scores[method]) for method in scores}
    columns = [(method, key) for method in scores for key in keys[method]]
    count = len(content.image_titles) + 1 + 2 * len(scores)
    with Image.open(io.BytesIO(content.gallery[0].picture)) as picture:
        cell = picture.width // count, picture.height
    return {
        "methods": list(scores),
        "orders": [f"{_TITLES.get(key, key)} of {method}" for method, key in columns],
        "num_cells": count,
        "cell": cell,
        "num_samples": max((number for item in content.gallery for number, _ in item.samples.values()), default=0),
        "rows": [_row(item, columns) for item in content.gallery],
    }


def _row(item: GalleryItem, columns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    samples = {method: (number, data_uri(strip, "webp")) for method, (number, strip) in item.samples.items()}
    return {
        "name": item.name,
        "address": data_uri(item.picture, "webp"),
        "methods": [(method, _caption(scores), samples.get(method)) for method, scores in item.scores.items()],
        "sorted_by": [_rounded(item.scores[method].get(key, math.nan)) for method, key in columns],
    }


def _caption(scores: Mapping[str, float]) -> str:
    values = {key: f"{value:.3f}" if math.isfinite(value) else "-" for key, value in scores.items()}
    return ", ".join(f"{_TITLES.get(key, key)} {value}" for key, value in values.items())


def _rounded(value: float) -> float | None:
    """JSON knows no NaN."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
