"""The table of metrics: everything that lists figures is made from it, and a further row is found everywhere."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from plurimask.compare.table import known_columns, markdown_table, table_columns
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.evaluation.evaluate import Evaluation, ExampleView, evaluate, named_classes
from plurimask.evaluation.writing import write_evaluation
from plurimask.methods import build_method
from plurimask.metrics.conventions import CONVENTIONS, conventions
from plurimask.metrics.image import ComparedImage
from plurimask.metrics.names import RENAMED, current_names
from plurimask.metrics.row import AVERAGED, MetricRow
from plurimask.metrics.table import TABLE, VALIDATED, row_of
from plurimask.prediction.predict import Sampling
from plurimask.report.tables import class_scores, metric_table
from plurimask.training.log import read_metrics

ROOT = Path(__file__).parents[2]

TOTALS = [
    "num_images",
    "num_undefined",
    "ged",
    "ged_unbiased",
    "ged_oracle",
    "ged_ratio",
    "ged_spread",
    "empty_ged",
    "hungarian_iou_balanced",
    "hungarian_iou_best_draws",
    "diversity",
    "rater_diversity",
    "empty_samples",
    "empty_raters",
    "sample_dice",
    "rater_dice",
    "empty_dice",
    "dice",
    "median_dice",
    "iou",
    "mean_class_dice",
    "mean_class_iou",
    "class_dice",
    "class_iou",
    "ece",
    "nll",
    "error_auroc",
    "error_auroc_information",
    "error_auroc_spread",
    "ause",
    "reconstruction_iou",
    "reconstruction_iou_marked",
    "subset_b",
]
COLUMNS = [
    "name",
    "ged",
    "ged_unbiased",
    "ged_oracle",
    "ged_spread",
    "empty_ged",
    "hungarian_iou_balanced",
    "hungarian_iou_best_draws",
    "diversity",
    "rater_diversity",
    "empty_samples",
    "empty_raters",
    "sample_dice",
    "rater_dice",
    "empty_dice",
    "dice",
    "iou",
    "ece",
    "nll",
    "expected_dice",
    "mean_entropy",
    "reconstruction_iou",
    "reconstruction_iou_marked",
    "all_marked",
    "num_raters",
]
COMPARED = [
    "ged",
    "ged_unbiased",
    "ged_ratio",
    "ged_spread",
    "hungarian_iou_balanced",
    "hungarian_iou_best_draws",
    "diversity",
    "empty_samples",
    "sample_dice",
    "dice",
    "median_dice",
    "iou",
    "mean_class_dice",
    "mean_class_iou",
    "ece",
    "nll",
    "error_auroc",
    "error_auroc_information",
    "error_auroc_spread",
    "ause",
    "reconstruction_iou",
    "reconstruction_iou_marked",
]


def foreground_share(image: ComparedImage) -> float:
    """The share of the judged pixels that the single prediction marks."""
    return float((image.label_map != 0)[image.valid].double().mean())


SHARE = MetricRow(
    "foreground_share",
    "marked share",
    "the share of the judged pixels that the single prediction marks",
    better="lower",
    digits=2,
    needs="a judged pixel",
    of_image=foreground_share,
)
OWN = (
    *TABLE[:3],
    SHARE,
    *TABLE[3:],
    MetricRow("median_share", "median share", "its median", over="median", median_of="foreground_share"),
    MetricRow(
        "num_wrong",
        "wrong labels",
        "how many labels are wrong",
        over="pixels",
        of_sums=lambda sums: float(sums.errors.entropy.wrong.sum()),
    ),
    MetricRow("area", "area", "labelled pixels", over="classes", of_sums=lambda sums: sums.classes.labelled),
)


def evaluated(table: tuple[MetricRow, ...]) -> Evaluation:
    source = lesion_source(num_train=2, num_val=5, seed=2, size=36)
    view = ExampleView(source.splits["val"], range(5), Preprocessing(mean=(80.0,), std=(20.0,), center_crop=25), (1,))
    torch.manual_seed(0)
    return evaluate(build_method("unet", channels=(6, 8)).eval(), view, Sampling(3), table=table)


def test_names_and_their_order_stay_as_they_are_read_by_others() -> None:
    evaluation = evaluated(tuple(TABLE))
    assert list(evaluation.totals) == TOTALS
    assert list(evaluation.rows[0]) == COLUMNS
    validated = (
        "ged",
        "ged_unbiased",
        "hungarian_iou_balanced",
        "diversity",
        "dice",
        "iou",
        "ece",
        "nll",
        "reconstruction_iou",
    )
    assert validated == tuple(row.key for row in VALIDATED)
    assert [row.name for row in metric_table(evaluation.totals)] == COMPARED
    assert [column.key for column in known_columns()][2:24] == [*COMPARED]


def test_a_further_row_is_found_everywhere(tmp_path: Path) -> None:
    plain, evaluation = evaluated(tuple(TABLE)), evaluated(OWN)
    totals, rows = evaluation.totals, evaluation.rows
    assert list(totals)[2:7] == ["ged", "ged_unbiased", "ged_oracle", "foreground_share", "ged_ratio"]
    shares = [row["foreground_share"] for row in rows]
    assert totals["foreground_share"] == pytest.approx(np.mean(shares))
    assert totals["median_share"] == pytest.approx(np.median(shares))
    assert totals["num_wrong"] == float(plain.errors.entropy.wrong.sum()) > 0
    assert sum(totals["area"]) == 5 * 4 * 25 * 25  # type: ignore[arg-type]
    subset = totals["subset_b"]
    assert isinstance(subset, dict) and list(subset) == [key for key in totals if key != "subset_b"]
    own = {"foreground_share", "median_share", "num_wrong", "area"}
    assert {key: value for key, value in totals.items() if key not in (*own, "subset_b")} == {
        key: value for key, value in plain.totals.items() if key != "subset_b"
    }
    write_evaluation(named_classes(totals, ["ground", "lesion"]), rows, tmp_path / "e.json", {}, OWN)
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["foreground_share"] == totals["foreground_share"] and list(content["area"]) == ["ground", "lesion"]
    assert "foreground_share: the share of the judged pixels" in content["conventions"]
    assert "foreground_share needs a judged pixel" in content["conventions"]
    with (tmp_path / "e.csv").open(newline="") as stream:
        header = next(csv.reader(stream))
    assert header == [*COLUMNS[:4], "foreground_share", *COLUMNS[4:]]
    report = {row.name: row for row in metric_table(totals, OWN)}
    assert own - {"area"} < set(report)
    assert report["foreground_share"].title == "Marked share"
    assert report["foreground_share"].value == f"{totals['foreground_share']:.2f}"
    assert report["foreground_share"].explanation.endswith("marks. Lower is better.")
    assert list(class_scores(totals, ["ground", "lesion"], OWN).columns) == ["class", "Dice", "IoU", "area"]
    compared = [{"method": name, "foreground_share": share, "ged": 0.5} for name, share in (("a", 0.25), ("b", 0.125))]
    assert [column.key for column in table_columns(compared, known_columns(OWN))] == ["method", "ged", SHARE.key]
    assert "**0.12**" in markdown_table(compared, known_columns(OWN))
    assert "| `foreground_share` | Marked share: the share" in page_maker().figures(OWN)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.key)
def test_a_row_is_whole(row: MetricRow) -> None:
    assert row.over in AVERAGED and row.title and row.sentence and row.sentence[-1] != "."
    assert (row.of_sums is not None) == (row.over in ("pixels", "classes"))
    assert (row.of_image is not None) >= (row.over in ("images", "image"))
    assert bool(row.median_of) == (row.over == "median")
    assert bool(row.ratio_of) == (row.over == "ratio")
    for key in filter(None, (row.raters, row.empty, row.median_of, *(row.ratio_of or ()))):
        assert row_of(key).of_image is not None
    assert not row.is_validated or row.over in ("images", "pixels")


def test_keys_are_different_and_titles_tell_columns_apart() -> None:
    assert len({row.key for row in TABLE}) == len(TABLE)
    titles = [column.title for column in known_columns()]
    assert len(set(titles)) == len(titles)
    with pytest.raises(KeyError):
        row_of("gad")


def test_what_needs_nothing_is_always_there() -> None:
    """And what needs something is missing where that is missing: one rater, one sample, no posterior."""
    row = evaluated(tuple(TABLE)).rows[0]
    missing = {key for key, value in row.items() if isinstance(value, float) and math.isnan(value)}
    # three samples of four raters, no latents, and no posterior
    assert missing == {"ged_spread", "hungarian_iou_best_draws", "reconstruction_iou", "reconstruction_iou_marked"}
    assert all(row_of(key).needs for key in missing)


def test_what_earlier_versions_wrote_is_read_by_the_names_of_today() -> None:
    before = {"num_images": 2, "hungarian_iou": 0.5, "subset_b": {"hungarian_iou": 0.25}, "methods": [{"dice": 1}]}
    assert current_names(before) == {
        "num_images": 2,
        "hungarian_iou_balanced": 0.5,
        "subset_b": {"hungarian_iou_balanced": 0.25},
        "methods": [{"dice": 1}],
    }
    rows = read_metrics(ROOT / "tests" / "runs" / "format_1" / "probabilistic-unet" / "metrics.csv")
    validated = [row for row in rows if "val_ged" in row]
    assert validated and all("val_hungarian_iou_balanced" in row for row in validated)
    keys = {key for row in rows for key in row}
    assert "val_hungarian_iou" not in keys and {f"val_{row.key}" for row in VALIDATED} <= keys
    assert current_names([{"val_ged": 1.0}]) == [{"val_ged": 1.0}]
    assert not RENAMED.keys() & {row.key for row in TABLE} and set(RENAMED.values()) <= {row.key for row in TABLE}


def test_conventions_name_every_figure() -> None:
    for row in TABLE:
        assert f"{row.key}: {row.sentence}" in CONVENTIONS
    for word in ("num_undefined", "subset_b", "flip at random", "null", "d = 1 - IoU"):
        assert word in CONVENTIONS
    assert conventions(OWN) != conventions() == CONVENTIONS


def page_maker() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_metrics", ROOT / "docs" / "make_metrics.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_page_of_metrics_is_current() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert "| `ged` | GED: " in text
    assert page_maker().page(text) == text, "run python docs/make_metrics.py"
