"""Files of predictions: maps in the image's pixels, scores of images and objects, one table for all."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from plurimask.data import DataDescription, ImageSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.methods import build_method
from plurimask.prediction.files import predict, write_predictions
from plurimask.prediction.predict import Sampling

pytestmark = pytest.mark.usefixtures("precision")

HEIGHT, WIDTH = 28, 36
MAPS = ("mean", "entropy", "mutual_information", "variance")


@dataclass
class Listed(ImageSet):
    names: tuple[str, ...]

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(index))


def description() -> DataDescription:
    return lesion_source(num_train=1, num_val=1, size=36).description


def write(out: Path, method: str = "probabilistic-unet", samples: int = 5, **changes: object) -> None:
    torch.manual_seed(0)
    network = build_method(method, channels=(6, 8)).eval()
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,)).model_copy(update=changes)
    predictions = predict(network, Listed(("b", "a", "c/d")), preprocessing, Sampling(samples))
    write_predictions(predictions, description(), out, lambda name: None)


def read(folder: Path) -> dict[str, np.ndarray]:
    return {name: tifffile.imread(folder / f"{name}.tif") for name in MAPS}


def table(out: Path) -> list[dict[str, str]]:
    with (out / "uncertainty.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_maps_have_their_shapes_and_ranges(tmp_path: Path) -> None:
    write(tmp_path)
    maps = read(tmp_path / "a")
    assert {name: one.shape for name, one in maps.items()} == {
        "mean": (2, HEIGHT, WIDTH),
        "entropy": (HEIGHT, WIDTH),
        "mutual_information": (HEIGHT, WIDTH),
        "variance": (2, HEIGHT, WIDTH),
    }
    assert all(one.dtype == np.float32 for one in maps.values())
    assert (maps["mutual_information"] >= 0).all() and maps["mutual_information"].max() > 0
    assert (maps["mutual_information"] <= maps["entropy"] + 1e-6).all()
    assert (maps["variance"] >= 0).all() and 0 < maps["variance"].max() <= 0.25
    np.testing.assert_allclose(maps["variance"][0], maps["variance"][1], atol=1e-6)  # of p and of 1 - p


def test_the_table_holds_the_scores_of_each_image_by_name(tmp_path: Path) -> None:
    (tmp_path / "uncertainty.csv").write_text("of an earlier call")
    write(tmp_path)
    rows = table(tmp_path)
    assert [row["name"] for row in rows] == ["a", "b", "c/d"]
    for row in rows:
        own = json.loads((tmp_path / row["name"] / "uncertainty.json").read_text())
        assert list(row) == ["name", "expected_dice", "mean_entropy", "foreground_entropy", "num_objects"]
        for name in list(row)[1:]:
            assert float(row[name]) == (own[name] if own[name] is not None else pytest.approx(np.nan, nan_ok=True))
        assert int(row["num_objects"]) == len(own["objects"])
        assert 0 <= own["expected_dice"] <= 1
        assert own["mean_entropy"] == pytest.approx(read(tmp_path / row["name"])["entropy"].mean(), rel=1e-5)


def test_objects_lie_where_the_mask_shows_them(tmp_path: Path) -> None:
    write(tmp_path, center_crop=21)
    num_objects = 0
    for name in ("a", "b", "c/d"):
        mask = np.array(Image.open(tmp_path / name / "mask.png"))
        objects = json.loads((tmp_path / name / "uncertainty.json").read_text())["objects"]
        assert sum(one["num_pixels"] for one in objects) == (mask > 0).sum()
        for one in objects:
            (top, bottom), (left, right) = one["bounding_box"]
            inside = mask[top:bottom, left:right] > 0
            assert one["class"] == "lesion" and inside.any(0).all() and inside.any(1).all()
        num_objects += len(objects)
        maps = read(tmp_path / name)
        assert not maps["mutual_information"][0].any() and not maps["variance"][:, :, 0].any()
    assert num_objects > 0


def test_a_run_that_resizes_predicts_in_the_pixels_of_the_image(tmp_path: Path) -> None:
    write(tmp_path, resize=(16, 12), center_crop=24)
    maps, folder = read(tmp_path / "a"), tmp_path / "a"
    assert maps["mean"].shape == maps["variance"].shape == (2, HEIGHT, WIDTH)
    np.testing.assert_allclose(maps["mean"].sum(0), 1, atol=1e-5)
    nats = -(maps["mean"] * np.log(np.clip(maps["mean"], 1e-30, 1))).sum(0)
    np.testing.assert_allclose(maps["entropy"], nats, atol=1e-5)
    for name in ("mask.png", "sample-04.png"):
        assert Image.open(folder / name).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(("method", "samples", "expected"), [("unet", 4, 1.0), ("probabilistic-unet", 1, None)])
def test_a_single_prediction(tmp_path: Path, method: str, samples: int, expected: float | None) -> None:
    write(tmp_path, method, samples)
    own = json.loads((tmp_path / "a" / "uncertainty.json").read_text())
    assert own["expected_dice"] == expected
    assert all(one["expected_dice"] == expected for one in own["objects"])
    assert read(tmp_path / "a")["mutual_information"].max() < 1e-6
    assert table(tmp_path)[0]["expected_dice"] == ("nan" if expected is None else "1.0")
