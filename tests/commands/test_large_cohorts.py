"""Tiles of images that are larger than the memory, as tasks of Dask's workers: what one process gives, to the byte."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import tifffile
from large_world import mosaic, tiny_run
from processes import start, tree, workers_of

from plurimask.commands import predict_tasks
from plurimask.commands.main import main
from plurimask.commands.predict_tasks import BlockTask, LastTask, Task, TilesUnderWay, TileTask, predict_task
from plurimask.commands.predict_work import PredictJob
from plurimask.prediction import device
from plurimask.prediction.budget import Budget
from plurimask.prediction.files import Outputs
from plurimask.prediction.predict import Sampling
from plurimask.prediction.records import FOLDER
from plurimask.prediction.tiles import TilePlan, plan_tiles
from plurimask.runs.load import load_run

pytest.importorskip("zarr", reason="zarr is not installed: pip install 'plurimask[large]'")

SAMPLES = "3"
MEMORY = "650MB"
"""Of which the program takes most: results of a million pixels are too many beside it."""
LARGE = ("b-large", "c-large")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # rounding depends on the number of threads


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("large-cohort"))


def write_images(folder: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    folder.mkdir()
    for name, size in sizes.items():
        tifffile.imwrite(folder / f"{name}.tif", mosaic(*size), tile=(128, 128), photometric="minisblack")
    return folder


# ---- in any order, by any worker ------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0, 16])
def test_tiles_may_end_in_any_order_on_any_worker(
    run: Path, tmp_path: Path, overlap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(budget: Budget, size: tuple[int, ...], beside: float = 0.0) -> TilePlan:
        halo = budget.field.halo
        assert halo is not None
        return plan_tiles(size, halo, (overlap, overlap), (48, 48), 90 * 90)  # cores of no multiple of the usual block

    monkeypatch.setattr(device, "has_fast_bf16", lambda _: False)
    monkeypatch.setattr(Budget, "fits", lambda budget, size: size[0] < 100)
    monkeypatch.setattr(Budget, "holds", lambda budget, size: False)
    monkeypatch.setattr(Budget, "plan", plan)
    images = write_images(tmp_path / "images", {"a": (61, 57), "b": (157, 131), "c": (130, 100)})
    for path in images.iterdir():
        os.truncate(path, max(path.stat().st_size, 2**17))  # no file that is surely small
    expected = tmp_path / "expected"
    words = ["predict", str(run), str(images), "--samples", SAMPLES, "--memory", "1GB", "--out", str(expected)]
    assert main(words) == 0
    sampling = Sampling(int(SAMPLES), 0, 1, False, 10**9)
    out, digest = tmp_path / "out", load_run(run, None).digest
    job = PredictJob(run, images, None, out, sampling, Outputs(), None, digest)
    draws, tiles, done = random.Random(overlap), TilesUnderWay(), list[Task]()
    waiting: list[Task] = [BlockTask(range(at, at + 1), [at], [name]) for at, name in enumerate("abc")]
    while waiting:
        task = waiting.pop(draws.randrange(len(waiting)))
        if draws.random() < 0.3:
            predict_tasks._opened.cache_clear()  # another worker
        outcome = predict_task(job, task)
        if draws.random() < 0.2:
            assert predict_task(job, task).num_images == outcome.num_images  # its worker was lost before it could tell
        waiting += tiles.after(task, outcome)
        done.append(task)
    assert sum(isinstance(task, TileTask) for task in done) >= 2 * (4 + 4)
    assert sum(isinstance(task, LastTask) for task in done) == 2
    assert not list(out.rglob(FOLDER))
    found, wanted = tree(out), {name: one for name, one in tree(expected).items() if "/" in name}
    assert {name for name in found if "/" in name} == wanted.keys()
    assert [name for name, one in wanted.items() if found[name] != one] == []


# ---- with Dask ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"a-small": (70, 60), "b-large": (1030, 1026), "c-large": (700, 1540), "d-small": (64, 64)}
    return write_images(tmp_path_factory.mktemp("large-images") / "images", sizes)


def predict(run: Path, images: Path, out: Path) -> list[str]:
    return ["predict", str(run), str(images), "--samples", SAMPLES, "--memory", MEMORY, "--out", str(out)]


@pytest.fixture(scope="module")
def plain(run: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes."""
    pytest.importorskip("distributed")
    out = tmp_path_factory.mktemp("plain") / "p"
    process = start(predict(run, images, out))
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert all((out / name / "mean.ome.zarr" / "labels" / "sample-02").is_dir() for name in LARGE)
    return tree(out)


def same(out: Path, plain: dict[str, bytes]) -> None:
    found = tree(out)
    assert found.keys() == plain.keys()
    assert [name for name, one in plain.items() if found[name] != one] == []


@pytest.mark.slow
def test_workers_share_the_tiles_and_give_what_one_process_gives(
    run: Path, images: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    process = start([*predict(run, images, tmp_path / "p"), "--dask", "local[2]"])
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    same(tmp_path / "p", plain)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "client"])
def test_what_a_kill_ends_goes_on_with_the_tiles_that_are_left(
    run: Path, images: Path, plain: dict[str, bytes], tmp_path: Path, victim: str
) -> None:
    out = tmp_path / "p"
    process = start([*predict(run, images, out), "--dask", "local[2]"])
    records = out / "b-large" / FOLDER
    while process.poll() is None and len(list(records.glob("tile-*.npz"))) < 3:
        time.sleep(0.01)
    workers = workers_of(process.pid)
    assert process.poll() is None and len(workers) == 2
    if victim == "worker":
        os.kill(workers[0], signal.SIGKILL)
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
    else:
        process.kill()
        process.communicate()
        for worker in workers:  # they see by themselves that nobody asks any more
            while Path(f"/proc/{worker}").exists():
                time.sleep(0.05)
        assert not (out / "b-large" / "finished.json").exists()
        again = start(predict(run, images, out))  # a process of its own has as much room for tiles as that of `plain`
        printed, _ = again.communicate()
        assert again.returncode == 0, printed
    same(out, plain)
