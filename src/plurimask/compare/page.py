"""One self-contained HTML page that compares methods: their scores, figures, and every evaluated image."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from plurimask.compare.table import COLUMNS, Score, table_cells, table_columns
from plurimask.figures.gallery import GalleryItem
from plurimask.figures.page import Classes
from plurimask.report.html import data_uri, picture, template

DPI = 130
PAGE_ROWS = 50
"""Images of the gallery that are shown at a time."""


@dataclass(frozen=True, eq=False)
class ComparisonContent:
    """Everything that the page shows."""

    title: str
    facts: Sequence[tuple[str, str]]
    """About the data and the evaluation."""
    rows: Sequence[Mapping[str, Score]]
    """One for each method: values by the columns' keys; None or NaN where there is none."""
    figures: Sequence[tuple[str, str, Figure]] = ()
    """Title, text and figure."""
    gallery: Sequence[GalleryItem] = ()
    """Every evaluated image, all with pictures of one width, in one order of methods."""
    channels: Sequence[str] = ()
    """Names of the image's channels: the first columns of the gallery."""
    classes: Classes | None = None
    """For the colours' legend."""


def build_comparison_page(content: ComparisonContent) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere."""
    columns = table_columns(content.rows)
    return template("compare").render(
        content=content,
        columns=columns,
        table=table_cells(content.rows, columns),
        figures=[picture(*one, DPI) for one in content.figures],
        gallery=_gallery(content) if content.gallery else None,
        legend=[] if content.classes is None else [(name, to_hex(shade)) for name, shade in content.classes.legend()],
        page_rows=PAGE_ROWS,
    )


# ---- pictures -----------------------------------------------------------------------------------------------------

_TITLES = {column.key: column.title for column in COLUMNS}


def _gallery(content: ComparisonContent) -> dict[str, Any]:
    """What the template shows of every image: its strip, a caption for each method, and values to sort by."""
    scores = content.gallery[0].scores
    keys = {method: dict.fromkeys(key for item in content.gallery for key in item.scores[method]) for method in scores}
    columns = [(method, key) for method in scores for key in keys[method]]
    with Image.open(io.BytesIO(content.gallery[0].picture)) as picture:
        size = picture.size
    return {
        "methods": list(scores),
        "orders": [f"{_TITLES.get(key, key)} of {method}" for method, key in columns],
        "num_cells": len(content.channels) + 1 + 2 * len(scores),
        "size": size,
        "rows": [
            {
                "name": item.name,
                "address": data_uri(item.picture, "webp"),
                "captions": [_caption(of_method) for of_method in item.scores.values()],
                "sorted_by": [_rounded(item.scores[method].get(key, math.nan)) for method, key in columns],
            }
            for item in content.gallery
        ],
    }


def _caption(scores: Mapping[str, float]) -> str:
    values = {key: f"{value:.3f}" if math.isfinite(value) else "-" for key, value in scores.items()}
    return ", ".join(f"{_TITLES.get(key, key)} {value}" for key, value in values.items())


def _rounded(value: float) -> float | None:
    """JSON knows no NaN."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
