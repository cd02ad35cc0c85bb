"""What continuing, parts and workers of Dask cost, and whether any kill can harm a prediction.

    python benchmarks/cohorts.py        writes benchmarks/results/cohorts.json; about half an hour on two processors

- Seconds for each megapixel of `predict`: in one process, and on 1, 2 and 4 workers of this machine, in turn, by images
  of about a second each. What is counted is the time between the first finished images and the last: starting
  processes is left out.
- The overhead of Dask: one worker against one process with as many threads.
- Kills of a worker or of the client at random moments, a killed client's call made again: every output is compared
  with that of a call that nobody ended.

The run is one of a few steps on lesions of the built-in world. Other work on the machine slows all calls: what counts
are the ratios, of calls that took turns.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from record import record, write

from plurimask.data.worlds.lesions import lesion_source, write_folder

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


class Predict:
    """Calls of `predict` on the same images, each with one thread of torch in a process."""

    def __init__(self, run: Path, images: Path, samples: int) -> None:
        self.words = ["predict", str(run), str(images), "--samples", str(samples)]
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PLURIMASK_INDEX": "0"}

    def start(self, out: Path, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "plurimask", *self.words, "--out", str(out), *more]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, out: Path, *more: str) -> None:
        process = self.start(out, *more)
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(errors.decode())


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    megapixels = options.side**2 / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        predict = Predict(train(folder), make_images(folder / "images", options.images, options.side), options.samples)
        ways = {"plain": (1, ()), **{f"dask {n}": (n, ("--dask", f"local[{n}]")) for n in options.workers}}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(options.rounds):
            for way, (first, more) in ways.items():
                out = folder / f"{way}-{turn}".replace(" ", "-")
                predict.finish(out, *more)
                times[way].append(seconds_per_image(out, first))
                print(way, f"{times[way][-1]:.2f} s an image", flush=True)
        same = all(tree(folder / f"{way}-0".replace(" ", "-")) == tree(folder / "plain-0") for way in ways)
        seconds = {way: statistics.median(values) for way, values in times.items()}
        results: dict[str, Any] = {
            "seconds_per_image": {way: round(value, 3) for way, value in seconds.items()},
            "seconds_per_megapixel": {way: round(value / megapixels, 2) for way, value in seconds.items()},
            "dask_overhead": round(seconds["dask 1"] / seconds["plain"] - 1, 3) if "dask 1" in seconds else None,
            "all_ways_equal": same,
            "kills": [],
        }
        config = {key: value for key, value in vars(options).items() if key != "out"}
        for number in range(options.kills):
            results["kills"].append(kill(predict, folder / "plain-0", folder / f"kill-{number}", number))
            results["num_equal"] = sum(one["equal"] for one in results["kills"])
            print(results["kills"][-1], flush=True)
            write(options.out, record("cohorts", config, results))
        write(options.out, record("cohorts", config, results))


if __name__ == "__main__":
    main()
