"""`metrics.csv`: one row every few steps, and one for each validation."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from plurimask.errors import InputError
from plurimask.files.reading import is_there, read_text
from plurimask.files.writing import replace_file
from plurimask.metrics.names import current_names

LOG_STEPS = 10
"""Steps that one row of training terms is the mean of."""


class MetricsLog:
    """The rows of a training so far. Columns appear as they are needed; what does not apply to a row is empty."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._sums: dict[str, Tensor] = {}
        self._num_summed = 0

    def add_step(self, where: Mapping[str, Any], terms: Mapping[str, Tensor]) -> None:
        """The terms of one step. Every `LOG_STEPS` steps their means become a row, at `where` (step, minutes, ...)."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._num_summed += 1
        if where["step"] % LOG_STEPS == 0:
            self.add_row(where, {name: float(total) / self._num_summed for name, total in self._sums.items()})
            self._sums, self._num_summed = {}, 0

    def add_row(self, where: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """A row of its own."""
        self.rows.append({**where, **{name: value for name, value in values.items() if value is not None}})

    def latest(self, name: str) -> float | None:
        """The last value of a column."""
        return next((float(row[name]) for row in reversed(self.rows) if name in row), None)

    @property
    def pending(self) -> dict[str, Any]:
        """The sums of a row that is not yet full, for a checkpoint."""
        return {"sums": dict(self._sums), "num_summed": self._num_summed}

    def write(self, path: Path) -> None:
        """All rows as CSV, whole or not at all."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(names), restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        replace_file(path, text.getvalue().encode())

    def restore(self, path: Path, last_step: int, pending: Mapping[str, Any]) -> None:
        """Take up the rows that were written up to a step, and the row that was not yet full then."""
        self._sums = {name: total.reshape(()) for name, total in pending["sums"].items()}
        self._num_summed = int(pending["num_summed"])
        if self._num_summed < 0:
            raise ValueError(f"{self._num_summed} steps were summed")
        self.rows = [{**row, "step": int(row["step"])} for row in read_metrics(path) if row["step"] <= last_step]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.csv`, numbers where there are any, by the names of today; none if there is no file.

    Raises:
        InputError: the file is damaged.
    """
    if not is_there(path):
        return []
    remedy = "restore the file, or remove it"
    try:
        lines = csv.DictReader(io.StringIO(read_text(path, remedy), newline=""), strict=True)
        rows = [current_names({name: float(value) for name, value in row.items() if value}) for row in lines]
        for row in rows:
            if not (row["step"] >= 0 and row["step"] == int(row["step"])):
                raise ValueError(row["step"])
            if not all(math.isfinite(row[name]) for name in ("minutes", "learning_rate") if name in row):
                raise ValueError(row)
    except InputError:
        raise
    except (csv.Error, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: damaged, expected rows of numbers, each with its step: {remedy}") from error
    return rows
