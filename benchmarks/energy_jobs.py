"""The trainings behind the tables of `energy-score-unet`, to be run many at a time by `many_trainings.py`.

Budgets are steps. Every job trains one method on one data set, and is evaluated on its validation images, or against
the law of a built-in world.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from energy_score import LIDC, NAME
from many_objects import OWN_SETTINGS, look, samples_of_method, summary
from many_objects import SETTINGS as CELLS
from record import data_folder
from street_flips import SETTINGS as STREETS

from plurimask import load_run, open_data
from plurimask.commands.demo_world import NUM_TEST, NUM_TRAIN, NUM_VAL, SETTINGS, SIZE, compare_with_truth
from plurimask.compare.measure import measure
from plurimask.data import DataSource
from plurimask.data.remembered import remembered
from plurimask.data.worlds.cells import CellWorld, cell_source
from plurimask.data.worlds.common import world_source
from plurimask.data.worlds.lesions import LesionWorld, lesion_source
from plurimask.evaluation.evaluate import ExampleView, flip_error
from plurimask.methods.presets import find_preset
from plurimask.prediction.predict import Sampling
from plurimask.runs.plan import Plan, settings_for
from plurimask.runs.train import train_run

PROBABILISTIC, HIERARCHICAL = "probabilistic-unet", "hierarchical-probabilistic-unet"
SAMPLES, CELL_SAMPLES, CELL_IMAGES, TRUTH_SAMPLES = 16, 500, 50, 1000
SMALL: dict[str, Any] = {"channels": (16, 32, 64, 96), "gradient_clip": 1.0, "ema_decay": 0.99}
"""What the preset `small` sets, for methods that have none."""


WORLD: dict[str, Any] = {**SETTINGS, "batch_size": 16, "num_validations": 1, "channels": (16, 32, 64)}
"""Of the built-in lesions."""


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
MAP: dict[str, Any] = {"latent_stride": 16}
HEAD: dict[str, Any] = {"sampled_scales": 0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "as it is": (NAME, {}),
    "z in the head": (NAME, HEAD),
    "z in the last scale": (NAME, {"sampled_scales": 1}),
    "z in all scales": (NAME, {"sampled_scales": 3}),
    "map of latents, stride 16": (NAME, MAP),
    "map of latents, stride 16, in all scales": (NAME, {**MAP, "sampled_scales": 3}),
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
    "twice as wide": (NAME, {"channels": (32, 64, 128, 192)}),
    "two convolutions more": (NAME, {"sampled_convs": 4}),
    "batch norm": (NAME, {"normalisation": "batch"}),
    "Probabilistic U-Net": (PROBABILISTIC, {"gradient_clip": 100.0}),
}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    NAME: (NAME, {}),
    "z in the head": (NAME, HEAD),
    PROBABILISTIC: (PROBABILISTIC, {}),
}
READERS = {"four readers": 4, "one reader": 1}
CELL_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    NAME: (NAME, {}),
    "map of latents, stride 16": (NAME, MAP),
    "map of latents, stride 16, in all scales": (NAME, {**MAP, "sampled_scales": 3}),
    HIERARCHICAL: (HIERARCHICAL, OWN_SETTINGS[HIERARCHICAL]),
}
CELL_STEPS = 3000
CHARGED = {PROBABILISTIC: (2500, (0.0, 1e3, 1e4)), HIERARCHICAL: (1500, (0.0, 1e3))}
"""Steps, and weights of the energy score."""
LAST_HALF = {
    PROBABILISTIC: "energy_variants:ScoreInTheEnd",
    HIERARCHICAL: "energy_variants:HierarchicalScoreInTheEnd",
}


def _rows() -> list[Job]:
    """The methods on every data set at equal steps."""
    jobs = []
    for name, (method, own) in ROWS.items():
        for data, view in VIEWS.items():
            if data != "lidc":
                jobs.append(Job(f"{data}/{name}", data, method, {**settings_for(method, view), **own}))
        for seed in (1, 2):
            settings = {**LIDC, "raters_per_step": 4, **own}
            jobs.append(Job(f"lidc/{name}/seed-{seed}", "lidc", method, settings, seed, keep=method == NAME))
    return jobs


def _lesions() -> list[Job]:
    """Worlds whose law is known: four readers an image, or one."""
    jobs = []
    for name, (method, own) in ROWS.items():
        for words, readers in READERS.items():
            settings = {**WORLD, "raters_per_step": readers, **own, "max_steps": 2400}
            jobs.append(Job(f"lesions/{name}, {words}/2400", f"lesions-{readers}", method, settings))
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


def _charged() -> list[Job]:
    """Variational autoencoders whose draws from the prior are charged by the energy score beside their bound."""
    jobs = []
    for method, (steps, weights) in CHARGED.items():
        common = {**LIDC, "raters_per_step": 4, "num_validations": 2, "max_steps": steps}
        for weight in weights:
            words = f"score beside the bound, {weight:g}" if weight else "bound alone"
            jobs.append(Job(f"finish/{method}/{words}", "lidc", method, {**common, "energy_weight": weight}))
        last = {**find_preset(method, "small").method, **find_preset(method, "small").training, **common}
        jobs.append(Job(f"finish/{method}/score alone in the last half", "lidc", LAST_HALF[method], last))
    return jobs


JOBS: list[Job] = [*_rows(), *_lesions(), *_cells(), *_charged(), *_variants(0), *_variants(1)]
"""The most wanted first."""


def lesions(readers: int) -> DataSource:
    """The built-in lesions with so many readers an image."""

    def part(count: int, own_seed: int) -> LesionWorld:
        return LesionWorld(count, own_seed, SIZE, readers)

    return world_source("lesions", part, (NUM_TRAIN, NUM_VAL, NUM_TEST), 0, lesion_source(1, 1).description)


@lru_cache(maxsize=2)
def source_of(data: str) -> DataSource:
    """The data of a job, in memory once it was read."""
    if data.startswith("lesions-"):
        return remembered(lesions(int(data.removeprefix("lesions-"))))
    if data == "cells":
        return remembered(cell_source(4000, 100))
    return remembered(open_data(data_folder() / data, flips=["street"] if data == "camvid" else None))


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
