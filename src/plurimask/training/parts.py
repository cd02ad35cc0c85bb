"""Training a method that is made of several: each part on its own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, TypeAlias

from safetensors.torch import save

from plurimask.evaluate import evaluate
from plurimask.files import replace_file
from plurimask.inference import Sampling, generator_of
from plurimask.method import SegmentationMethod
from plurimask.settings import TrainingConfig
from plurimask.training.batches import TrainingData
from plurimask.training.keeper import VALIDATED, TrainingJob, validation_view, weights_of
from plurimask.training.log import MetricsLog, read_metrics

PARTS_FOLDER = "members"

Fit: TypeAlias = Callable[[SegmentationMethod, TrainingData, TrainingConfig, TrainingJob], dict[str, Any]]


def fit_parts(
    method: SegmentationMethod, data: TrainingData, config: TrainingConfig, job: TrainingJob, fit: Fit
) -> dict[str, Any]:
    """Train the parts of `method` one after the other with `fit`, then keep the weights of the whole.

    Each part has a seed of its own, so its order of images, raters and draws is independent of the others', and an
    equal share of the budget. `metrics.csv` has the rows of all parts one after the other, with steps and minutes
    counted on, and at the end a row of the whole's validation.

    Returns:
        As `plurimask.train.fit`, of all parts together.
    """
    parts = method.parts()
    share = shared_budget(config, len(parts))
    log, steps, minutes = MetricsLog(), 0, 0.0
    for number, part in enumerate(parts):
        seed = int(generator_of("part", job.seed, number).initial_seed() % 2**31)
        folder, title = job.folder / PARTS_FOLDER / f"{number:02d}", f"member {number + 1} of {len(parts)}"
        outcome = fit(part, data, share, TrainingJob(folder, seed, job.resume, title))
        for row in read_metrics(folder / "metrics.csv"):
            where = {"step": steps + int(row.pop("step")), "minutes": round(minutes + row.pop("minutes"), 4)}
            log.add_row({**where, "member": number}, row)
        steps, minutes = steps + outcome["steps"], minutes + outcome["minutes"]
        if outcome["stopped"]:
            return {"steps": steps, "minutes": round(minutes, 2), "best_ged": None, "stopped": True}
    ged = None
    if data.val is not None:
        totals = evaluate(method.eval(), validation_view(data, config), Sampling(config.validation_samples)).totals
        log.add_row({"step": steps, "minutes": minutes}, {f"val_{name}": totals[name] for name in VALIDATED})
        ged = totals["ged"]
    if not int(os.environ.get("LOCAL_RANK", "0")):
        log.write(job.metrics)
        replace_file(job.weights, save(weights_of(method)))
    return {"steps": steps, "minutes": round(minutes, 2), "best_ged": ged, "stopped": False}


def shared_budget(config: TrainingConfig, num_parts: int) -> TrainingConfig:
    """The settings of one of `num_parts` equal parts: a share of the steps and of the minutes."""
    steps = None if config.max_steps is None else math.ceil(config.max_steps / num_parts)
    minutes = None if config.max_minutes is None else config.max_minutes / num_parts
    return config.model_copy(update={"max_steps": steps, "max_minutes": minutes})
