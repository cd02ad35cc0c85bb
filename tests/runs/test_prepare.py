"""A plan before training: made from the data, stored, shown, and in no one's way."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from one_rater import OneRater

from plurimask.commands.main import main
from plurimask.commands.train import next_commands
from plurimask.data import DataSource
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.errors import InputError
from plurimask.methods import build_method
from plurimask.runs.folder import METRICS_FILE
from plurimask.runs.plan import Plan, resolve
from plurimask.runs.prepare import prepare, rises_again
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run
from plurimask.training.batches import TrainingData
from plurimask.training.checkpoint import TrainingJob
from plurimask.training.config import Hardware, TrainingConfig
from plurimask.training.log import read_metrics
from plurimask.training.members import fit_parts
from plurimask.training.timing import TimedMachine

TINY: dict[str, Any] = {"channels": (5, 7), "max_steps": 6}


class Numbers:
    def __init__(self, step: float, image: float) -> None:
        self.step, self.image = step, image

    def step_seconds(self, config: TrainingConfig) -> float:
        return self.step

    def image_seconds(self, config: TrainingConfig) -> float:
        return self.image


@pytest.fixture
def source() -> DataSource:
    return lesion_source(num_train=11, num_val=4, seed=1, size=36)


def test_a_plan_is_stored_and_the_stored_settings_are_those_in_use(source: DataSource, tmp_path: Path) -> None:
    plan = prepare(Plan("unet", settings={**TINY, "batch_size": 3}), source, machine=Numbers(0.5, 0.25))
    assert plan.made is not None
    assert plan.settings["batch_size"] == 3
    train_run(plan, source, tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert record.plan == plan.made
    assert record.training == resolve(plan)[1].model_copy(update={"memory_layout": "channels_last"})
    assert {name: getattr(record.training, name) for name in plan.made.planned} == plan.made.planned
    assert (record.steps, record.undertrained) == (6, True)
    train_run(Plan("unet", settings={"max_steps": 8}), source, tmp_path / "run", resume=True)
    again = read_record(tmp_path / "run")
    assert again.training == record.training.model_copy(update={"max_steps": 8})
    assert (again.plan, again.steps) == (record.plan, 8)


def test_single_raters_ask_for_settings_of_the_method(source: DataSource) -> None:
    alone = {name: OneRater(part) for name, part in source.splits.items()}
    single = replace(source, splits=alone)
    tiny = {"channels": (5, 7), "max_steps": 3}
    chosen = {}
    for words, data, settings in (
        ("several raters", source, tiny),
        ("one", single, tiny),
        ("one, given", single, {**tiny, "prior_share": 0.25}),
    ):
        plan = prepare(Plan("probabilistic-unet", settings=settings), data, machine=Numbers(0.1, 0.01))
        assert plan.made is not None
        chosen[words] = (plan.settings.get("prior_share"), plan.made.planned.get("prior_share"))
        assert any("prior_share 0.5 for single raters" in line for line in plan.made.reasons) == (words == "one")
    assert chosen == {"several raters": (None, None), "one": (0.5, 0.5), "one, given": (0.25, None)}


def test_a_method_for_which_raters_cost_nothing_draws_all_of_them(source: DataSource) -> None:
    """The cheapest that a plan has draws one; a person's number stays."""
    tiny = {"channels": (5, 7), "max_steps": 1000}
    drawn = {}
    for name, own in (("probabilistic-unet", {}), ("energy-score-unet", {"sampled_scales": 1})):
        for given in ({}, {"raters_per_step": 2}):
            plan = prepare(Plan(name, settings={**tiny, **own, **given}), source, machine=Numbers(9.0, 0.01))
            drawn[name, len(given)] = resolve(plan)[1].raters_per_step
    assert drawn["probabilistic-unet", 0] == 1
    assert drawn["energy-score-unet", 0] == source.splits["train"][0].labels.shape[0] == 4
    assert drawn["energy-score-unet", 1] == 2


def test_preparation_counts_for_a_budget_of_minutes(source: DataSource, tmp_path: Path) -> None:
    """By a clock that moves by nine seconds at each look: of the six seconds of the budget half at most is counted."""
    times = count(step=9)
    settings = {"channels": (5, 7), "max_minutes": 0.1}
    plan = prepare(Plan("unet", settings=settings), source, machine=Numbers(0.1, 0.01), clock=lambda: next(times))
    assert plan.made is not None
    assert plan.made.preparation_seconds == 3
    assert plan.made.seconds == 3
    train_run(plan, source, tmp_path / "run")
    assert read_metrics(tmp_path / "run" / METRICS_FILE)[0]["minutes"] >= 3 / 60


def test_members_share_what_preparation_left_of_the_minutes(source: DataSource, tmp_path: Path) -> None:
    shares = []

    def fit(part: object, data: object, config: TrainingConfig, job: TrainingJob) -> dict[str, Any]:
        shares.append((config.max_minutes, job.spent))
        return {"steps": 1, "minutes": 0.0, "stopped": False}

    members = {"members": ("unet", "unet"), "member_settings": {"unet": {"channels": (5, 7)}}}
    ensemble = build_method("ensemble", image_channels=1, num_classes=2, **members)
    data = TrainingData(source.splits["train"], None, Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    fit_parts(ensemble, data, TrainingConfig(max_minutes=10), TrainingJob(tmp_path, spent=120.0), fit)
    assert shares == [(4.0, 0.0), (4.0, 0.0)]


def test_a_run_with_enough_steps_has_no_stamp(
    source: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plurimask.runs.train.NEEDED_STEPS", 3)
    own = {"max_steps": 6, "member_settings": {"unet": {"channels": (5, 7)}}}
    train_run(Plan("ensemble", settings={**own, "members": ("unet", "unet")}), source, tmp_path / "two")
    assert not read_record(tmp_path / "two").undertrained
    train_run(Plan("ensemble", settings={**own, "members": ("unet",) * 3}), source, tmp_path / "three")
    assert read_record(tmp_path / "three").undertrained


def test_presets_of_papers_and_several_devices_are_not_planned(source: DataSource) -> None:
    paper = Plan("unet", "lidc")
    assert prepare(paper, source, machine=Numbers(1.0, 1.0)) is paper
    small = Plan("unet")
    assert prepare(small, source, Hardware("cpu", 2)) is small
    with pytest.raises(InputError, match="no split 'train'"):
        prepare(small, DataSource(source.description, {"val": source.splits["val"]}, drawn=False))


@pytest.mark.parametrize("name", ["probabilistic-unet", "ensemble", "lightweight-probabilistic"])
def test_the_plan_changes_no_weights(source: DataSource, tmp_path: Path, name: str) -> None:
    """Timing leaves the method and torch's random numbers as they were."""
    own = {} if name == "ensemble" else {"channels": (5, 7)}
    torch.manual_seed(5)
    method = build_method(name, **own)
    data = TrainingData(source.splits["train"], source.splits["val"], Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    state = torch.random.get_rng_state()
    ticks = iter(range(100))
    machine = TimedMachine(method.parts()[0], data, clock=lambda: float(next(ticks)))
    config = TrainingConfig(max_steps=5, batch_size=2, validation_samples=2, crop=24, crop_on_objects=0.5)
    assert machine.step_seconds(config) > 0
    assert machine.image_seconds(config) > 0
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_command_shows_the_plan_and_stops(
    lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["train", str(lesion_folder), "--method", "unet", "--channels", "6", "8", "--out", str(tmp_path / "r")]
    assert main([*arguments, "--plan", "--max-steps", "600"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert "600 steps" in lines[0]
    assert list(tmp_path.iterdir()) == []
    assert main([*arguments, "--plan", "--max-steps", "30"]) == 0
    assert "warning: 30 steps are fewer than the 500" in capsys.readouterr().err
    assert main([*arguments, "--max-steps", "4"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--plan", "--resume"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_a_larger_budget_is_said_to_raise_the_learning_rate(
    lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(lesion_folder), "--method", "unet", "--channels", "6", "8", "--out", str(out)]
    assert main([*arguments, "--max-steps", "10", "--warmup-steps", "0"]) == 0
    record = read_record(out)
    assert rises_again(out, record, Plan("unet")) is None
    assert rises_again(out, record, Plan("unet", settings={"max_steps": 10})) is None
    said = rises_again(out, record, Plan("unet", settings={"max_steps": 20}))
    assert said is not None
    assert "rises again to 5.0e-04: 50% of the new budget" in said
    capsys.readouterr()
    assert main([*arguments, "--resume", "--max-steps", "20"]) == 0
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_the_next_commands_work_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, data = Path("my runs/a [1] $HOME's"), Path("-data")
    text = next_commands(run, data, ["train", "val"])
    evaluate, report = text.removeprefix("Next: ").split("   or   ")
    assert shlex.split(evaluate) == ["plurimask", "evaluate", str(run), "./-data"]
    assert shlex.split(report) == ["plurimask", "report", str(run), "./-data", "--out", "report.html"]
    Path("report.html").touch()
    Path("report-2.html").touch()
    assert next_commands(run, data, ["train", "test"]).endswith("--split test --out report-3.html")
    assert "--split train" in next_commands(run, data, ["train"])


def test_what_is_printed_next_can_be_run(
    lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.html").write_text("mine")
    out = tmp_path / "a [bold] run"
    arguments = ["--method", "unet", "--channels", "6", "8", "--max-steps", "4", "--validation-samples", "2"]
    assert main(["train", str(lesion_folder), *arguments, "--out", str(out)]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    for command in last.removeprefix("Next: ").split("   or   "):
        assert main(shlex.split(command)[1:]) == 0
    assert "Not trained: " in Path("report-2.html").read_text()
    assert json.loads((out / "run.json").read_text())["undertrained"]
