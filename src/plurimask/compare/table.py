"""The table of compared methods, as Markdown, for the page and for a terminal: its columns, and the best of each."""

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
    short: str = ""
    """A title of at most 8 letters, for a terminal."""


def known_columns(table: Table = TABLE) -> tuple[Column, ...]:
    """What a comparison measures of each method: the figures of a table, and what training and prediction take."""
    return (
        Column("method", "method"),
        Column("note", "note"),
        *(Column(row.key, row.title, row.better, row.digits, _SHORT.get(row.key, "")) for row in compared_rows(table)),
        Column("flip_error", "error of flip frequencies", "lower", 3),
        Column("parameters", "parameters"),
        Column("steps", "steps"),
        Column("minutes", "minutes", digits=1),
        Column("seconds_per_image", "seconds per image", digits=3, short="s/image"),
    )


GED_RATIO = "ged_ratio"

_SHORT = {
    "ged": "GED",
    GED_RATIO: "/ raters",
    "dice": "Dice",
    "nll": "NLL",
    "ece": "ECE",
    "mean_class_iou": "IoU",
    "hungarian_iou_balanced": "Hung.IoU",
}

COLUMNS = known_columns()
"""Other keys of a row become columns behind these, without a best value."""

CLASS_IOU = "IoU of "
"""Keys that begin so are of one class, whose name follows: their columns are behind that of the mean."""

_TELLING = ("ged", GED_RATIO, "dice", "nll", "seconds_per_image", "mean_class_iou", "ece", "hungarian_iou_balanced")
_MOST_TELLING = 5
_LONGEST_NAME = 33  # characters, beside five numbers in a terminal of 80


class Cell(NamedTuple):
    """One value as it is printed."""

    words: str
    is_number: bool
    is_best: bool
    share: float | None = None
    """Of the length of a bar: from 0 to the largest value of its column, or to 1 of what is at most 1; None without."""


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


def telling_columns(rows: Sequence[Mapping[str, Score]], known: Sequence[Column] = COLUMNS) -> list[Column]:
    """At most five columns that tell most of the methods, of those in which any row has a number."""
    by_key = {column.key: column for column in known}
    there = [key for key in _TELLING if any(_number(row.get(key)) is not None for row in rows)]
    return [by_key[key] for key in there[:_MOST_TELLING]]


def table_cells(rows: Sequence[Mapping[str, Score]], columns: Sequence[Column]) -> list[list[Cell]]:
    """The rows as they are printed."""
    best = {column.key: _best(rows, column) for column in columns}
    tops = {column.key: scale_top(rows, column) for column in columns}
    return [
        [_cell(row.get(column.key), column, best[column.key], tops[column.key]) for column in columns] for row in rows
    ]


def scale_top(rows: Sequence[Mapping[str, Score]], column: Column) -> float:
    """What the longest bar of a column stands for: the largest value, or 1 of what is better if higher; 0 without."""
    numbers = [number for row in rows if (number := _number(row.get(column.key))) is not None]
    return max(0.0, *numbers, float(column.better == "higher")) if numbers else 0.0


def markdown_table(rows: Sequence[Mapping[str, Score]], known: Sequence[Column] = COLUMNS) -> str:
    """The rows as a table in Markdown, the best of each column in bold."""
    columns = table_columns(rows, known)
    lines = ["| " + " | ".join(column.title for column in columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for cells in table_cells(rows, columns):
        words = (f"**{cell.words}**" if cell.is_best else cell.words for cell in cells)
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def terminal_table(rows: Sequence[Mapping[str, Score]]) -> str:
    """The most telling columns for a terminal of 80 letters, and what the marks in it mean."""
    columns = telling_columns(rows)
    heads = ["method", *(column.short for column in columns)]
    lines = [
        [_named(row), *(cell.words for cell in cells)]
        for row, cells in zip(rows, table_cells(rows, columns), strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    printed = [
        f"{name:{widths[0]}}" + "".join(f"  {word:>{width}}" for word, width in zip(words, widths[1:], strict=True))
        for name, *words in (heads, *lines)
    ]
    better = {side: [column.short for column in columns if column.better == side] for side in ("lower", "higher")}
    printed += [f"{side} is better: {', '.join(names)}" for side, names in better.items() if names]
    if any(column.key == GED_RATIO for column in columns):
        printed.append("/ raters: GED over that of draws from the raters themselves; 1 is as good")
    if notes := dict.fromkeys(str(row["note"]) for row in rows if row.get("note")):
        printed.append(f"* {', '.join(notes)}: fewer steps than the method needs")
    return "\n".join(printed)


def _named(row: Mapping[str, Score]) -> str:
    name, star = str(row["method"]), " *" if row.get("note") else ""
    room = _LONGEST_NAME - len(star)
    return (name if len(name) <= room else f"{name[: room - 3]}...") + star


def _number(value: Score) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _best(rows: Sequence[Mapping[str, Score]], column: Column) -> str | None:
    """The best value as it is printed, so that values that look alike are marked alike."""
    values = [value for row in rows if isinstance(value := row.get(column.key), int | float) and math.isfinite(value)]
    if column.better is None or len(values) < 2:
        return None
    return _words(min(values) if column.better == "lower" else max(values), column)


def _cell(value: Score, column: Column, best: str | None, top: float) -> Cell:
    words, number = _words(value, column), _number(value)
    return Cell(words, not isinstance(value, str), words == best, max(0.0, number) / top if number and top else None)


def _words(value: Score, column: Column) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.{column.digits}f}"
    return f"{value:,}" if isinstance(value, int) else value
