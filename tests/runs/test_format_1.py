"""Run folders of format 1, as an earlier version wrote them: they load, predict the same, and train on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from plurimask import Plan, load_run, open_data, train_run
from plurimask.data import open_images
from plurimask.prediction.predict import Sampling, predict_images

HERE = Path(__file__).parent / "format_1"
RUNS = ("probabilistic-unet", "hierarchical-probabilistic-unet")


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the folders were made."""
    monkeypatch.setattr("plurimask.prediction.device.has_fast_bf16", lambda device: False)


@pytest.mark.parametrize("name", RUNS)
def test_its_weights_predict_the_same_masks(name: str) -> None:
    run = load_run(HERE / name)
    images = open_images(HERE / "data" / "val" / "images", run.record.data.channel_names)
    pairs = [(name, run.record.preprocessing.image(images[number])) for number, name in enumerate(images.names)]
    (batch,) = predict_images(run.method, pairs, Sampling(6, seed=2))
    with np.load(HERE / "predicted.npz") as before:
        assert batch.names == before[f"{name}.names"].tolist()
        np.testing.assert_allclose(batch.statistics.mean().cpu().numpy(), before[f"{name}.mean"], atol=1e-5)
        differing = batch.samples.cpu().numpy() != before[f"{name}.maps"]
    assert differing.mean() < 1e-3  # ties, which processors round differently


@pytest.mark.parametrize("name", RUNS)
def test_its_training_continues_to_the_same_weights(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(HERE / name, folder)
    plan = Plan(name, settings={"max_steps": 14}, seed=1)
    outcome = train_run(plan, open_data(HERE / "data"), folder, resume=True)
    assert outcome["steps"] == 14
    assert json.loads((folder / "run.json").read_text())["training"]["max_steps"] == 14
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["step"] == 14
    started, expected = (load_file(HERE / name / f"{which}.safetensors") for which in ("weights", "resumed"))
    resumed = load_file(folder / "weights.safetensors")
    assert resumed.keys() == expected.keys()
    for key, value in resumed.items():
        torch.testing.assert_close(value, expected[key], atol=2e-6, rtol=1e-5, msg=key)
    moved = max(float((value - expected[key]).abs().max()) for key, value in started.items())
    assert moved > 1e-4  # far more than the tolerance
