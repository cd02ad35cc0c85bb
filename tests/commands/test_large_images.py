"""Images that are larger than the memory: in tiles as whole, continued after a kill, within what was stated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from large_world import mosaic, tiny_run
from numpy.typing import NDArray
from PIL import Image

from plurimask.commands.main import main
from plurimask.errors import InputError
from plurimask.files.memory import memory_limit, parse_memory
from plurimask.prediction import device
from plurimask.prediction.budget import Budget
from plurimask.prediction.records import FOLDER, TileRecords
from plurimask.prediction.tiled import TiledSegmentation
from plurimask.prediction.tiles import TilePlan, plan_tiles

pytest.importorskip("zarr", reason="zarr is not installed: pip install 'plurimask[large]'")

HEIGHT, WIDTH = 557, 431


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("large"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "wide.tif"
    settings: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, mosaic(HEIGHT, WIDTH), tile=(128, 128), photometric="minisblack", **settings)
    return path


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """As if there were room for some hundred pixels at once, and for results or not."""
    monkeypatch.setattr(device, "has_fast_bf16", lambda _: False)

    def set_up(holds: bool) -> None:
        def plan(budget: Budget, size: tuple[int, ...], beside: float = 0.0) -> TilePlan:
            halo = budget.field.halo
            assert halo is not None and max(halo) < 64
            return plan_tiles(size, halo, (0, 0), (128, 128), 280 * 280)

        monkeypatch.setattr(Budget, "fits", lambda budget, size: False)
        monkeypatch.setattr(Budget, "holds", lambda budget, size: holds)
        monkeypatch.setattr(Budget, "plan", plan)

    return set_up


def predict(run: Path, image: Path, out: Path, *more: str) -> Path:
    assert main(["predict", str(run), str(image), "--samples", "5", "--out", str(out), *more]) == 0
    return out / image.stem


def array(folder: Path, name: str) -> NDArray[Any]:
    import zarr

    return np.asarray(zarr.open_array(folder / name, mode="r")[:])


def same_share(first: NDArray[Any], second: NDArray[Any]) -> float:
    assert first.shape == second.shape
    return float((first == second).mean())


def test_arrays_hold_what_files_of_the_whole_image_hold(
    run: Path, image: Path, tmp_path: Path, small_memory: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(device, "has_fast_bf16", lambda _: False)
        whole = predict(run, image, tmp_path / "whole")
    small_memory(False)
    tiled = predict(run, image, tmp_path / "tiled")
    mean = tiled / "mean.ome.zarr"
    labels = {"mask": "mask.png", **{f"sample-{number:02d}": f"sample-{number:02d}.png" for number in range(5)}}
    for label, file in labels.items():
        assert same_share(array(mean, f"labels/{label}/0"), np.asarray(Image.open(whole / file))) > 1 - 1e-4
    np.testing.assert_allclose(array(mean, "0"), tifffile.imread(whole / "mean.tif"), atol=2e-3)
    for name in ("entropy", "mutual_information", "variance"):
        found = array(tiled / f"{name}.ome.zarr", "0")
        np.testing.assert_allclose(found, tifffile.imread(whole / f"{name}.tif"), atol=2e-3)
    for name in ("samples", "readings", "uncertainty"):
        first, second = (json.loads((folder / f"{name}.json").read_text()) for folder in (whole, tiled))
        if name == "uncertainty":
            for key in ("expected_dice", "mean_entropy", "foreground_entropy"):
                assert second[key] == pytest.approx(first[key], rel=1e-3, abs=1e-4)
            assert second["num_objects"] == first["num_objects"] and second["level"] == 0
        elif name == "samples":
            assert second["num_distinct"] == first["num_distinct"]
        else:
            assert [one["share"] for one in second["readings"]] == [one["share"] for one in first["readings"]]
            assert second["readings"][0]["file"].startswith("mean.ome.zarr/labels/sample-")
    assert not (tiled / FOLDER).exists() and (tiled / "overview.png").is_file()


def test_arrays_say_what_they_are(run: Path, image: Path, tmp_path: Path, small_memory: Callable[[bool], None]) -> None:
    import zarr

    small_memory(False)
    folder = predict(run, image, tmp_path / "p")
    group = zarr.open_group(folder / "mean.ome.zarr", mode="r")
    about = group.attrs["ome"]
    (multiscale,) = about["multiscales"]
    assert about["version"] == "0.5" and [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert multiscale["axes"][1] == {"name": "y", "type": "space", "unit": "centimeter"}
    scales = [one["coordinateTransformations"][0]["scale"] for one in multiscale["datasets"]]
    assert scales == [[1.0, 5e-5, 5e-5], [1.0, 1e-4, 1e-4]]
    assert group["0"].shape == (2, HEIGHT, WIDTH) and group["1"].shape == (2, 279, 216)
    assert group["labels"].attrs["ome"]["labels"][:2] == ["mask", "sample-00"]
    label = group["labels/sample-00"].attrs["ome"]
    assert label["image-label"]["properties"] == [{"label-value": 255, "class": "foreground"}]
    assert group["labels/sample-00/0"].dtype == np.uint8
    finest, coarser = array(folder, "mean.ome.zarr/0").astype(np.float32), array(folder, "mean.ome.zarr/1")
    blocks = finest[:, :556, :430].reshape(2, 278, 2, 215, 2).mean((2, 4))
    np.testing.assert_allclose(coarser[:, :278, :215], blocks, atol=2e-3)
    mask = array(folder, "mean.ome.zarr/labels/mask/0")
    assert np.array_equal(array(folder, "mean.ome.zarr/labels/mask/1"), mask[::2, ::2])
    outlines = json.loads((folder / "mask.geojson").read_text())["features"]
    assert {one["properties"]["classification"]["name"] for one in outlines} <= {"foreground"}
    assert main(["predict", str(run), str(folder / "mean.ome.zarr"), "--out", str(tmp_path / "x")]) == 2  # 2 channels


def test_a_killed_prediction_goes_on_and_ends_the_same(
    run: Path,
    image: Path,
    tmp_path: Path,
    small_memory: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_memory(False)
    expected = predict(run, image, tmp_path / "expected")
    written, computed = [], []
    write, compute = TileRecords.write, TiledSegmentation.statistics_at

    def killed(records: TileRecords, kind: str, number: int, content: Any) -> None:
        if len(written) == 10:
            raise KeyboardInterrupt
        write(records, kind, number, content)
        written.append((kind, number))

    def counted(tiled: TiledSegmentation, tile: Any, *rest: Any) -> Any:
        computed.append(tile.number)
        return compute(tiled, tile, *rest)

    monkeypatch.setattr(TileRecords, "write", killed)
    assert main(["predict", str(run), str(image), "--samples", "5", "--out", str(tmp_path / "p")]) == 130
    monkeypatch.setattr(TileRecords, "write", write)
    monkeypatch.setattr(TiledSegmentation, "statistics_at", counted)
    found = predict(run, image, tmp_path / "p")
    finished = [number for kind, number in written if kind == "tile"]
    assert finished and computed and not set(finished) & set(computed)
    for one in sorted(expected.rglob("*")):
        if one.is_file() and one.name != "finished.json":
            assert (found / one.relative_to(expected)).read_bytes() == one.read_bytes(), one


def test_results_that_fit_are_ordinary_files(
    run: Path, image: Path, tmp_path: Path, small_memory: Callable[[bool], None]
) -> None:
    small_memory(True)
    tiled = predict(run, image, tmp_path / "tiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget, "fits", lambda budget, size: True)
        whole = predict(run, image, tmp_path / "whole")
    files = {path.name for path in whole.iterdir()}
    assert {path.name for path in tiled.iterdir()} == files and "mean.tif" in files
    first, second = (np.asarray(Image.open(folder / "sample-03.png")) for folder in (whole, tiled))
    assert same_share(first, second) > 1 - 1e-4


def test_evaluation_in_tiles_has_the_same_figures(
    run: Path, tmp_path: Path, small_memory: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, found = run.parent / "data", {}
    monkeypatch.setattr(Budget, "fits", lambda budget, size: True)
    for name in ("whole", "tiles"):
        out = tmp_path / f"{name}.json"
        assert main(["evaluate", str(run), str(data), "--samples", "4", "--out", str(out)]) == 0
        found[name] = json.loads(out.read_text())
        small_memory(True)
        monkeypatch.setattr(
            Budget, "plan", lambda budget, size, beside: plan_tiles(size, budget.field.halo, (0, 0), (16, 16), 48 * 48)
        )
    for key in ("ged", "dice", "diversity", "nll"):
        assert found["tiles"][key] == pytest.approx(found["whole"][key], rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("words", ["4", "4 potatoes", "-3GB", "100MB"])
def test_odd_memory_is_refused(words: str) -> None:
    with pytest.raises(InputError, match="--memory"):
        parse_memory(words)


def test_memory_in_words() -> None:
    assert parse_memory("4GB") == 4 * 10**9 and parse_memory("700 MB") == 7 * 10**8
    assert parse_memory(None) == int(0.8 * memory_limit())


PEAK = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "plurimask", *sys.argv[1:]]).returncode
print("PEAK", code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_stated_memory_is_kept(run: Path, tmp_path: Path) -> None:
    """3,000 x 3,000 pixels within 700 MB, of which Python, torch and matplotlib take some 450."""
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, mosaic(3000, 3000), tile=(256, 256), photometric="minisblack")
    predict_it = ["predict", str(run), str(path), "--samples", "4", "--memory", "700MB", "--out", str(tmp_path / "p")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PEAK, *predict_it], capture_output=True, text=True, env=environment)
    _, code, peak = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    assert (tmp_path / "p" / "large" / "mean.ome.zarr" / "labels" / "sample-03").is_dir()
    assert int(peak) < 700, f"{peak} MB"
