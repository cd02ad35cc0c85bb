"""Volumes of LIDC nodules in 3-D, and slice by slice with draws that slices share or that each has of its own.

    python benchmarks/volumes.py --work volumes --out benchmarks/results/volumes.json

Each method is trained twice for as many steps, on crops of 8 x 64 x 64 voxels and on slices (`--slices 0`), of which a
step sees as many as slices of crops. The run on slices is evaluated twice: with `--slice-draws shared`, and
`independent`, which is the 2-D model applied slice by slice. The data lie in the folder named by PLURIMASK_DATA, else
in ../shared/data. Runs that are in WORK already are not trained again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from record import data_folder, record, write

from plurimask import open_data
from plurimask.data import DataSource
from plurimask.data.remembered import remembered
from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.metrics.table import TABLE
from plurimask.metrics.volume_table import with_volumes
from plurimask.prediction.predict import Sampling
from plurimask.prediction.slices import SliceDraws
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.prepare import prepare
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run

METHODS = ("probabilistic-unet",)
DEPTH, SIDE, CROPS = 8, 64, 2
COMMON: dict[str, Any] = {"raters_per_step": 4, "num_validations": 3, "validation_samples": 8}
WAYS: dict[str, dict[str, Any]] = {
    "3-D": {"crop": (DEPTH, SIDE, SIDE), "batch_size": CROPS, "validation_images": 20},
    "slices": {"slices": 0, "batch_size": CROPS * DEPTH, "validation_images": 160},
}
FIGURES = (
    *("ged", "ged_ratio", "hungarian_iou_balanced", "dice", "diversity", "volume_crps_voxels", "volume_coverage"),
    "neighbour_iou",
)
OF_RATERS = ("ged_oracle", "rater_diversity", "volume_crps_voxels_raters", "neighbour_iou_raters")


def trained(method: str, way: str, steps: int, source: DataSource, work: Path) -> Path:
    """The run of a method in one of the ways, which is trained if it is not there."""
    folder = work / f"{method} {way}"
    if not folder.exists() or read_record(folder).steps is None:
        plan = Plan(method, "small", {**COMMON, **WAYS[way], "max_steps": steps})
        train_run(prepare(plan, source), source, folder, overwrite=True)
    return folder


def measured(folder: Path, source: DataSource, draws: SliceDraws | None, sampling: Sampling) -> dict[str, Any]:
    """The totals of one evaluation on the validation volumes, which is kept beside the run."""
    kept = folder.with_name(f"{folder.name} {draws or ''} {sampling.num_samples}.json")
    if not kept.exists():
        kept.write_text(json.dumps(_measured(folder, source, draws, sampling)))
    figures: dict[str, Any] = json.loads(kept.read_text())
    return figures


def _measured(folder: Path, source: DataSource, draws: SliceDraws | None, sampling: Sampling) -> dict[str, Any]:
    run, examples = load_run(folder, draws), source.splits["val"]
    about = run.record
    view = ExampleView(examples, range(len(examples)), about.preprocessing, about.data.counted_classes)
    totals = evaluate(run.method, view, sampling, table=with_volumes(TABLE)).totals
    return {**{name: totals[name] for name in (*FIGURES, *OF_RATERS, "num_images")}, "steps": about.steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="energy-score-unet, for one, too")
    parser.add_argument("--only", choices=list(WAYS), help="train in this way alone, and measure that")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs; continued if it is there")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    source = remembered(open_data(data_folder() / "lidc_volumes"))
    sampling = Sampling(options.samples)
    results: dict[str, Any] = {}
    for method in options.methods:
        for way in [options.only] if options.only else WAYS:
            folder = trained(method, way, options.steps, source, options.work)
            draws: tuple[SliceDraws | None, ...] = ("shared", "independent") if way == "slices" else (None,)
            for each in draws:
                name = f"{method}, {way}, {each} draws" if each else f"{method}, {way}"
                results[name] = measured(folder, source, each, sampling)
                print(name, results[name], flush=True)
    if options.only:
        return
    training = read_record(options.work / f"{options.methods[0]} slices").training
    config = {
        "preset": "small",
        "steps": options.steps,
        "samples": options.samples,
        "seed": 0,
        "crop": [DEPTH, SIDE, SIDE],
        "crops_per_step": CROPS,
        "slices_per_step": training.batch_size,
        "data": "LIDC nodules as volumes of 6 to 24 slices, 240 to train on and 60 for validation, 4 readers",
    }
    write(options.out, record("volumes", config, {"rows": results}))


if __name__ == "__main__":
    main()
