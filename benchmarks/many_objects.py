"""Twelve cells in an image, each counted or not on its own: can a method's samples show all 4,096 combinations?

    python benchmarks/many_objects.py --minutes-per-method 10 --work cells --out benchmarks/results/many_objects.json

The world is `plurimask.data.worlds.cells`: its law is known, so each held-out image's samples are held against the
exact probability of every cell, against independence of the cells, and against how many different combinations as
many draws from the law contain. Figures go to WORK/figures. Exits with 1 if the hierarchical Probabilistic U-Net's
frequencies err by more than 0.1 on average, if its mean absolute correlation between cells is above 0.1 or does not
exist in some image, or if its samples show less than 0.8 of the combinations that draws from the law show. A cell that
is in all samples or in none has no correlation: see how many there are before reading that figure. A share of
combinations above 1 is not better than 1: these are samples that vary more than the readers do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from compared import arguments
from object_figures import ObjectSamples, SeenObjects, object_independence, object_samples
from object_statistics import (
    ObjectStatistics,
    chance_correlation,
    distinct_modes_curve,
    expected_distinct_modes,
    object_coverage,
    object_statistics,
)
from record import record, write
from rich.console import Console
from torch import Tensor

from plurimask import load_run
from plurimask.commands.compare import Bars
from plurimask.compare.contenders import Contender, run_folder, train_contenders
from plurimask.data.worlds.cells import CellWorld, cell_source
from plurimask.figures.style import save_figure
from plurimask.metrics import energy_distances
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.runs.load import Run
from plurimask.runs.plan import Plan, settings_for

HIERARCHICAL = "hierarchical-probabilistic-unet"
METHODS = ("probabilistic-unet", HIERARCHICAL)
NUM_TRAIN, NUM_VAL = 4000, 100
SETTINGS: dict[str, Any] = {
    "convs_per_scale": 2,
    "learning_rate": 2e-3,
    "num_validations": 6,
    "validation_images": NUM_VAL,
    # The law goes by grey levels: flips change neither these nor the sharpness of a rim.
    "augmentation": {"flip_vertical": 0.5, "rotation": 0.0, "scale": (1.0, 1.0), "gamma_probability": 0.0},
}
OWN_SETTINGS: dict[str, dict[str, Any]] = {HIERARCHICAL: {"objective": "elbo", "beta": 10.0}}
"""By method, on top of those. A cell costs hundreds of nats if it is wrong, and the bit that says which way it is less
than one: a KL term of weight 10 leaves that bit alone, and makes prior and posterior agree on how often it is 1."""

GED_SAMPLES, SHOWN_SAMPLES = 16, 7
MAX_FREQUENCY_ERROR, MAX_CORRELATION, LEAST_MODES = 0.1, 0.1, 0.8
WHOLE = 0.9
"""A sample is clear about a cell if it covers at least this share of it, or at most the rest."""
LAW = "draws from the law"


@dataclass
class SeenImage:
    """What the samples of one image are like."""

    statistics: ObjectStatistics
    curve: list[int]
    """Different combinations among the first samples, as many as `numbers` says."""
    clear_share: float
    """The share of samples and cells in which the cell is there as a whole, or not at all."""
    ged: tuple[float, float]
    """Of the first samples against the readers, and what draws from the readers would score."""
    first: Tensor
    """`(7, H, W)`: the first samples."""


def numbers_of(num_samples: int) -> list[int]:
    """1, 2, 5, 10, 20 ... up to the number of samples."""
    steps = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    return [*(number for number in steps if number < num_samples), num_samples]


def samples_of_method(run: Run, world: CellWorld, sampling: Sampling) -> Iterator[Tensor]:
    """The samples of each image, `(N, H, W)`."""
    images = (
        (example.name, run.record.preprocessing.image(example.image)) for example in map(world.__getitem__, _all(world))
    )
    for predicted in predict_images(run.method, images, sampling):
        yield from predicted.samples.cpu().unbind(1)


def samples_of_law(world: CellWorld, sampling: Sampling) -> Iterator[Tensor]:
    """As many draws from the law of each image: what chance alone does to the figures."""
    for index in _all(world):
        random = np.random.default_rng([sampling.seed, index])
        yield torch.from_numpy(world.truth(index).sample(sampling.num_samples, random))


def look(samples: Iterator[Tensor], world: CellWorld) -> list[SeenImage]:
    """Hold the samples of each image in turn against its law; of the samples themselves the first few are kept."""
    seen = []
    for index, own in enumerate(samples):
        truth, example = world.truth(index), world[index]
        coverage = object_coverage(own, torch.from_numpy(truth.regions))
        presence = coverage > 0.5
        ged = energy_distances(own[:GED_SAMPLES, None], example.labels[None], (1,))
        seen.append(
            SeenImage(
                object_statistics(presence, torch.from_numpy(truth.probabilities)),
                distinct_modes_curve(presence, numbers_of(len(own))),
                float(((coverage - 0.5).abs() >= WHOLE - 0.5).double().mean()),
                (float(ged.ged), float(ged.ged_oracle)),
                own[:SHOWN_SAMPLES].clone(),
            )
        )
    return seen


def summary(seen: Sequence[SeenImage], world: CellWorld, num_samples: int) -> dict[str, float | int | None]:
    """Means over the images; the correlation over those that have one, None if none has."""
    statistics = [image.statistics for image in seen]
    correlations = [one.mean_absolute_correlation for one in statistics]
    defined = [value for value in correlations if not math.isnan(value)]
    shares = [
        image.statistics.distinct_modes / expected_distinct_modes(_probabilities(world, index), [num_samples])[0]
        for index, image in enumerate(seen)
    ]
    return {
        "frequency_error": fmean(one.frequency_error for one in statistics),
        "mean_absolute_correlation": fmean(defined) if defined else None,
        "images_without_correlation": len(seen) - len(defined),
        "distinct_modes": fmean(one.distinct_modes for one in statistics),
        "distinct_modes_share": fmean(shares),
        "constant_objects": sum(one.num_constant for one in statistics),
        "objects": len(seen) * world.num_cells,
        "clear_share": fmean(image.clear_share for image in seen),
        f"ged_of_{GED_SAMPLES}": fmean(image.ged[0] for image in seen),
        "ged_oracle": fmean(image.ged[1] for image in seen),
    }


def write_figures(seen: dict[str, list[SeenImage]], world: CellWorld, num_samples: int, folder: Path) -> None:
    """The law's own draws are among the methods: what perfect samples look like."""
    numbers = numbers_of(num_samples)
    expected = [expected_distinct_modes(_probabilities(world, index), numbers) for index in _all(world)]
    probabilities = [float(p) for index in _all(world) for p in _probabilities(world, index)]
    objects = {
        name: SeenObjects(
            [float(frequency) for image in images for frequency in image.statistics.frequencies],
            images[0].statistics.correlations.numpy(),
            list(zip(numbers, _means([image.curve for image in images]), strict=True)),
        )
        for name, images in seen.items()
    }
    figure = object_independence(probabilities, objects, list(zip(numbers, _means(expected), strict=True)))
    save_figure(figure, folder / "independence.png")
    truth = world.truth(0)
    shown = ObjectSamples(world[0].image.numpy(), truth.regions, truth.probabilities.tolist())
    samples = {name: images[0].first.numpy() for name, images in seen.items()}
    save_figure(object_samples(shown, samples), folder / "samples.png")


def _all(world: CellWorld) -> range:
    return range(len(world))


def _probabilities(world: CellWorld, index: int) -> Tensor:
    return torch.from_numpy(world.truth(index).probabilities)


def _means(rows: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]


def misses(result: dict[str, Any]) -> bool:
    """Whether a method's samples fall short of the law."""
    correlation = result["mean_absolute_correlation"]
    return bool(
        result["frequency_error"] > MAX_FREQUENCY_ERROR
        or correlation is None
        or result["images_without_correlation"] > 0
        or correlation > MAX_CORRELATION
        or result["distinct_modes_share"] < LEAST_MODES
    )


def main() -> None:
    parser = arguments(__doc__, 10, METHODS)
    parser.set_defaults(samples=1000)
    parser.add_argument("--images", type=int, default=50, help="held-out images that samples are drawn for")
    options = parser.parse_args()
    source = cell_source(NUM_TRAIN, NUM_VAL, seed=options.seed)
    # Not a part of what is trained on: runs that are there can be evaluated on more images.
    world = cell_source(num_train=1, num_val=1, num_test=options.images, seed=options.seed).splits["test"]
    assert isinstance(world, CellWorld)
    common = {**SETTINGS, "max_minutes": options.minutes_per_method}
    contenders = [Contender(path.name, run=path) for path in options.runs]
    for method in options.methods:
        settings = {**settings_for(method, common), **OWN_SETTINGS.get(method, {})}
        contenders.append(Contender(method, Plan(method, "small", settings, options.seed)))
    with Bars(Console(stderr=True)) as watcher:
        if not train_contenders(contenders, source, options.work, watcher):
            sys.exit(130)
    sampling = Sampling(options.samples, options.seed, batch_size=4)
    seen = {}
    for contender in contenders:
        run = load_run(run_folder(contender, options.work))
        seen[contender.name] = look(samples_of_method(run, world, sampling), world)
    seen[LAW] = look(samples_of_law(world, sampling), world)
    results = {name: summary(images, world, options.samples) for name, images in seen.items()}
    for name, result in results.items():
        print(name, {key: value if value is None else round(value, 4) for key, value in result.items()})
    law, chance = results.pop(LAW), chance_correlation(options.samples)
    print(f"correlation of independent cells by chance: {chance:.4f}")
    write_figures(seen, world, options.samples, options.work / "figures")
    config = {
        "preset": "small", **common, "own": OWN_SETTINGS, "samples": options.samples, "images": options.images,
        "seed": options.seed, "data": f"built-in cells, {world.size} x {world.size}, {world.num_cells} in each image",
        "train_images": NUM_TRAIN,
    }  # fmt: skip
    shared = {"chance_correlation": chance, "law": law}
    write(options.out, record("many_objects", config, {**shared, "methods": results}))
    sys.exit(int(HIERARCHICAL in results and misses(results[HIERARCHICAL])))


if __name__ == "__main__":
    main()
