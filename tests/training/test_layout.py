"""The memory layout of a training: the faster one, timed once, recorded, and kept by whoever continues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from plurimask.data import DataSource
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.errors import InputError
from plurimask.method import SegmentationMethod
from plurimask.methods import build_method
from plurimask.methods.probabilistic_unet import ProbabilisticUNet
from plurimask.prediction.device import training_layouts
from plurimask.runs.plan import Plan
from plurimask.runs.prepare import prepare
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run
from plurimask.training import fit
from plurimask.training.batches import TrainingData
from plurimask.training.config import TrainingConfig
from plurimask.training.timing import TimedMachine

TINY: dict[str, Any] = {"channels": (6, 8), "batch_size": 3, "max_steps": 8, "validation_samples": 2}


@pytest.fixture
def source() -> DataSource:
    return lesion_source(num_train=7, num_val=3, seed=1, size=36)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A processor where either layout may be faster, with made-up seconds of a step."""
    seconds = {"channels_last": 1.0, "contiguous": 0.7}
    monkeypatch.setattr("plurimask.prediction.device.has_fast_bf16", lambda device: False)
    monkeypatch.setattr("plurimask.training.timing.training_layouts", training_layouts)
    monkeypatch.setattr(TimedMachine, "_step_seconds", lambda self, config, layout: seconds[layout])
    return seconds


def machine(source: DataSource) -> TimedMachine:
    data = TrainingData(source.splits["train"], None, Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    return TimedMachine(build_method("unet", channels=(5, 7)), data)


@pytest.mark.parametrize(
    ("contiguous", "expected"), [(0.7, "contiguous"), (0.97, "channels_last"), (2.0, "channels_last")]
)
def test_the_usual_layout_stays_where_the_other_gains_little(
    source: DataSource, asked: dict[str, float], contiguous: float, expected: str
) -> None:
    asked["contiguous"] = contiguous
    config, timed = TrainingConfig(max_steps=5), machine(source)
    assert timed.layout(config) == expected
    assert timed.step_seconds(config) == asked[expected]
    asked.clear()  # nothing is timed again
    assert timed.layout(config) == expected


def test_a_given_layout_is_not_timed(source: DataSource, asked: dict[str, float]) -> None:
    asked.clear()
    assert machine(source).layout(TrainingConfig(max_steps=5, memory_layout="contiguous")) == "contiguous"


def test_both_are_timed_where_either_may_be_faster(source: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plurimask.prediction.device.has_fast_bf16", lambda device: False)
    monkeypatch.setattr("plurimask.training.timing.training_layouts", training_layouts)
    timed, seen = machine(source), []
    timed.method.features.encoder.blocks[0][0].register_forward_hook(
        lambda module, given, out: seen.append((given[0].dtype, given[0].is_mkldnn))
    )
    before = {key: value.clone() for key, value in timed.method.state_dict().items()}
    assert timed.layout(TrainingConfig(max_steps=5, batch_size=2)) in ("channels_last", "contiguous")
    assert seen == [(torch.float32, False)] * 3 + [(torch.float32, True)] * 3  # only contiguous ones are chained
    assert all(torch.equal(value, before[key]) for key, value in timed.method.state_dict().items())


def test_the_choice_is_recorded_and_kept_to_the_bit(
    source: DataSource, tmp_path: Path, asked: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    plan = Plan("probabilistic-unet", settings={**TINY, "ema_decay": 0.9}, seed=2)
    train_run(plan, source, tmp_path / "whole")
    assert read_record(tmp_path / "whole").training.memory_layout == "contiguous"

    def die(self: SegmentationMethod, step: Any) -> None:
        if step.index == 4:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(ProbabilisticUNet, "after_step", die)
        with pytest.raises(RuntimeError, match="power cut"):
            train_run(plan, source, tmp_path / "cut")
    asked.clear()  # whoever times now, fails
    assert train_run(Plan("probabilistic-unet", seed=2), source, tmp_path / "cut", resume=True)["steps"] == 8
    whole, cut = (torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "cut"))
    for part in ("method", "average"):
        assert all(torch.equal(cut[part][key], value) for key, value in whole[part].items())


def test_a_run_from_before_keeps_its_layout(source: DataSource, tmp_path: Path, asked: dict[str, float]) -> None:
    train_run(Plan("unet", settings=TINY), source, tmp_path / "run")
    path = tmp_path / "run/run.json"
    content = json.loads(path.read_text())
    del content["training"]["memory_layout"]
    path.write_text(json.dumps(content))
    asked.clear()
    assert train_run(Plan("unet", settings={"max_steps": 9}), source, tmp_path / "run", resume=True)["steps"] == 9
    assert read_record(tmp_path / "run").training.layout == "channels_last"
    with pytest.raises(InputError, match="memory_layout would change"):
        train_run(Plan("unet", settings={"memory_layout": "contiguous"}), source, tmp_path / "run", resume=True)


def test_a_plan_times_it_once_for_all_of_its_steps(source: DataSource, asked: dict[str, float]) -> None:
    plan = prepare(Plan("unet", settings=TINY), source)
    assert plan.settings["memory_layout"] == "contiguous"
    assert plan.made is not None
    assert plan.made.step_seconds == asked["contiguous"]
