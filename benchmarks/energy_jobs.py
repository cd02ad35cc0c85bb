"""The trainings behind the tables of `energy-score-unet`, to be run many at a time by `many_trainings.py`.

Budgets are steps. Every job trains one method on one data set, and is evaluated on its validation images, or against
the law of a built-in world.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from energy_score import LIDC, NAME, WORLD, lesions
from many_objects import OWN_SETTINGS, look, samples_of_method, summary
from many_objects import SETTINGS as CELLS
from record import data_folder
from street_flips import SETTINGS as STREETS

from plurimask import load_run, open_data
from plurimask.commands.demo_world import compare_with_truth
from plurimask.compare.measure import measure
from plurimask.data import DataSource
from plurimask.data.remembered import remembered
from plurimask.data.worlds.cells import CellWorld, cell_source
from plurimask.evaluation.evaluate import ExampleView, flip_error
from plurimask.prediction.predict import Sampling
from plurimask.runs.plan import Plan, settings_for
from plurimask.runs.train import train_run

PROBABILISTIC, HIERARCHICAL = "probabilistic-unet", "hierarchical-probabilistic-unet"
SAMPLES, CELL_SAMPLES, CELL_IMAGES, TRUTH_SAMPLES = 16, 500, 50, 1000
SMALL: dict[str, Any] = {"channels": (16, 32, 64, 96), "gradient_clip": 1.0, "ema_decay": 0.99}
"""What the preset `small` sets, for methods that have none."""


class Job(NamedTuple):
    name: str
    data: str
    method: str
    settings: Mapping[str, Any]
    seed: int = 0
    keep: bool = False
    """Whether the run itself is wanted."""


VIEWS: dict[str, dict[str, Any]] = {
    "lidc": LIDC,
    "brain_growth": {"batch_size": 8, "raters_per_step": 7, "max_steps": 2000, "num_validations": 5},
    "stare": {
        "batch_size": 8,
        "raters_per_step": 2,
        "crop": 128,
        "crop_on_objects": 0.7,
        "max_steps": 2000,
        "num_validations": 2,
        "validation_crop": 256,
    },
    "bubil": {"batch_size": 8, "raters_per_step": 10, "max_steps": 2000, "num_validations": 5},
    "camvid": {**STREETS, "raters_per_step": 8, "max_steps": 4000, "num_validations": 4, "validation_images": 50},
}
"""What all methods see of each data set, and for how many steps."""

PARTS: dict[str, Any] = {
    **LIDC,
    **SMALL,
    "max_steps": 1500,
    "raters_per_step": 4,
    "num_validations": 1,
    "validation_images": 32,
}
MAP = "energy_variants:LatentMap"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "as it is": (NAME, {}),
    "z in the head": ("energy_variants:LatentsInTheHead", {"sampled_scales": 1}),
    "z in the last scale": (NAME, {"sampled_scales": 1}),
    "z in all scales": (NAME, {"sampled_scales": 3}),
    "map of latents, stride 16": (MAP, {"latent_stride": 16}),
    "map of latents, stride 16, in all scales": (MAP, {"latent_stride": 16, "sampled_scales": 3}),
    "vector and map of latents": (MAP, {"latent_stride": 16, "latent_dim": 12, "global_dim": 8}),
    "prior by the image": ("energy_variants:ConditionedPrior", {}),
    "product distance": (NAME, {"distance": "product"}),
    "hard samples": ("energy_variants:HardSamples", {}),
    "4 samples": (NAME, {"samples_per_step": 4}),
    "16 samples": (NAME, {"samples_per_step": 16}),
    "2 latents": (NAME, {"latent_dim": 2}),
    "32 latents": (NAME, {"latent_dim": 32}),
    "no likelihood in the end": (NAME, {"likelihood_weight": 0.0}),
    "no likelihood at all": (NAME, {"likelihood_weight": 0.0, "early_likelihood_weight": 0.0}),
    "likelihood throughout": (NAME, {"likelihood_weight": 10.0}),
    "Brier in place of likelihood": ("energy_variants:BrierForPixels", {}),
    "no average of weights": (NAME, {"ema_decay": None}),
    "longer average of weights": (NAME, {"ema_decay": 0.999}),
    "learning rate 2e-3": (NAME, {"learning_rate": 2e-3}),
    "learning rate 4e-3": (NAME, {"learning_rate": 4e-3}),
    "twice as wide": (NAME, {"channels": (32, 64, 128, 192)}),
    "two convolutions more": (NAME, {"sampled_convs": 4}),
    "batch norm": (NAME, {"normalisation": "batch"}),
    "Probabilistic U-Net": (PROBABILISTIC, {"gradient_clip": 100.0}),
}
READERS = {"four readers": 4, "one reader": 1}
CELL_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "energy-score-unet": (NAME, {}),
    "map of latents, stride 16": (MAP, {**SMALL, "latent_stride": 16}),
    "map of latents, stride 16, in all scales": (MAP, {**SMALL, "latent_stride": 16, "sampled_scales": 3}),
    "vector and map of latents": (MAP, {**SMALL, "latent_stride": 16, "latent_dim": 12, "global_dim": 8}),
    "map of latents, stride 8, in all scales": (MAP, {**SMALL, "latent_stride": 8, "sampled_scales": 3}),
    "energy-score-unet, 32 latents": (NAME, {"latent_dim": 32, "samples_per_step": 16}),
    HIERARCHICAL: (HIERARCHICAL, OWN_SETTINGS[HIERARCHICAL]),
}
CELL_STEPS = 3000


def _rows() -> list[Job]:
    """Both methods on every data set at equal steps."""
    jobs = []
    for method in (NAME, PROBABILISTIC):
        for data, view in VIEWS.items():
            if data != "lidc":
                jobs.append(
                    Job(
                        f"{data}/{method}",
                        data,
                        method,
                        settings_for(method, view),
                        keep=(data, method) == ("camvid", NAME),
                    )
                )
        for seed in (1, 2):
            settings = {**LIDC, "raters_per_step": 4}
            jobs.append(Job(f"lidc/{method}/seed-{seed}", "lidc", method, settings, seed, keep=method == NAME))
    return jobs


def _lesions() -> list[Job]:
    """Worlds whose law is known: four readers an image, or one."""
    jobs = []
    for name, (method, own) in {NAME: (NAME, {}), "map of latents": (MAP, {**SMALL, "latent_stride": 16})}.items():
        for words, readers in READERS.items():
            for steps in (2400, 800):
                settings = {**WORLD, "raters_per_step": readers, **own, "max_steps": steps, "channels": (16, 32, 64)}
                jobs.append(Job(f"lesions/{name}, {words}/{steps}", f"lesions-{readers}", method, settings))
    return jobs


def _cells() -> list[Job]:
    """Twelve cells that readers count each on its own."""
    jobs = []
    for name, (method, own) in CELL_METHODS.items():
        settings = {**settings_for(method, CELLS), **own, "max_steps": CELL_STEPS, "num_validations": 1}
        jobs.append(Job(f"cells/{name}", "cells", method, {**settings, "raters_per_step": 4}))
    return jobs


def _variants(seed: int) -> list[Job]:
    return [
        Job(f"parts/{name}/seed-{seed}", "lidc", method, {**PARTS, **own}, seed)
        for name, (method, own) in VARIANTS.items()
    ]


JOBS: list[Job] = [
    *_rows(),
    *_lesions()[:4],
    *_cells()[:4],
    *_variants(0),
    *_lesions()[4:],
    *_cells()[4:],
    *_variants(1),
]
"""The most wanted first."""


@lru_cache(maxsize=2)
def source_of(data: str) -> DataSource:
    """The data of a job, in memory once it was read."""
    if data.startswith("lesions-"):
        return remembered(lesions(int(data.removeprefix("lesions-")), 0))
    if data == "cells":
        return remembered(cell_source(4000, 100))
    flips = {"flips": ["street"]} if data == "camvid" else {}
    return remembered(open_data(data_folder() / data, **flips))


def run_job(job: Job, folder: Path) -> dict[str, Any]:
    """Train and evaluate; what a table needs of it."""
    source = source_of(job.data)
    outcome = train_run(Plan(job.method, "small", job.settings, job.seed), source, folder, overwrite=True)
    if outcome["stopped"]:
        raise KeyboardInterrupt
    run = load_run(folder)
    common = {"steps": outcome["steps"], "minutes": outcome["minutes"]}
    common |= {"parameters": sum(one.numel() for one in run.method.parameters())}
    if job.data.startswith("lesions-"):
        truth = compare_with_truth(run, source, TRUTH_SAMPLES)
        return {**common, "samples": TRUTH_SAMPLES, "empty_error": truth.empty_error, "pixel_error": truth.pixel_error}
    if job.data == "cells":
        world = cell_source(num_train=1, num_val=1, num_test=CELL_IMAGES).splits["test"]
        assert isinstance(world, CellWorld)
        samples = samples_of_method(run, world, Sampling(CELL_SAMPLES, 0, batch_size=4))
        return {**common, **summary(look(samples, world), world, CELL_SAMPLES), "samples": CELL_SAMPLES}
    val = source.splits["val"]
    view = ExampleView(val, range(len(val)), run.record.preprocessing, run.record.data.counted_classes)
    result = measure(job.name, run, view, Sampling(SAMPLES, 0))
    scalars = {key: value for key, value in result.totals.items() if value is None or isinstance(value, int | float)}
    flips = {"flips": result.flips, "flip_error": flip_error(result.flips)} if result.flips else {}
    return {**common, **scalars, **flips, "seconds_per_image": result.facts["seconds_per_image"]}
