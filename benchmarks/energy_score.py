"""The U-Net that is trained by the energy score: beside the Probabilistic U-Net at equal steps, and what its parts do.

    python benchmarks/energy_score.py lidc --work es --out benchmarks/results/energy_score.json
    python benchmarks/energy_score.py price --work price --out benchmarks/results/energy_score.json

`lidc` trains both methods for 4,000 steps of 16 images; `price` times 16 masks of an image. Each writes its part of the
record. `--only` trains some of them, so that several calls can share a WORK folder one after the other; `--runs` takes
runs that were trained elsewhere, named by their folders. What its parts do, other data and worlds whose law is known
are in `energy_jobs.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import data_folder, median_seconds, record, write
from rich.console import Console

from plurimask import build_method, open_data
from plurimask.commands.compare import Bars
from plurimask.compare.contenders import Contender, evaluate_contenders, table_rows, train_contenders
from plurimask.compare.table import markdown_table
from plurimask.method import SegmentationMethod
from plurimask.prediction.device import channels_last, fast_precision, has_fast_bf16, images_in_layout
from plurimask.prediction.predict import Sampling
from plurimask.runs.plan import Plan

NAME = "energy-score-unet"
LIDC: dict[str, Any] = {"center_crop": 64, "batch_size": 16, "max_steps": 4000, "num_validations": 8}
RATERS = {NAME: 4, "probabilistic-unet": 1}
"""Drawn for each image of a step, as plans of so many steps have it: four cost the second twice as much."""
PRICED: dict[str, tuple[str, dict[str, Any]]] = {
    "one forward of a U-Net": ("unet", {}),
    "as it is": (NAME, {}),
    "z in the head": (NAME, {"sampled_scales": 0}),
    "z in the last scale": (NAME, {"sampled_scales": 1}),
    "z in all scales": (NAME, {"sampled_scales": 3}),
    "map of latents, stride 16": (NAME, {"latent_stride": 16}),
    "Probabilistic U-Net": ("probabilistic-unet", {}),
}
WIDTHS = (16, 32, 64, 96)
KEPT = (
    *("ged", "ged_unbiased", "ged_spread", "hungarian_iou_balanced", "diversity", "dice", "ece", "nll"),
    *("parameters", "steps", "minutes", "seconds_per_image"),
)


def contenders_of(options: argparse.Namespace) -> list[Contender]:
    plans = {
        name: Plan(name, "small", {**LIDC, "raters_per_step": number}, options.seed) for name, number in RATERS.items()
    }
    loaded = {path.name: path for path in options.runs}
    chosen = [name for name in plans if name in (options.only or plans) and name not in loaded]
    return [*(Contender(name, run=path) for name, path in loaded.items()), *(Contender(n, plans[n]) for n in chosen)]


def lidc(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and results on LIDC."""
    source, contenders = open_data(data_folder() / "lidc"), contenders_of(options)
    with Bars(Console(stderr=True)) as watcher:
        if not train_contenders(contenders, source, options.work, watcher):
            sys.exit(130)
        sampling = Sampling(options.samples, options.seed)
        compared = evaluate_contenders(contenders, source, options.work, "val", sampling, watcher)
    rows = {str(row["method"]): {key: row[key] for key in KEPT} for row in table_rows(compared)}
    print(markdown_table([{"method": name, **row} for name, row in rows.items()]))
    totals = compared.results[0].totals
    shared = {"num_images": totals["num_images"], "ged_oracle": totals["ged_oracle"], "mu": totals["rater_diversity"]}
    settings = {**LIDC, "raters_per_step": RATERS}
    about = f"LIDC-IDRI, {LIDC['center_crop']} x {LIDC['center_crop']} centre crops, 565 validation images"
    return {**settings, "samples": options.samples, "data": about}, {**shared, "methods": rows}


def price(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and results: one image to 16 masks beside one forward of a U-Net as wide."""
    device = torch.device("cpu")
    methods = {name: build_method(method, channels=WIDTHS, **own) for name, (method, own) in PRICED.items()}
    image = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(options.seed))

    def timed(method: SegmentationMethod) -> Callable[[], object]:
        method, images = channels_last(method).eval(), images_in_layout(image, "channels_last")

        def run() -> object:
            with torch.inference_mode(), fast_precision(device):
                prediction = method(images)
                return prediction if method is methods["one forward of a U-Net"] else prediction.sample(16)

        return run

    seconds = median_seconds({name: timed(method) for name, method in methods.items()}, 31)
    unit = seconds["one forward of a U-Net"]
    rows = {name: {"ms": round(1e3 * taken, 2), "ratio": round(taken / unit, 2)} for name, taken in seconds.items()}
    print(rows)
    precision = "bf16" if has_fast_bf16(device) else "float32"
    return {"widths": WIDTHS, "precision": precision, "data": "one image of normal noise, 128 x 128"}, {"methods": rows}


PARTS_OF_RECORD = {"lidc": lidc, "price": price}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=PARTS_OF_RECORD)
    parser.add_argument("--only", nargs="*", help="names of the table's rows")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="runs of LIDC that are trained already")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs; continued if it is there")
    parser.add_argument("--out", type=Path, help="JSON file to write; what it has of other parts stays")
    options = parser.parse_args()
    config, results = PARTS_OF_RECORD[options.what](options)
    if options.out is not None:
        before = json.loads(options.out.read_text()) if options.out.exists() else {}
        known = before.get(options.what, {"results": {"methods": {}}})["results"]["methods"]
        results["methods"] = {**known, **results["methods"]}
        made = record("energy_score", {"preset": "small", **config, "seed": options.seed}, results)
        write(options.out, {**before, options.what: made})


if __name__ == "__main__":
    main()
