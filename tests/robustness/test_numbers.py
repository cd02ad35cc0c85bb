"""Numbers with which nothing can be calculated are refused by name, and absurd ones before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from attack import run
from safetensors.torch import load_file, save_file
from stock import FEW, TINY, plain

from plurimask.data import open_data
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError
from plurimask.methods import build_method
from plurimask.prediction.predict import MAX_SAMPLES, Sampling, predict_images
from plurimask.runs.record import read_record
from plurimask.training.weights import packed


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def refused(*words: Path | str) -> str:
    code, printed = run([str(word) for word in words])
    assert code == 2, printed
    return printed.splitlines()[-1]


def commands(run: Path, data: Path, out: Path) -> list[list[Path | str]]:
    """All that uses a run."""
    return [
        ["evaluate", run, data],
        ["predict", run, data / "val" / "images", "--out", out / "p"],
        ["report", run, data, "--out", out / "r.html"],
        ["combine", run, run, "--out", out / "c"],
        ["compare", data, "--runs", run, "--out", out / "cmp"],
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(copy: Path, data: Path, tmp_path: Path, bad: float) -> None:
    tensors = load_file(copy / "weights.safetensors")
    name = sorted(tensors)[1]
    tensors[name].view(-1)[2] = bad
    save_file(tensors, copy / "weights.safetensors")
    for words in commands(copy, data, tmp_path):
        assert f"{name} holds NaN or infinity" in refused(*words)
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        *[("preprocessing", "std", [bad]) for bad in (0.0, -1.0, 1e308, float("nan"))],
        ("preprocessing", "mean", [float("inf")]),
        ("preprocessing", "mean", [1.0, 2.0]),
        ("training", "learning_rate", float("nan")),
        ("config", "num_classes", 3),
        ("data", "class_values", [0, 70_000]),
    ],
)
def test_records_have_bounds(copy: Path, data: Path, tmp_path: Path, part: str, key: str, value: object) -> None:
    record = json.loads((copy / "run.json").read_text())
    record[part][key] = value
    (copy / "run.json").write_text(json.dumps(record))
    for words in commands(copy, data, tmp_path):
        assert "run.json" in refused(*words)


def test_images_that_are_no_numbers_once_normalised(trained: Path, tmp_path: Path) -> None:
    """They are within the bounds of what is read, and beyond those of float32 after a division."""
    narrow = Preprocessing(mean=(0.0,), std=(1e-25,))
    with pytest.raises(InputError, match="plate 7: values as large as 1e\\+17"):
        narrow.image(torch.full((1, 4, 5), 1e17), "plate 7")
    folder = tmp_path / "data"
    plain(folder)
    (folder / "val" / "images" / "i0.png").unlink()
    values = np.full((12, 17), 7.0)
    values[3, 4] = np.nan
    tifffile.imwrite(folder / "val" / "images" / "i0.tif", values)
    assert "i0" in refused("evaluate", trained, folder)
    assert "i0" in refused("predict", trained, folder / "val" / "images", "--out", tmp_path / "out")


@pytest.mark.parametrize("value", ["nan", "inf", "1e30", "0", "-1"])
@pytest.mark.parametrize("option", ["--learning-rate", "--final-learning-rate", "--gradient-clip", "--weight-decay"])
def test_learning_rates_have_bounds(data: Path, tmp_path: Path, option: str, value: str) -> None:
    if value == "0" and option in ("--final-learning-rate", "--weight-decay"):
        pytest.skip("a sensible value")
    words = ["train", data, "--method", "unet", "--out", tmp_path / "run", *TINY, *FEW, option, value]
    assert option[2:].replace("-", "_") in refused(*words).replace("-", "_")
    assert not (tmp_path / "run").exists()


def test_a_training_that_diverges_in_its_last_step_keeps_nothing(data: Path, tmp_path: Path) -> None:
    method = build_method("unet", channels=(4, 4))
    packed(method, None)
    with torch.no_grad():
        next(method.parameters()).view(-1)[0] = float("inf")
    with pytest.raises(InputError, match=r"trained method: .* holds NaN or infinity"):
        packed(method, None)


def test_weights_so_large_that_probabilities_are_none(copy: Path, data: Path, tmp_path: Path) -> None:
    tensors = load_file(copy / "weights.safetensors")
    large = {name: torch.full_like(value, 1e37) for name, value in tensors.items()}
    save_file(large, copy / "weights.safetensors", {"run": read_record(copy).identity or ""})
    assert "NaN in place of probabilities" in refused("evaluate", copy, data)
    assert "NaN in place" in refused("predict", copy, data / "val" / "images", "--out", tmp_path / "out")


@pytest.mark.parametrize("value", ["0", "-3", "1000000", "1e3", "nan"])
def test_numbers_of_samples_and_images_have_bounds(trained: Path, data: Path, tmp_path: Path, value: str) -> None:
    images = data / "val" / "images"
    lines: list[list[Path | str]] = [
        ["evaluate", trained, data, "--samples"],
        ["evaluate", trained, data, "--batch-size"],
        ["predict", trained, images, "--out", tmp_path / "out", "--samples"],
        ["predict", trained, images, "--out", tmp_path / "out", "--batch-size"],
        ["report", trained, data, "--out", tmp_path / "out.html", "--samples"],
        ["figures", trained, data, "--out", tmp_path / "out", "--samples"],
        ["compare", data, "--runs", trained, "--out", tmp_path / "out", "--samples"],
        ["train", data, "--method", "unet", "--out", tmp_path / "out", *TINY[:-2], *FEW, "--batch-size"],
        ["train", data, "--method", "unet", "--out", tmp_path / "out", *TINY, "--validation-samples"],
        ["train", data, "--method", "unet", "--out", tmp_path / "out", *TINY[:4], *FEW, "--channels", "4"],
    ]
    for words in lines:
        assert f"{str(words[-1]).split()[-1]}" in refused(*words, value) or words[-1] == "4"
    assert list(tmp_path.iterdir()) == []


def test_samples_of_python_have_bounds_too() -> None:
    for samples, batch_size in ((0, 16), (MAX_SAMPLES + 1, 16), (16, 0)):
        with pytest.raises(InputError):
            Sampling(samples, 0, batch_size)


def test_memory_is_reckoned_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plurimask.prediction.predict.memory_bytes", lambda: 2**20)
    method = build_method("unet", channels=(4, 4)).eval()
    monkeypatch.setattr(method, "forward", lambda _: pytest.fail("work began"))
    with pytest.raises(InputError, match=r"plate: 4096 samples of 50 x 70 pixels take 0.1 GB.*fewer samples"):
        next(predict_images(method, [("plate", torch.zeros(1, 50, 70))], Sampling(4096)))


@pytest.mark.parametrize("place", ["file/below", "pipe", "n" * 300])
def test_the_place_of_the_output_is_looked_at_first(trained: Path, data: Path, tmp_path: Path, place: str) -> None:
    import os

    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    images, missing = data / "val" / "images", tmp_path / "no run there"  # which would be said if it were read first
    for words in (
        ["predict", missing, images, "--out", tmp_path / place],
        [
            "evaluate",
            missing,
            data,
            "--out",
            (tmp_path / place).with_suffix(".json") if "n" in place[:1] else tmp_path / place / "x.json",
        ],
        ["report", missing, data, "--out", tmp_path / place],
        ["figures", missing, data, "--out", tmp_path / place],
    ):
        assert "--out" in refused(*words) or place == "pipe"
    assert sorted(tmp_path.iterdir()) == before
    assert open_data(data)
