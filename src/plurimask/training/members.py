"""Training a method that is made of several: each part on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import torch

from plurimask.errors import InputError
from plurimask.files.writing import replace_file
from plurimask.method import SegmentationMethod
from plurimask.prediction.seeds import generator_of
from plurimask.training.batches import TrainingData
from plurimask.training.checkpoint import TrainingJob
from plurimask.training.config import TrainingConfig
from plurimask.training.log import MetricsLog, read_metrics
from plurimask.training.validation import validate
from plurimask.training.weights import packed

PARTS_FOLDER = "members"

Fit: TypeAlias = Callable[[SegmentationMethod, TrainingData, TrainingConfig, TrainingJob], dict[str, Any]]


def fit_parts(
    method: SegmentationMethod,
    data: TrainingData,
    config: TrainingConfig,
    job: TrainingJob,
    fit: Fit,
    is_first: bool = True,
) -> dict[str, Any]:
    """Train the parts of `method` one after the other with `fit`, then keep the weights of the whole.

    Each part has a seed of its own, so its order of images, raters and draws is independent of the others', and an
    equal share of the budget. `metrics.csv` has the rows of all parts one after the other, with steps and minutes
    counted on, and at the end a row of the whole's validation (in one process alone). Of several processes the first
    (`is_first`) writes.

    Returns:
        As `fit`, of all parts together.
    """
    parts = method.parts()
    folders = [job.folder / PARTS_FOLDER / f"{number:02d}" for number in range(len(parts))]
    if job.resume and job.weights.exists() and not any(TrainingJob(folder).last.exists() for folder in folders):
        raise InputError(f"{job.folder}: its members were trained elsewhere and joined: there is nothing to continue")
    log, steps, minutes = MetricsLog(), 0, 0.0
    if config.max_minutes is not None:
        config = config.model_copy(update={"max_minutes": config.max_minutes - job.spent / 60})
    for number, (part, folder) in enumerate(zip(parts, folders, strict=True)):
        seed = int(generator_of("part", job.seed, number).initial_seed() % 2**31)
        title = f"member {number + 1} of {len(parts)}"
        share = shared_budget(config, len(parts), number)
        identity = None if job.identity is None else f"{job.identity}/{number}"
        own = replace(job, folder=folder, seed=seed, title=title, spent=0.0, identity=identity)
        outcome = fit(part, data, share, own)
        for row in read_metrics(own.metrics):
            where = {"step": steps + int(row.pop("step")), "minutes": round(minutes + row.pop("minutes"), 4)}
            log.add_row({**where, "member": number}, row)
        steps, minutes = steps + outcome["steps"], minutes + outcome["minutes"]
        if outcome["stopped"]:
            return {"steps": steps, "minutes": round(minutes, 2), "best_ged": None, "stopped": True}
    if is_first:
        log.write(job.metrics)
        replace_file(job.weights, packed(method, job.identity))
    ged = None
    if data.val is not None and not torch.distributed.is_initialized():
        figures = validate(method.eval(), data, config).figures
        log.add_row({"step": steps, "minutes": minutes}, {**figures, "val_kept": 1})
        log.write(job.metrics)
        ged = figures["val_ged"]
    return {"steps": steps, "minutes": round(minutes, 2), "best_ged": ged, "stopped": False}


def shared_budget(config: TrainingConfig, num_parts: int, number: int) -> TrainingConfig:
    """The settings of part `number`: an equal share of the minutes, and of the steps, rounded so that all are used.

    Raises:
        InputError: there are fewer steps than parts.
    """
    steps = config.max_steps
    if steps is not None and steps < num_parts:
        raise InputError(f"max_steps {steps} for {num_parts} members, who share them: give at least {num_parts}")
    own = None if steps is None else steps * (number + 1) // num_parts - steps * number // num_parts
    minutes = None if config.max_minutes is None else config.max_minutes / num_parts
    return config.model_copy(update={"max_steps": own, "max_minutes": minutes})
