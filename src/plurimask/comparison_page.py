"""One self-contained HTML page that compares methods: their scores, figures, and every evaluated image."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, NamedTuple

import jinja2
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from plurimask.figures import figure_bytes
from plurimask.gallery import GalleryItem, GalleryPrediction, GalleryRow, gallery_item, gallery_strip
from plurimask.panels import Classes

__all__ = [
    "COLUMNS",
    "Column",
    "ComparisonContent",
    "GalleryItem",
    "GalleryPrediction",
    "GalleryRow",
    "build_comparison_page",
    "gallery_item",
    "gallery_strip",
    "table_columns",
]

DPI = 130
PAGE_ROWS = 50
"""Images of the gallery that are shown at a time."""

Score = float | int | str | None


@dataclass(frozen=True)
class Column:
    """One column of the table of methods."""

    key: str
    """Of the rows' values."""
    title: str
    better: Literal["lower", "higher"] | None = None
    """Which value is the best one, set in bold; None where there is no such thing."""
    digits: int = 4
    """Behind the point, of a float."""


COLUMNS = (
    Column("method", "method"),
    Column("ged", "GED", "lower"),
    Column("ged_unbiased", "GED, unbiased", "lower"),
    Column("ged_oracle", "GED of raters themselves"),
    Column("hungarian_iou", "matched IoU", "higher"),
    Column("diversity", "diversity"),
    Column("rater_diversity", "diversity of raters"),
    Column("dice", "Dice", "higher"),
    Column("median_dice", "median Dice", "higher"),
    Column("iou", "IoU", "higher"),
    Column("ece", "calibration error", "lower"),
    Column("nll", "negative log-likelihood", "lower"),
)
"""The figures of an evaluation. Other keys of a row become columns behind these, without a best value."""


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


def table_columns(rows: Sequence[Mapping[str, Score]]) -> list[Column]:
    """The known columns that any of the rows has, then the others in the order in which they come."""
    keys = dict.fromkeys(key for row in rows for key in row)
    known = [column for column in COLUMNS if column.key in keys]
    others = [key for key in keys if key not in {column.key for column in COLUMNS}]
    return known + [Column(key, key.replace("_", " "), digits=2) for key in others]


def build_comparison_page(content: ComparisonContent) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere.

    Raises:
        ValueError: the pictures of the gallery do not fit each other or the names of the channels.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files("plurimask").joinpath("comparison.html").read_text(encoding="utf-8"))
    columns = list(content.columns) or table_columns(content.rows)
    return template.render(
        content=content,
        columns=columns,
        table=_table(content.rows, columns),
        figures=[_figure(*one) for one in content.figures],
        gallery=_gallery(content) if content.gallery else None,
        legend=[] if content.classes is None else [(name, to_hex(shade)) for name, shade in content.classes.legend()],
        page_rows=PAGE_ROWS,
    )


# ---- the table ----------------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    words: str
    is_number: bool
    is_best: bool


def _table(rows: Sequence[Mapping[str, Score]], columns: Sequence[Column]) -> list[list[_Cell]]:
    best = {column.key: _best(rows, column) for column in columns}
    return [[_cell(row.get(column.key), column, best[column.key]) for column in columns] for row in rows]


def _best(rows: Sequence[Mapping[str, Score]], column: Column) -> str | None:
    """The best value as it is printed, so that values that look alike are marked alike."""
    given = [row.get(column.key) for row in rows]
    values = [value for value in given if isinstance(value, int | float) and math.isfinite(value)]
    if column.better is None or len(values) < 2:
        return None
    return _words(min(values) if column.better == "lower" else max(values), column)


def _cell(value: Score, column: Column, best: str | None) -> _Cell:
    words = _words(value, column)
    return _Cell(words, not isinstance(value, str), words == best)


def _words(value: Score, column: Column) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:.{column.digits}f}" if isinstance(value, float) else str(value)


# ---- pictures -----------------------------------------------------------------------------------------------------


class _Picture(NamedTuple):
    title: str
    text: str
    address: str
    """A data URI."""
    width: int
    """CSS pixels at its natural size."""


def _figure(title: str, text: str, figure: Figure) -> _Picture:
    address = f"data:image/png;base64,{base64.b64encode(figure_bytes(figure, DPI)).decode()}"
    return _Picture(title, text, address, round(figure.get_figwidth() * 96))


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
                f"data:image/webp;base64,{base64.b64encode(item.picture).decode()}",
                [_caption(item.scores[method]) for method in methods],
                [float(f"{value:.5g}") if math.isfinite(value) else None for value in values],
            )
        )
    orders = [f"{_TITLES.get(key, key)} of {method}" for method in methods for key in keys[method]]
    return _Gallery(methods, orders, rows, num_cells, (width, height))


_TITLES = {column.key: column.title for column in COLUMNS}


def _caption(scores: Mapping[str, float]) -> str:
    return ", ".join(
        f"{_TITLES.get(key, key)} {value:.3f}" if math.isfinite(value) else f"{_TITLES.get(key, key)} -"
        for key, value in scores.items()
    )


def _size(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as opened:
        return opened.size
