"""The table of all predicted images, a row each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plurimask.data import DataDescription
from plurimask.files.writing import replace_file, table_bytes
from plurimask.metrics import ImageUncertainty
from plurimask.prediction.files import Outputs, Written, write_prediction
from plurimask.prediction.finished import TABLE
from plurimask.prediction.predicted import Predicted

COLUMNS = ("name", *ImageUncertainty._fields, "num_objects")
"""Of the table with a row per image."""


def write_predictions(
    predictions: Iterator[Predicted],
    description: DataDescription,
    out: Path,
    on_image: Callable[[Written], object],
    outputs: Outputs,
) -> None:
    """`write_prediction` of each image, and `out/uncertainty.csv` of all of them, written at the end.

    The table has the image scores, a row per image in the order of names, "nan" where they do not exist.

    Raises:
        InputError: as there.
    """
    rows: list[dict[str, Any]] = []
    for predicted in predictions:
        written = write_prediction(predicted, description, out, outputs)
        rows.append(scores_of(written))
        on_image(written)
    write_table(out, sorted(rows, key=lambda one: str(one["name"])))


def scores_of(written: Written) -> dict[str, Any]:
    """What the table of all images says of one."""
    return {"name": written.predicted.name, **{name: written.uncertainty[name] for name in COLUMNS[1:]}}


def write_table(out: Path, rows: Iterable[Mapping[str, Any]], name: str = TABLE) -> None:
    """`out/uncertainty.csv`, or a file of another name, of rows of `COLUMNS`, in their order."""
    replace_file(out / name, table_bytes(rows, COLUMNS))
