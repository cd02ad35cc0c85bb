"""The table of compared methods, as Markdown and for the page: which columns there are, and what is best in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from plurimask.metrics.table import TABLE, Table, compared_rows

Score: TypeAlias = float | int | str | None


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


def known_columns(table: Table = TABLE) -> tuple[Column, ...]:
    """What a comparison measures of each method: the figures of a table, and what training and prediction take."""
    return (
        Column("method", "method"),
        Column("note", "note"),
        *(Column(row.key, row.title, row.better, row.digits) for row in compared_rows(table)),
        Column("flip_error", "error of flip frequencies", "lower", 3),
        Column("parameters", "parameters"),
        Column("steps", "steps"),
        Column("minutes", "minutes", digits=1),
        Column("seconds_per_image", "seconds per image", digits=3),
    )


COLUMNS = known_columns()
"""Other keys of a row become columns behind these, without a best value."""

CLASS_IOU = "IoU of "
"""Keys that begin so are of one class, whose name follows: their columns are behind that of the mean."""


class Cell(NamedTuple):
    """One value as it is printed."""

    words: str
    is_number: bool
    is_best: bool


def table_columns(rows: Sequence[Mapping[str, Score]], known: Sequence[Column] = COLUMNS) -> list[Column]:
    """The known columns in which any row has a value, then the others in the order in which they come."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if value is not None)
    of_classes = [Column(key, key, "higher") for key in keys if key.startswith(CLASS_IOU)]
    place = 1 + [column.key for column in known].index("mean_class_iou")
    listed = [*known[:place], *of_classes, *known[place:]]
    others = [key for key in keys if key not in {column.key for column in listed}]
    return [column for column in listed if column.key in keys] + [
        Column(key, key.replace("_", " "), digits=2) for key in others
    ]


def table_cells(rows: Sequence[Mapping[str, Score]], columns: Sequence[Column]) -> list[list[Cell]]:
    """The rows as they are printed."""
    best = {column.key: _best(rows, column) for column in columns}
    return [[_cell(row.get(column.key), column, best[column.key]) for column in columns] for row in rows]


def markdown_table(rows: Sequence[Mapping[str, Score]], known: Sequence[Column] = COLUMNS) -> str:
    """The rows as a table in Markdown, the best of each column in bold."""
    columns = table_columns(rows, known)
    lines = ["| " + " | ".join(column.title for column in columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for cells in table_cells(rows, columns):
        words = (f"**{cell.words}**" if cell.is_best else cell.words for cell in cells)
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def _best(rows: Sequence[Mapping[str, Score]], column: Column) -> str | None:
    """The best value as it is printed, so that values that look alike are marked alike."""
    values = [value for row in rows if isinstance(value := row.get(column.key), int | float) and math.isfinite(value)]
    if column.better is None or len(values) < 2:
        return None
    return _words(min(values) if column.better == "lower" else max(values), column)


def _cell(value: Score, column: Column, best: str | None) -> Cell:
    words = _words(value, column)
    return Cell(words, not isinstance(value, str), words == best)


def _words(value: Score, column: Column) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.{column.digits}f}"
    return f"{value:,}" if isinstance(value, int) else value
