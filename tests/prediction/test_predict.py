"""Files of predictions: maps in the image's pixels, scores of images and objects, one table for all."""

from __future__ import annotations

import csv
import gc
import json
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from plurimask.data import DataDescription, ImageSet
from plurimask.data.images.pixel_size import PixelSize, read_pixel_size
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.errors import InputError
from plurimask.methods import build_method
from plurimask.prediction.files import (
    Outputs,
    Written,
    readings_content,
    samples_content,
    uncertainty_of,
)
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import Predicted, predict
from plurimask.prediction.readings import find_readings
from plurimask.prediction.table import write_predictions

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
    write_predictions(predictions, description(), out, lambda one: None, Outputs(least_object=1))


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


@dataclass
class Sized(Listed):
    """Two of three images know how large their pixels are, and one only for printing."""

    def pixel_size(self, index: int) -> PixelSize | None:
        return [PixelSize(0.5, 0.25, "µm"), PixelSize(1 / 300, 1 / 150, "in"), None][index]


def written_sized(out: Path, outputs: Outputs) -> list[Written]:
    torch.manual_seed(0)
    written: list[Written] = []
    network = build_method("probabilistic-unet", channels=(6, 8)).eval()
    predictions = predict(network, Sized(("a", "b", "c")), Preprocessing(mean=(0.0,), std=(1.0,)), Sampling(7))
    write_predictions(predictions, description(), out, written.append, outputs)
    return written


def test_pixel_size_and_class_names_are_carried_into_tiffs(tmp_path: Path) -> None:
    written_sized(tmp_path, Outputs(stack=True))
    for name in ("mean.tif", "entropy.tif", "samples.tif"):
        with tifffile.TiffFile(tmp_path / "a" / name) as file:
            text, tags = file.ome_metadata, file.pages[0].tags
            assert text is not None
            assert all(
                part in text for part in ('PhysicalSizeY="0.5"', 'PhysicalSizeX="0.25"', 'PhysicalSizeXUnit="µm"')
            )
            assert tags["ResolutionUnit"].value == 3  # centimetres
            assert [np.divide(*tags[f"{axis}Resolution"].value) for axis in "XY"] == [40_000, 20_000]
        with tifffile.TiffFile(tmp_path / "c" / name) as file:
            assert "PhysicalSize" not in str(file.ome_metadata)
        assert read_pixel_size(tmp_path / "a" / name) == PixelSize(0.5, 0.25, "µm")
    with tifffile.TiffFile(tmp_path / "a" / "mean.tif") as file:
        assert [f'Name="{name}"' in str(file.ome_metadata) for name in ("background", "lesion")] == [True, True]
        assert len(file.pages) == 2
    with tifffile.TiffFile(tmp_path / "b" / "mean.tif") as file:
        assert file.pages[0].tags["ResolutionUnit"].value == 2
        assert np.divide(*file.pages[0].tags["XResolution"].value) == 150
        assert "PhysicalSize" not in str(file.ome_metadata)


def test_a_stack_holds_the_samples_in_their_order(tmp_path: Path) -> None:
    written_sized(tmp_path, Outputs(stack=True))
    stack = tifffile.imread(tmp_path / "a" / "samples.tif")
    assert stack.shape == (7, HEIGHT, WIDTH) and stack.dtype == np.uint8
    for number in range(7):
        assert np.array_equal(stack[number], np.array(Image.open(tmp_path / "a" / f"sample-0{number}.png")))
    written_sized(tmp_path, Outputs())
    assert not list(tmp_path.rglob("samples.tif"))  # of the call before


def test_readings_are_written_with_their_areas(tmp_path: Path) -> None:
    for one in written_sized(tmp_path, Outputs()):
        folder = tmp_path / one.predicted.name
        content = json.loads((folder / "readings.json").read_text())
        found = find_readings(one.predicted.samples, (1,), 2)
        assert one.readings == found and content["num_readings"] == len(found) == len(content["readings"])
        assert sum(row["share"] for row in content["readings"]) == pytest.approx(1)
        assert {path.name for path in folder.glob("reading-*")} == {row["file"] for row in content["readings"]}
        for row, reading in zip(content["readings"], found, strict=True):
            shown = np.array(Image.open(folder / row["file"]))
            assert np.array_equal(shown, np.array(Image.open(folder / row["medoid"])))
            areas = [int((np.array(Image.open(folder / file)) == 255).sum()) for file in row["samples"]]
            assert row["pixels"]["lesion"] == [min(areas), max(areas)] and len(areas) == len(reading.members)
            if one.predicted.name == "a":
                assert row["areas"]["lesion"] == pytest.approx([0.125 * min(areas), 0.125 * max(areas)])
            else:
                assert "areas" not in row
        assert content.get("area_unit") == ("µm²" if one.predicted.name == "a" else None)


def predicted_maps(samples: np.ndarray) -> Predicted:
    """With everything but the samples zero."""
    shape = samples.shape[1:]
    nothing, window = np.zeros((2, *shape), np.float32), (slice(0, shape[0]), slice(0, shape[1]))
    return Predicted("x", nothing[:1], samples, nothing, nothing[0], window, shape, nothing[0], nothing)


def test_distinct_maps_are_counted_and_readings_are_not_the_same() -> None:
    samples = np.zeros((5, 6, 7), np.uint8)
    samples[[1, 3, 4], :3] = 1
    samples[3, 3, 0] = 1  # one pixel more is no other reading
    files = [f"{k}.png" for k in range(5)]
    content = samples_content(samples, files, description())
    assert content["num_distinct"] == 3
    assert [distinct["count"] for distinct in content["distinct"]] == [2, 2, 1]
    assert content["distinct"][1]["samples"] == ["1.png", "4.png"]
    assert content["distinct"][1]["pixels"] == {"background": 21, "lesion": 21}
    readings = find_readings(samples, (1,), 2)
    rows = readings_content(readings, files, predicted_maps(samples), description())["readings"]
    assert [row["samples"] for row in rows] == [["1.png", "3.png", "4.png"], ["0.png", "2.png"]]
    assert rows[0]["pixels"]["lesion"] == [21, 22] and rows[0]["medoid"] == "1.png"


def test_specks_have_no_score_but_are_counted() -> None:
    samples = np.zeros((3, 20, 30), np.uint8)
    samples[:, 2:9, 3:8] = samples[:, 12, 12:15] = samples[:, 18, 20] = 1
    predicted = predicted_maps(samples)
    predicted = replace(predicted, mean=np.stack([1 - samples[0], samples[0]]).astype(np.float32))
    every, large = uncertainty_of(predicted, description(), 1), uncertainty_of(predicted, description(), 4)
    assert [row["num_pixels"] for row in every["objects"]] == [35, 3, 1] and every["num_specks"] == 0
    assert large["objects"] == every["objects"][:1]
    assert (large["num_objects"], large["num_specks"], large["least_object"]) == (1, 2, 4)
    with pytest.raises(InputError, match="at least 0 pixels"):
        Outputs(least_object=0)


def test_phases_are_told() -> None:
    told: list[str] = []
    network = build_method("probabilistic-unet", channels=(6, 8)).eval()
    *_, last = predict(
        network, Sized(("a", "b", "c")), Preprocessing(mean=(0.0,), std=(1.0,)), Sampling(3, 0, 2), told.append
    )
    assert last.name == "c"
    assert told[:4] == ["a to b: features", "a to b: mask 3 of 3", "a: writing", "b: writing"]
    assert told[4:] == ["c: features", "c: mask 3 of 3", "c: writing"]


def test_features_are_freed_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the largest thing there is of a large image, and must not wait for a collection of cycles."""
    network, alive = build_method("probabilistic-unet", channels=(6, 8)).eval(), []
    forward = type(network).forward

    def watched(self: torch.nn.Module, images: Tensor) -> object:
        prediction = forward(self, images)
        alive.append(weakref.ref(prediction))
        return prediction

    monkeypatch.setattr(type(network), "forward", watched)
    gc.disable()
    try:
        for _ in predict(network, Listed(("a", "b")), Preprocessing(mean=(0.0,), std=(1.0,)), Sampling(3, 0, 1)):
            assert alive[-1]() is None
    finally:
        gc.enable()
    assert len(alive) == 2
