"""Put what `many_trainings.py` wrote of `energy_jobs` into the record of the benchmarks.

    python benchmarks/energy_record.py OUT/results.json ...

Means over seeds are taken of trainings that differ by nothing else. What the records have of other jobs stays.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from energy_jobs import JOBS, PARTS, ROWS, VIEWS, WORLD, lesions
from many_objects import SETTINGS as CELLS
from scipy.stats import binom

from plurimask.data.worlds.lesions import LesionWorld

RECORD = Path(__file__).parent / "results" / "energy_score.json"
FIGURES = (
    *("ged", "ged_unbiased", "ged_spread", "hungarian_iou_balanced", "diversity", "dice", "ece", "nll", "flip_error"),
    *("reconstruction_iou", "steps", "minutes", "parameters"),
)
OF_DATA = ("num_images", "ged_oracle", "rater_diversity")
OF_WORLD = ("samples", "empty_error", "pixel_error", "steps", "parameters")
OF_CELLS = (
    *("frequency_error", "mean_absolute_correlation", "images_without_correlation", "distinct_modes_share"),
    *("clear_share", "ged_of_16", "ged_oracle", "samples", "steps", "parameters"),
)


def mean_of(jobs: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Figures averaged over trainings that differ in their seed, and the GED of each."""
    found: dict[str, Any] = {}
    for key in keys:
        values = [job["result"][key] for job in jobs if job["result"].get(key) is not None]
        if values:
            found[key] = fmean(values) if isinstance(values[0], float) else values[0]
    found["seeds"] = [job["seed"] for job in jobs]
    if len(jobs) > 1:
        found["ged_by_seed"] = [job["result"]["ged"] for job in jobs]
    return found


def chance_error(num_samples: int) -> float:
    """What the share of empty masks among so many samples of the law itself errs by: its mean over held-out lesions."""
    world = lesions(4).splits["test"]
    assert isinstance(world, LesionWorld)
    counts, errors = np.arange(num_samples + 1), []
    for index in range(len(world)):
        p = world.truth(index).empty_probability
        errors.append(float((binom.pmf(counts, num_samples, p) * np.abs(counts / num_samples - p)).sum()))
    return fmean(errors)


def by_name(jobs: Mapping[str, Any], start: str) -> dict[str, list[Any]]:
    """Jobs whose names begin so, without their seeds, in order."""
    found: dict[str, list[Any]] = {}
    for name, job in jobs.items():
        if name.startswith(start):
            found.setdefault(name.removeprefix(start).split("/seed-")[0], []).append(job)
    return found


def on_data(jobs: Mapping[str, Any], start: str) -> dict[str, Any]:
    """Figures of the methods that were evaluated on one data set."""
    found = by_name(jobs, start)
    if not found:
        return {}
    order = [*ROWS, *found]
    found = dict(sorted(found.items(), key=lambda pair: order.index(pair[0])))
    first = next(iter(found.values()))[0]["result"]
    return {
        **{key: first[key] for key in OF_DATA if key in first},
        "methods": {name: mean_of(own, FIGURES) for name, own in found.items()},
    }


def parts_of(jobs: Mapping[str, Any]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Settings and results of each part of the record."""
    data = {name: on_data(jobs, f"{name}/") for name in VIEWS}
    world = {name: mean_of(own, OF_WORLD) for name, own in by_name(jobs, "lesions/").items()}
    cells = {name: mean_of(own, OF_CELLS) for name, own in by_name(jobs, "cells/").items()}
    finishing = {
        base: on_data(jobs, f"finish/{base}/") for base in ("probabilistic-unet", "hierarchical-probabilistic-unet")
    }
    return {
        "data_sets": ({"views": VIEWS}, {name: own for name, own in data.items() if own}),
        "parts": ({**PARTS, "samples": 16}, on_data(jobs, "parts/")),
        "world": (WORLD, {"methods": world, "chance_error": chance_error(100)} if world else {}),
        "cells": (CELLS, {"methods": cells} if cells else {}),
        "finishing": ({}, {name: own for name, own in finishing.items() if own}),
    }


def main() -> None:
    told = [json.loads(Path(path).read_text()) for path in sys.argv[1:]]
    before = json.loads(RECORD.read_text())
    about = {key: told[-1][key] for key in ("hardware", "date", "commit")}
    known = {job.name for job in JOBS}
    jobs = {name: job for one in told for name, job in one["jobs"].items() if name in known}
    for name, (config, results) in parts_of(jobs).items():
        if results:
            before[name] = {"benchmark": "energy_score", "config": config, "results": results, **about}
    RECORD.write_text(json.dumps(before, indent=2) + "\n")


if __name__ == "__main__":
    main()
