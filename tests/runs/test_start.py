"""Trainings that go on from another run: what they take over, what they refuse, and that they need it no more."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file

from plurimask import Plan, load_run, open_data, train_run
from plurimask.commands.main import main
from plurimask.data import DataSource
from plurimask.distribution import MixtureSegmentation
from plurimask.errors import InputError
from plurimask.method import TrainingStep
from plurimask.methods.swag import SWAG
from plurimask.runs.combine import combine_runs
from plurimask.runs.prepare import prepare
from plurimask.runs.record import read_record
from plurimask.training import fit
from plurimask.training.config import Hardware
from plurimask.training.log import read_metrics

FAST: dict[str, Any] = {"max_steps": 12, "num_validations": 2, "validation_images": 2, "validation_samples": 3}
STAGE: dict[str, Any] = {**FAST, "burn_in": 2, "collect_every": 2, "draws": 3, "sgd_learning_rate": 0.02}
BASE: dict[str, Any] = {**FAST, "channels": (4, 6), "normalisation": "batch", "batch_size": 3, "crop": 24}


@pytest.fixture(scope="module")
def source(lesion_folder: Path) -> DataSource:
    return open_data(lesion_folder)


@pytest.fixture(scope="module")
def base(source: DataSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a U-Net with other settings than the preset's."""
    folder = tmp_path_factory.mktemp("base") / "run"
    train_run(Plan("unet", settings={**BASE, "ema_decay": None}), source, folder)
    return folder


def stage(start: Path, seed: int = 3, **settings: Any) -> Plan:
    return Plan("swag", settings={**STAGE, **settings}, seed=seed, start=str(start))


def test_a_stage_begins_with_the_weights_and_settings_of_the_run(
    source: DataSource, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, torch.Tensor] = {}
    original = SWAG.update

    def watched(self: SWAG, *args: Any) -> Any:
        if not first:
            first.update({name: value.clone() for name, value in self.base.state_dict().items()})
        return original(self, *args)

    monkeypatch.setattr(SWAG, "update", watched)
    outcome = train_run(prepare(stage(base), source), source, tmp_path / "swag")
    assert outcome["steps"] == 12
    assert all(torch.equal(value, first[name]) for name, value in load_file(base / "weights.safetensors").items())
    of_base, record = read_record(base), read_record(tmp_path / "swag")
    assert record.start is not None
    assert (record.start.folder, record.start.identity) == (str(base.resolve()), of_base.identity)
    assert record.start.steps == 12
    assert record.config["base_settings"]["unet"]["channels"] == [4, 6]
    assert record.preprocessing == of_base.preprocessing
    assert (record.training.crop, record.training.batch_size) == (24, 3)
    rows = read_metrics(tmp_path / "swag" / "metrics.csv")
    assert [row["val_kept"] for row in rows if "val_kept" in row] == [0, 0, 1]
    assert outcome["best_ged"] == pytest.approx(rows[-1]["val_ged"])


def test_the_run_that_was_gone_on_from_is_needed_no_more(source: DataSource, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    train_run(stage(tmp_path / "base"), source, tmp_path / "swag")
    shutil.rmtree(tmp_path / "base")
    (tmp_path / "swag").rename(tmp_path / "moved")
    run = load_run(tmp_path / "moved")
    prediction = run.method(torch.randn(2, 1, 30, 22)).freeze(8)
    assert isinstance(prediction, MixtureSegmentation)
    assert prediction.num_components == 3
    before = load_file(tmp_path / "moved" / "weights.safetensors")
    again = Plan("swag", settings=STAGE, seed=3)
    train_run(again, source, tmp_path / "moved", resume=True)  # as it is over, it is made once more
    after = load_file(tmp_path / "moved" / "weights.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())
    rows = read_metrics(tmp_path / "moved" / "metrics.csv")
    assert [row["val_kept"] for row in rows if "val_kept" in row] == [0, 0, 1]
    longer = Plan("swag", settings={**STAGE, "max_steps": 16}, seed=3)
    assert train_run(longer, source, tmp_path / "moved", resume=True)["steps"] == 16
    for path in (tmp_path / "moved" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no run there"):
        train_run(longer, source, tmp_path / "moved", resume=True)


@pytest.mark.parametrize("killed_at", [1, 5, 10])
def test_a_killed_stage_continues_to_the_digit(
    source: DataSource, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, killed_at: int
) -> None:
    """Killed before weights are collected, and with few and with more deviations."""
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    plan = stage(base, rank=3)
    train_run(plan, source, tmp_path / "whole")
    original = SWAG.after_step

    def die(self: SWAG, step: TrainingStep) -> None:
        if step.index == killed_at:
            raise RuntimeError("power cut")
        original(self, step)

    monkeypatch.setattr(SWAG, "after_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        train_run(plan, source, tmp_path / "cut")
    monkeypatch.setattr(SWAG, "after_step", original)
    train_run(plan, source, tmp_path / "cut", resume=True)
    whole, cut = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut"))
    for name, value in whole.items():
        assert torch.equal(cut[name], value), name


def test_without_a_run_ordinary_training_comes_first(source: DataSource, tmp_path: Path) -> None:
    settings = {**STAGE, "max_steps": 20, "warm_up": 0.4, "base_settings": {"unet": {"channels": (4, 6)}}}
    plan = Plan("swag", settings=settings)
    planned = prepare(plan, source)  # times a copy of it
    assert planned.made is not None
    train_run(plan, source, tmp_path / "run")
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["own"]["trajectory"]["steps"] == 12
    assert state["own"]["trajectory"]["count"] == 5
    assert load_run(tmp_path / "run").method(torch.randn(1, 1, 30, 22)).freeze(8).num_components == 3
    with pytest.raises(InputError, match="give --from RUN, or a --warm-up above 0"):
        train_run(Plan("swag", settings={**settings, "warm_up": 0.0}), source, tmp_path / "other")
    assert not (tmp_path / "other" / "run.json").exists()
    with pytest.raises(InputError, match="--ema-decay None"):
        train_run(Plan("swag", settings={**settings, "ema_decay": 0.9}), source, tmp_path / "other")


def test_what_does_not_fit_the_run_is_refused(source: DataSource, base: Path, tmp_path: Path) -> None:
    for settings, what in (
        ({"base": "dropout-unet"}, "base would differ"),
        ({"base_settings": {"unet": {"channels": (4, 8)}}}, "base_settings would differ"),
        ({"resize": (32, 32)}, "resize would differ"),
    ):
        with pytest.raises(InputError, match=what):
            train_run(stage(base, **settings), source, tmp_path / "run")
    with pytest.raises(InputError, match="not for unet"):
        train_run(Plan("unet", settings=FAST, start=str(base)), source, tmp_path / "run")
    with pytest.raises(InputError, match="no run there"):
        train_run(stage(tmp_path / "nowhere"), source, tmp_path / "run")
    with pytest.raises(InputError, match="trained on other split"):
        named = type(source)(source.description, source.splits, drawn=not source.drawn)
        train_run(stage(base), named, tmp_path / "run")
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").glob("*.json"))


def test_several_devices_are_refused(
    source: DataSource, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process would collect weights of its own."""
    launched: list[Fabric] = []
    monkeypatch.setattr(Fabric, "launch", lambda fabric: launched.append(fabric))
    with pytest.raises(InputError, match="in one process: leave out devices and nodes"):
        train_run(stage(base), source, tmp_path / "run", hardware=Hardware("cpu", devices=2))
    assert [fabric.world_size for fabric in launched] == [2]
    assert not (tmp_path / "run/run.json").exists()


def test_an_ensemble_of_swag_is_joined_or_trained_as_any_other(source: DataSource, base: Path, tmp_path: Path) -> None:
    """Multi-SWAG."""
    for seed in (1, 2):
        train_run(stage(base, seed), source, tmp_path / f"swag-{seed}")
    combine_runs([tmp_path / "swag-1", tmp_path / "swag-2"], tmp_path / "multi")
    images = torch.randn(2, 1, 30, 22)
    mixture = load_run(tmp_path / "multi").method(images).freeze(64)
    assert mixture.num_components == 6
    parts = [load_run(tmp_path / f"swag-{seed}").method(images).freeze(64).mean() for seed in (1, 2)]
    torch.testing.assert_close(mixture.mean(), (parts[0] + parts[1]) / 2)
    own = {
        "base_settings": {"unet": {"channels": (4, 6)}},
        "warm_up": 0.3,
        "burn_in": 1,
        "collect_every": 2,
        "draws": 2,
    }
    settings = {
        **FAST,
        "max_steps": 26,
        "ema_decay": None,
        "members": ("swag", "swag"),
        "member_settings": {"swag": own},
    }
    train_run(Plan("ensemble", settings=settings), source, tmp_path / "trained")
    assert load_run(tmp_path / "trained").method(images).freeze(64).num_components == 4


def test_the_command_goes_on_from_a_run(
    lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of data whose split is drawn by the seed: the stage keeps that of the run, whatever its own seed."""
    data, base, run = tmp_path / "data", tmp_path / "base", tmp_path / "run"
    shutil.copytree(lesion_folder / "train", data)
    fast = "--num-validations 1 --max-steps"
    assert main(["train", str(data), *f"--method unet --channels 4 6 {fast} 6".split(), "--out", str(base)]) == 0
    words = f"--method swag --burn-in 2 --collect-every 2 --draws 3 --sgd-learning-rate 0.02 --seed 5 {fast}"
    command = ["train", str(data), *words.split()]
    assert main([*command, "12", "--from", str(base), "--out", str(run)]) == 0
    assert f"those of {base}" in capsys.readouterr().err
    record = read_record(run)
    assert record.split is not None
    assert record.split == read_record(base).split
    assert record.seed == 5
    with pytest.raises(InputError, match="trained on other split"):
        train_run(stage(base), open_data(data, seed=5), tmp_path / "other")
    assert main(["evaluate", str(run), str(data), "--samples", "4"]) == 0
    again = [*command, "14", "--out", str(run), "--resume"]
    assert main([*again, "--from", str(base)]) == 0
    assert main(again) == 0
    capsys.readouterr()
    for wrong, message in (
        ([*again, "--from", str(tmp_path)], "from would change"),
        ([*command, "9", "--from", str(base), "--out", str(tmp_path / "g"), "--group", "(.)"], "leave it out"),
        (["train", str(data), "--method", "unet", "--from", str(base), "--out", str(tmp_path / "u")], "not for unet"),
    ):
        assert main(wrong) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
