"""What continuing, parts and workers of Dask cost, and whether any kill can harm a prediction.

    python benchmarks/cohorts.py        writes benchmarks/results/cohorts.json; about an hour on two processors

- Kills of a worker or of the client at random moments, a killed client's call made again: every output is compared
  with that of a call that nobody ended. Small images.
- Seconds for each megapixel of `predict`: in one process, and on 1, 2 and 4 workers of this machine, in turn, by images
  of about a second each; and, by larger ones, whole and in tiles. What is counted is the time between the first
  finished images and the last: starting processes is left out.
- The processor's seconds for an image, which other work on the machine lengthens little: those of a call with all
  images less those of one with two, over the number of the others.

The run is one of a few steps on lesions of the built-in world.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tifffile
from PIL import Image
from record import record, write

from plurimask.data.worlds.lesions import lesion_source, write_folder

FEW = 2
RESULT = Path(__file__).parent / "results" / "cohorts.json"
TRAINING = ("--method", "probabilistic-unet", "--max-steps", "2", "--num-validations", "1", "--validation-samples", "2")


def make_images(folder: Path, count: int, side: int) -> Path:
    """Images of smoothed noise."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(draws.integers(0, 256, (side // 8, side // 8), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"case-{number:03d}.png")
    return folder


def train(folder: Path) -> Path:
    """A run of two steps: as slow as one of many."""
    write_folder(lesion_source(num_train=8, num_val=2, seed=0, size=64), folder / "data")
    out = folder / "run"
    subprocess.run(
        [sys.executable, "-m", "plurimask", "train", str(folder / "data"), *TRAINING, "--out", str(out)],
        check=True,
        capture_output=True,
    )
    return out


Ways: TypeAlias = dict[str, tuple[int, tuple[str, ...]]]
"""Each with how many images are under way at once, and the words that are added to the command."""


class Predict:
    """Calls of `predict` on the same images, each with one thread of torch in a process."""

    def __init__(self, run: Path, images: Path, samples: int) -> None:
        self.words = ["predict", str(run), str(images), "--samples", str(samples)]
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PLURIMASK_INDEX": "0"}

    def start(self, out: Path, *more: str) -> subprocess.Popen[bytes]:
        """A call that runs."""
        command = [sys.executable, "-m", "plurimask", *self.words, "--out", str(out), *more]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, out: Path, *more: str) -> float:
        """A call that must succeed: the processor's seconds of all its processes."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = self.start(out, *more)
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(errors.decode())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def finished(out: Path) -> list[float]:
    """When each finished image was."""
    return sorted(path.stat().st_mtime for path in out.glob("*/finished.json"))


def seconds_per_image(out: Path, first: int) -> float:
    """Between the first images, one of each worker, and the last."""
    times = finished(out)
    return (times[-1] - times[first - 1]) / (len(times) - first)


def tree(folder: Path) -> dict[str, bytes]:
    """Each file with its content; of TIFFs, which tell the time, the pixels."""
    return {
        str(path.relative_to(folder)): tifffile.imread(path).tobytes() if path.suffix == ".tif" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def workers_of(process: int) -> list[int]:
    """The workers of Dask below a process."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            words = Path(f"/proc/{child}/cmdline").read_text() if Path(f"/proc/{child}").exists() else ""
            found += [*([child] if "spawn_main" in words else []), *workers_of(child)]
    return found


def kill(predict: Predict, whole: Path, out: Path, number: int) -> dict[str, Any]:
    """Kill a worker or, every second time, the client at a random moment, and compare what comes out in the end."""
    draws, victim = random.Random(number), ("worker", "client")[number % 2]
    process = predict.start(out, "--dask", "local[2]")
    wanted = draws.randrange(0, len(finished(whole)))
    while process.poll() is None and len(finished(out)) < wanted:
        time.sleep(0.02)
    time.sleep(draws.random())
    workers, before = workers_of(process.pid), len(finished(out))
    if victim == "worker" and workers:
        os.kill(draws.choice(workers), signal.SIGKILL)
    elif victim == "client":
        process.kill()
    process.communicate()
    after = len(finished(out))
    if process.returncode:
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            time.sleep(0.1)
        predict.finish(out)
    equal = tree(out) == tree(whole)
    shutil.rmtree(out)
    codes = {"exit": process.returncode, "finished_before": before, "finished": after}
    return {"victim": victim, **codes, "equal": equal}


def timed(folder: Path, run: Path, ways: Ways, count: int, side: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each way for images of that side, by the clock and of the processor."""
    many = Predict(run, make_images(folder / "many", count, side), options.samples)
    few = Predict(run, make_images(folder / "few", FEW, side), options.samples)
    clock: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.rounds):
        for way, (first, more) in ways.items():
            out = folder / f"{way}-{turn}".replace(" ", "-")
            used = many.finish(out, *more) - few.finish(folder / f"few-{way}-{turn}", *more)
            clock[way].append(seconds_per_image(out, first))
            processor[way].append(used / (count - FEW))
            print(way, f"{clock[way][-1]:.2f} s an image, {processor[way][-1]:.2f} of the processor", flush=True)
    results: dict[str, Any] = {}
    for name, times in (("clock", clock), ("processor", processor)):
        seconds = {way: statistics.median(values) for way, values in times.items()}
        results[f"{name}_seconds_per_image"] = {way: round(value, 3) for way, value in seconds.items()}
        results[f"{name}_seconds_per_megapixel"] = {
            way: round(value / (side**2 / 1e6), 2) for way, value in seconds.items()
        }
        results[f"{name}_over_plain"] = {way: round(value / seconds["plain"], 3) for way, value in seconds.items()}
    return results


def all_timed(folder: Path, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Of Dask's workers with images of about a second, and of tiles with larger ones."""
    workers: Ways = {"plain": (1, ()), **{f"dask {n}": (n, ("--dask", f"local[{n}]")) for n in options.workers}}
    results = timed(folder / "workers", run, workers, options.images, options.side, options)
    outs = {way: folder / "workers" / f"{way}-0".replace(" ", "-") for way in workers}
    results["all_ways_equal"] = all(tree(out) == tree(outs["plain"]) for out in outs.values())
    tiles: Ways = {"plain": (1, ()), "tiles": (1, ("--memory", options.tiles_memory))}
    tiled = timed(folder / "tiles", run, tiles, options.tiles_images, options.tiles_side, options)
    return {**results, "tiles": tiled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tiles-images", type=int, default=4)
    parser.add_argument("--tiles-side", type=int, default=1400, help="of images that are computed whole, and in tiles")
    parser.add_argument("--tiles-memory", default="1200MB", help="in which they are computed in tiles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kill-side", type=int, default=96)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    config = {key: value for key, value in vars(options).items() if key != "out"}
    results: dict[str, Any] = {"num_kills": 0, "num_equal": 0, "kills": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = train(folder)
        small = Predict(run, make_images(folder / "small", options.images, options.kill_side), options.samples)
        small.finish(folder / "whole")
        for number in range(options.kills):
            one = kill(small, folder / "whole", folder / f"kill-{number}", number)
            results["kills"].append(one)
            results["num_kills"] += 1
            results["num_equal"] += one["equal"]
            print(one, flush=True)
            write(options.out, record("cohorts", config, results))
        write(options.out, record("cohorts", config, {**results, **all_timed(folder, run, options)}))


if __name__ == "__main__":
    main()
