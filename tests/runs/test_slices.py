"""Runs on the slices of volumes: trained on images, evaluated on whole volumes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from volume_world import ball_source

from plurimask.data.worlds.lesions import lesion_source
from plurimask.errors import InputError
from plurimask.evaluation.evaluate import Evaluation, ExampleView, evaluate
from plurimask.evaluation.writing import write_volumes
from plurimask.metrics.table import TABLE
from plurimask.metrics.volume_table import with_volumes
from plurimask.prediction.predict import Sampling
from plurimask.prediction.slices import SliceBySlice, underneath
from plurimask.runs.combine import combine_runs
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.prepare import prepare
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run

SETTINGS: dict[str, Any] = {"slices": 0, "max_steps": 3, "batch_size": 3, "num_validations": 1, "validation_images": 4}


def trained(out: Path, method: str = "probabilistic-unet", **settings: Any) -> Path:
    plan = Plan(method, "small", {"channels": (6, 8), **SETTINGS, **settings})
    train_run(prepare(plan, ball_source()), ball_source(), out)
    return out


def evaluated(run: Path, draws: Any = None) -> Evaluation:
    loaded, examples = load_run(run, draws), ball_source().splits["val"]
    view = ExampleView(examples, range(len(examples)), loaded.record.preprocessing, (1,))
    return evaluate(loaded.method, view, Sampling(5), table=with_volumes(TABLE))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run")


def test_a_run_on_slices_sees_whole_volumes_again(run: Path, tmp_path: Path) -> None:
    record = read_record(run)
    assert (record.preprocessing.slices, record.data.spatial_dims, record.training.slices) == (0, 3, 0)
    method = load_run(run).method
    assert isinstance(method, SliceBySlice) and underneath(method).config.image_channels == 1
    result = evaluated(run)
    assert [row["name"] for row in result.rows] == [f"ball-1-{number}" for number in range(4)]
    assert result.totals["num_images"] == 4
    for row in result.rows:
        millilitres = row["volume_crps_voxels"] * 0.7 * 0.6 * 2.5 / 1000
        assert row["volume_crps"] == pytest.approx(millilitres)
        assert math.isfinite(row["neighbour_iou_raters"])
    write_volumes(result.volumes, tmp_path / "volumes.csv", ("background", "ball"))
    lines = (tmp_path / "volumes.csv").read_text().splitlines()
    assert len(lines) == 5 and lines[1].startswith("ball-1-0,ball,ml,")


def test_each_slice_may_have_draws_of_its_own(run: Path) -> None:
    shared, independent = evaluated(run), evaluated(run, "independent")
    assert [row["ged"] for row in shared.rows] != [row["ged"] for row in independent.rows]
    assert [row["ged"] for row in shared.rows] == [row["ged"] for row in evaluated(run, "shared").rows]


def test_training_goes_on_with_the_same_slices(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", max_steps=4)
    parted = trained(tmp_path / "parted", max_steps=4)
    plan = Plan("probabilistic-unet", "small", {"max_steps": 6})
    for folder in (whole, parted):
        train_run(plan, ball_source(), folder, resume=True)
    ours, theirs = (load_run(folder).method.state_dict() for folder in (whole, parted))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert read_record(parted).steps == 6


def test_runs_on_slices_are_joined_and_gone_on_from(run: Path, tmp_path: Path) -> None:
    combine_runs([run, run], tmp_path / "both")
    assert read_record(tmp_path / "both").preprocessing.slices == 0
    assert len(evaluated(tmp_path / "both").rows) == 4
    settings = {"max_steps": 6, "burn_in": 0, "collect_every": 1, "rank": 2, "draws": 2, "num_validations": 1}
    known = Plan("swag", "small", settings, start=str(run))
    train_run(known, ball_source(), tmp_path / "swag")
    assert read_record(tmp_path / "swag").preprocessing.slices == 0
    assert len(evaluated(tmp_path / "swag").rows) == 4


def test_slices_of_images_and_draws_of_slices_that_there_are_not_are_refused(tmp_path: Path) -> None:
    source = lesion_source(num_train=4, num_val=2, size=36)
    plan = Plan("unet", "small", {"channels": (6, 8), **SETTINGS})
    with pytest.raises(InputError, match="slices are of volumes: leave out --slices"):
        train_run(plan, source, tmp_path / "flat")
    with pytest.raises(InputError, match="slices are of volumes: leave out --slices"):
        prepare(plan, source)
    train_run(Plan("unet", "small", {"channels": (6, 8), "max_steps": 1, "batch_size": 2}), source, tmp_path / "run")
    with pytest.raises(InputError, match="was not trained with --slices: leave out --slice-draws"):
        load_run(tmp_path / "run", "shared")
