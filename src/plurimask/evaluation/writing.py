"""The files of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from plurimask.files.writing import replace_file, table_bytes
from plurimask.metrics import Totals
from plurimask.metrics.conventions import conventions
from plurimask.metrics.table import TABLE, Table
from plurimask.metrics.volumes import VOLUME_COLUMNS


def write_evaluation(
    totals: Totals, rows: Iterable[dict[str, Any]], path: Path, facts: dict[str, Any], table: Table = TABLE
) -> None:
    """Totals (`named_classes`) with `facts` (what was evaluated) to the JSON file `path`, and the rows, at least one,
    to a CSV file of the same name beside it; `table` is of which the figures are."""
    remaining = iter(rows)
    first = next(remaining)
    content = {**totals, **facts, "conventions": conventions(table)}
    replace_file(path, json.dumps(content, indent=2).encode())
    replace_file(path.with_suffix(".csv"), table_bytes(chain([first], remaining), list(first)))


def write_volumes(volumes: Sequence[Mapping[str, Any]], path: Path, class_names: Sequence[str]) -> None:
    """The volumes of an evaluation to a CSV file, a row per image and class, with the names of the classes."""
    named = [{**row, "class": class_names[row["class"]]} for row in volumes]
    replace_file(path, table_bytes(named, VOLUME_COLUMNS))
