"""Whether an image that is predicted whole and in tiles has the same label maps.

    python benchmarks/tiles_equal.py --work tiles --out benchmarks/results/tiles_equal.json

Trains each method of the preset `small` for some steps on lesions of 64 x 64 pixels (--steps 0: random weights), and
predicts one image of many lesions: as a whole, by the method itself, and in the tiles that `predict` takes of large
images. Recorded is the share of pixels that differ, over all samples. Exits with 1 if it is above 1e-5.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from large_images import NAME, lesions
from record import record, write
from torch import Tensor

from plurimask import load_run
from plurimask.data.worlds.lesions import lesion_source, write_folder
from plurimask.method import SegmentationMethod
from plurimask.prediction import device
from plurimask.prediction.budget import Budget, in_tiles
from plurimask.prediction.predict import Sampling
from plurimask.prediction.seeds import generators_of
from plurimask.runs.load import Run

MOST_DIFFERING = 1e-5
SEED = 0


def trained(work: Path, method: str, steps: int) -> Run:
    folder, data = work / f"{method}-{steps}", work / "data"
    if not data.exists():
        write_folder(lesion_source(num_train=48, num_val=4, seed=4, size=64), data)
    if not folder.exists():
        settings = ["--max-steps", str(max(1, steps)), "--batch-size", "8"]
        settings += ["--num-validations", "1", "--validation-samples", "2"]
        train = ["train", str(data), "--method", method, "--preset", "small", *settings]
        subprocess.run([sys.executable, "-m", "plurimask", *train, "--out", str(folder)], check=True)
    run = load_run(folder)
    if not steps:
        torch.manual_seed(SEED)
        run.method.load_state_dict(type(run.method)(run.method.config).state_dict())
    return run


def mosaic(run: Run, height: int, width: int) -> Tensor:
    """The image `(1, H, W)`, normalised."""
    parts, rng = lesions(), np.random.default_rng(1)
    chosen = rng.integers(len(parts), size=(-(-height // 64), -(-width // 64)))
    values = np.block([[parts[number] for number in row] for row in chosen])[:height, :width]
    return run.record.preprocessing.image(torch.from_numpy(values.astype(np.float32))[None])


def whole(method: SegmentationMethod, image: Tensor, sampling: Sampling) -> Tensor:
    """Maps `(N, H, W)` of the whole image."""
    cpu = torch.device("cpu")
    with torch.inference_mode(), device.fast_precision(cpu):
        prediction = method(device.images_in_layout(image[None], "channels_last"))
    return maps_of(prediction, sampling)


def tiles(method: SegmentationMethod, image: Tensor, sampling: Sampling) -> tuple[Tensor, dict[str, Any]]:
    """The same of tiles, and what they were."""
    budget = Budget(method, float("inf"), sampling.num_samples, len(image))
    prediction = in_tiles(budget, lambda box: image[(slice(None), *box)], image.shape[1:], str)
    plan = prediction.plan
    about = {"tiles": len(plan), "core": list(plan.core), "halo": list(plan.halo)}
    return maps_of(prediction, sampling), about


def maps_of(prediction: Any, sampling: Sampling) -> Tensor:
    with torch.inference_mode():
        mixture = prediction.freeze(sampling.num_samples, generators_of(sampling.seed, [NAME]))
        maps: Tensor = mixture.maps[:, 0]
        return maps


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and the seconds of the processor that it took."""
    start = time.process_time()
    return function(), time.process_time() - start


def compared(run: Run, options: argparse.Namespace) -> dict[str, Any]:
    image, sampling = mosaic(run, *options.size), Sampling(options.samples, SEED)
    expected, of_whole = timed(lambda: whole(run.method, image, sampling))
    (found, about), of_tiles = timed(lambda: tiles(run.method, image, sampling))
    return {
        "differing_share": float((expected != found).double().mean()),
        "differing_pixels": int((expected != found).sum()),
        "foreground_share": float((expected != 0).double().mean()),
        "whole_cpu_seconds": of_whole,
        "tiles_cpu_seconds": of_tiles,
        **about,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(3000, 2500), help="height and width, pixels")
    parser.add_argument("--methods", nargs="+", default=["unet", "probabilistic-unet"])
    parser.add_argument("--steps", type=int, default=300, help="of training; 0: random weights")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--precision", choices=("float32", "bf16"), help="by default what is fast on the machine")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data and the runs")
    parser.add_argument("--out", type=Path, help="what it holds of other methods, steps, sizes and precisions is kept")
    options = parser.parse_args()
    if options.precision:
        forced = options.precision == "bf16"
        device.has_fast_bf16 = lambda device: forced
    precision = "bf16" if device.has_fast_bf16(torch.device("cpu")) else "float32"
    height, width = options.size
    worst = 0.0
    for method in options.methods:
        key = f"{method}, {options.steps} steps, {height} x {width}, {precision}"
        found = compared(trained(options.work, method, options.steps), options)
        print(key, found, flush=True)
        worst = max(worst, found["differing_share"])
        known = json.loads(options.out.read_text())["results"] if options.out and options.out.exists() else {}
        config = {"samples": options.samples, "preset": "small", "seed": SEED, "threads": torch.get_num_threads()}
        write(options.out, record("tiles_equal", config, {**known, key: found}))
    return int(worst > MOST_DIFFERING)


if __name__ == "__main__":
    sys.exit(main())
