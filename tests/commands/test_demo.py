"""The demo leaves what it promises, and its comparison with the truth can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import plurimask.commands.demo_world as demo_module
from plurimask.commands.demo_world import TruthComparison, compare_with_truth, demo
from plurimask.commands.main import main
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.methods import build_method
from plurimask.runs.load import Run
from plurimask.runs.record import RunRecord
from plurimask.training.config import TrainingConfig


@pytest.mark.slow
def test_demo_leaves_run_data_truth_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"NUM_TRAIN": 8, "NUM_VAL": 3, "NUM_TEST": 4, "NUM_SHOWN": 2, "TRUTH_SAMPLES": 5}
    for name, value in small.items():
        monkeypatch.setattr(demo_module, name, value)
    monkeypatch.setattr(demo_module, "SETTINGS", {"channels": (6, 8), "num_validations": 1})
    scores = demo(tmp_path / "demo", minutes=0.02)
    assert 0 <= scores["empty_error"] <= 1
    content = json.loads((tmp_path / "demo" / "truth.json").read_text())
    assert content["ged_unbiased"] == scores["ged_unbiased"]
    assert "known truth" in (tmp_path / "demo" / "report.html").read_text()
    assert len(list((tmp_path / "demo" / "data" / "test" / "images").iterdir())) == 2
    assert (tmp_path / "demo" / "run" / "weights.safetensors").exists()
    assert main(["evaluate", str(tmp_path / "demo" / "run"), str(tmp_path / "demo" / "data"), "--split", "test"]) == 0


def test_the_demo_says_how_to_look_at_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = dict.fromkeys(("ged", "ged_oracle", "ged_unbiased", "empty_error"), 0.5)
    monkeypatch.setattr(demo_module, "demo", lambda out, minutes, seed: scores)
    out = tmp_path / "my demo"
    assert main(["demo", "--out", str(out)]) == 0
    assert f"plurimask view '{out / 'run'}' '{out / 'data'}'\n" in capsys.readouterr().err


def test_a_method_that_never_sees_anything_errs_by_what_is_known() -> None:
    """With all logits in favour of background every sample is empty, and the errors have a closed form."""
    source = lesion_source(num_train=1, num_val=1, num_test=6, size=36)
    method = build_method("unet", channels=(4, 5)).eval()
    with torch.no_grad():
        method.scores.bias.copy_(torch.tensor([60.0, -60.0]))  # type: ignore[union-attr, operator]
    record = RunRecord(
        method="unet",
        preset="small",
        config={},
        training=TrainingConfig(max_steps=1),
        data=source.description,
        preprocessing=Preprocessing(mean=(80.0,), std=(20.0,)),
        split=None,
        group=None,
        seed=0,
        packages={},
    )
    truth = compare_with_truth(Run(Path(), record, method), source)
    world = source.splits["test"]
    known = [world.truth(index) for index in range(6)]  # type: ignore[attr-defined]
    assert truth.empty_share.tolist() == [1.0] * 6
    assert truth.empty_error == pytest.approx(np.mean([1 - one.empty_probability for one in known]))
    means = [one.mean() for one in known]
    assert truth.pixel_error == pytest.approx(np.mean([mean[mean > 0].mean() for mean in means]), abs=1e-4)


def test_the_error_is_a_mean_of_absolute_differences() -> None:
    assert TruthComparison(np.array([0.2, 0.6]), np.array([0.5, 0.5]), 0.0).empty_error == pytest.approx(0.2)
