"""One self-contained HTML page that compares methods: their scores, figures, and every evaluated image."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from plurimask.compare.table import COLUMNS, Column, Score, table_cells, table_columns
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
    columns: Sequence[Column] = ()
    """Of the table; those of `table_columns` where none are given."""
    figures: Sequence[tuple[str, str, Figure]] = ()
    """Title, text and figure."""
    warnings: Sequence[str] = ()
    """What the reader must know before comparing: a paragraph each."""
    gallery: Sequence[GalleryItem] = ()
    """Every evaluated image, all with pictures of one width, in one order of methods."""
    channels: Sequence[str] = ()
    """Names of the image's channels: the first columns of the gallery."""
    classes: Classes | None = None
    """For the colours' legend."""


def build_comparison_page(content: ComparisonContent) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere.

    Raises:
        ValueError: the pictures of the gallery do not fit each other or the names of the channels.
    """
    columns = list(content.columns) or table_columns(content.rows)
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


class _Row(NamedTuple):
    name: str
    address: str
    captions: list[str]
    """One for each method."""
    values: list[float | None]
    """In the order of `_Gallery.orders`; None where there is none, for JSON knows no NaN."""


class _Gallery(NamedTuple):
    methods: list[str]
    orders: list[str]
    """What the rows can be sorted by, beside their names."""
    rows: list[_Row]
    num_cells: int
    size: tuple[int, int]
    """Width and height of a strip, pixels."""


def _gallery(content: ComparisonContent) -> _Gallery:
    first = content.gallery[0]
    methods = list(first.scores)
    num_cells = len(content.channels) + 1 + 2 * len(methods)
    width, height = _size(first.picture)
    keys = {
        method: list(dict.fromkeys(key for item in content.gallery for key in item.scores.get(method, {})))
        for method in methods
    }
    rows = []
    for item in content.gallery:
        if list(item.scores) != methods:
            raise ValueError(
                f"{item.name}: methods {list(item.scores)}, but {first.name} has {methods}: give all alike"
            )
        if _size(item.picture)[0] != width or width % num_cells:
            raise ValueError(
                f"{item.name}: a strip {_size(item.picture)[0]} pixels wide, where {first.name} has {width}, for "
                f"{num_cells} columns ({len(content.channels)} channels, raters, two for each of {len(methods)} "
                "methods): name all channels, and draw all strips with the same cell"
            )
        values = [item.scores[method].get(key, math.nan) for method in methods for key in keys[method]]
        rows.append(
            _Row(
                item.name,
                data_uri(item.picture, "webp"),
                [_caption(item.scores[method]) for method in methods],
                [float(f"{value:.5g}") if math.isfinite(value) else None for value in values],
            )
        )
    orders = [f"{_TITLES.get(key, key)} of {method}" for method in methods for key in keys[method]]
    return _Gallery(methods, orders, rows, num_cells, (width, height))


_TITLES = {column.key: column.title for column in COLUMNS}


def _caption(scores: Mapping[str, float]) -> str:
    words = {key: f"{value:.3f}" if math.isfinite(value) else "-" for key, value in scores.items()}
    return ", ".join(f"{_TITLES.get(key, key)} {value}" for key, value in words.items())


def _size(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as opened:
        return opened.size
