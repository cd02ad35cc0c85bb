"""An image that is larger than the memory: predicted in tiles within a bound, killed once on the way, and continued.

    python benchmarks/large_images.py --side 20000 --memory 4GB --work large --out benchmarks/results/large_images.json

Makes a tiled BigTIFF of 16 bits, many lesions side by side, and trains a narrow Probabilistic U-Net of the preset
`small` for some steps (how long it takes does not depend on what it has learnt). Measured are the peak memory of the
processes that predict, their time, and, on an image of --compared pixels along each side, the time of the same tiles
against that of the whole. Exits with 1 if the peak is above the bound, or tiles take more than 1.25 times as long.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from record import median_seconds, record, write

from plurimask import load_run
from plurimask.data.worlds.lesions import lesion_source, write_folder
from plurimask.files.memory import parse_memory
from plurimask.prediction.budget import Budget, in_tiles
from plurimask.prediction.device import fast_precision, images_in_layout
from plurimask.prediction.records import FOLDER
from plurimask.prediction.seeds import generators_of

TILE, NAME = 256, "slide"
MOST_OVER_WHOLE = 1.25


def lesions() -> list[NDArray[np.uint16]]:
    """Lesions of 64 x 64 pixels, 16 bits."""
    images = lesion_source(num_train=48, num_val=1, seed=4, size=64).splits["train"]
    return [images[index].image[0].numpy().astype(np.uint16) for index in range(len(images))]


def make_image(path: Path, side: int) -> None:
    """A BigTIFF whose tiles are written one after the other."""
    parts, rng = lesions(), np.random.default_rng(0)

    def tiles() -> Iterator[NDArray[np.uint16]]:
        for _ in range((-(-side // TILE)) ** 2):
            chosen = rng.integers(len(parts), size=(TILE // 64, TILE // 64))
            yield np.block([[parts[number] for number in row] for row in chosen])

    tifffile.imwrite(
        path, tiles(), shape=(side, side), dtype=np.uint16, tile=(TILE, TILE), bigtiff=True, photometric="minisblack"
    )


def make_run(work: Path) -> Path:
    if not (work / "run").exists():
        source = lesion_source(num_train=48, num_val=4, seed=4, size=64)
        write_folder(source, work / "data")
        steps = ["--max-steps", "10", "--batch-size", "8", "--num-validations", "1", "--validation-samples", "2"]
        train = ["train", str(work / "data"), "--method", "probabilistic-unet", "--preset", "small", *steps]
        subprocess.run([sys.executable, "-m", "plurimask", *train, "--out", str(work / "run")], check=True)
    return work / "run"


def predict(work: Path, memory: str, samples: int, kill_after: float | None) -> dict[str, Any]:
    """One call of the command; killed when that share of the tiles is recorded."""
    out, start = work / "predicted", time.perf_counter()
    call = ["predict", str(work / "run"), str(work / f"{NAME}.tif"), "--memory", memory, "--samples", str(samples)]
    process = subprocess.Popen([sys.executable, "-m", "plurimask", *call, "--out", str(out)])
    records, killed = out / NAME / FOLDER, False
    while process.poll() is None:
        time.sleep(0.2)
        done, seen = (len([*records.glob(f"{kind}-*.npz")]) for kind in ("tile", "sums"))
        if kill_after is not None and done >= max(1, kill_after * seen) and not killed:
            process.send_signal(signal.SIGKILL)
            killed = True
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # of the largest child so far
    finished = len([*records.glob("tile-*.npz")]) if killed else None
    return {
        "seconds": time.perf_counter() - start,
        "exit_code": process.returncode,
        "peak_bytes": peak,
        "tiles_at_kill": finished,
    }


def tiles_over_whole(work: Path, side: int, memory: int, samples: int, repeats: int) -> dict[str, float]:
    """Seconds per megapixel of an image whole, and in the tiles of that memory."""
    run, parts = load_run(work / "run"), lesions()
    chosen = np.random.default_rng(1).integers(len(parts), size=(-(-side // 64),) * 2)
    values = np.block([[parts[number] for number in row] for row in chosen])[:side, :side]
    image = run.record.preprocessing.image(torch.from_numpy(values.astype(np.float32))[None])
    budget = Budget(run.method, memory, samples, 1)

    def whole() -> None:
        with torch.inference_mode(), fast_precision(torch.device("cpu")):
            prediction = run.method(images_in_layout(image[None], "channels_last"))
            prediction.freeze(samples, generators_of(0, [NAME])).mean()

    def tiles() -> None:
        prediction = in_tiles(budget, lambda box: image[(slice(None), *box)], (side, side), str, beside=0.0)
        with torch.inference_mode():
            prediction.freeze(samples, generators_of(0, [NAME])).statistics.mean.sum()

    plan = budget.plan((side, side))
    seconds = median_seconds({"whole": whole, "tiles": tiles}, repeats)
    megapixels = side**2 / 1e6
    return {
        "whole_seconds_per_megapixel": seconds["whole"] / megapixels,
        "tiles_seconds_per_megapixel": seconds["tiles"] / megapixels,
        "tiles_over_whole": seconds["tiles"] / seconds["whole"],
        "tiles": len(plan),
        "core": plan.core[0],
        "halo": plan.halo[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000, help="of the image, pixels")
    parser.add_argument(
        "--compared", type=int, default=4_000, help="side of the image that is timed both ways; 0: none"
    )
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--compared-memory", help="whose tiles are timed; that of --memory if not given")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="folder for image, run and predictions")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    make_run(options.work)
    image = options.work / f"{NAME}.tif"
    if not image.exists():
        make_image(image, options.side)
    bound = parse_memory(options.memory)
    results: dict[str, Any] = {"image_bytes": image.stat().st_size}
    results["killed"] = predict(options.work, options.memory, options.samples, kill_after=0.5)
    results["continued"] = predict(options.work, options.memory, options.samples, kill_after=None)
    results["peak_over_bound"] = results["continued"]["peak_bytes"] / bound
    if options.compared:
        timed = parse_memory(options.compared_memory or options.memory)
        results |= tiles_over_whole(options.work, options.compared, timed, options.samples, options.repeats)
    config = {
        "side": options.side,
        "memory": options.memory,
        "samples": options.samples,
        "threads": torch.get_num_threads(),
    }
    config |= {"compared": options.compared}
    config |= {"compared_memory": options.compared_memory or options.memory}
    config |= {"load_average": os.getloadavg()[1], "method": "probabilistic-unet", "preset": "small"}
    write(options.out, record("large_images", config, results))
    print(results)
    ok = results["continued"]["exit_code"] == 0 and results["peak_over_bound"] <= 1
    return int(not (ok and results.get("tiles_over_whole", 0) <= MOST_OVER_WHOLE))


if __name__ == "__main__":
    sys.exit(main())
