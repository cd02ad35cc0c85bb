"""Readings, the few masks with shares that are shown for an image's samples: three ways to find them, and their price.

    python benchmarks/readings.py --out benchmarks/results/readings.json
    python benchmarks/readings.py --run RUN DATA --out FILE.json             the same of a trained run's samples

- cut: groups that the tree of the samples' distances bears out, their medoids and their shares (`readings_cut.py`);
- representatives: what `predict` writes (`plurimask.prediction.readings`);
- weighted: the same number of maps with the weights of least energy distance (`plurimask.sets.representatives`).

Every way sees the same 16 samples of an image, or 100, and is held against 1,000 others: the squared energy distance to
them; the mean d of one of them to the nearest reading, and the share of them at d above 0.5 from each; the error of the
share of empty masks. A second set of samples tells how far readings depend on the draw: the squared energy distance
between the readings of the two sets, and how far their numbers differ. Where the 1,000 are at d below 0.1 in the mean,
there should be one reading. Samples are draws from the known law of the built-in lesions: no method is trained.

The price: processor milliseconds, on one thread, of 16 and 4 representatives and of the readings of 100 masks, 128x128.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from ged import lesions as discs
from numpy.typing import NDArray
from readings_cut import Numbers, cut_groups
from record import hardware, record, write
from torch import Tensor

from plurimask import load_run
from plurimask.data.worlds.lesions import LesionWorld
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.prediction.readings import find_readings, group_samples
from plurimask.runs.load import open_run_data
from plurimask.sets.distance import joint_distances
from plurimask.sets.representatives import representative_maps, support

NUM_IMAGES, NUM_FRESH, SEED = 60, 1000, 3
UNANIMOUS, FAR = 0.1, 0.5


class Shown(NamedTuple):
    """Readings of an image: which of its samples, and their shares."""

    members: list[int]
    shares: Numbers


Way: TypeAlias = Callable[[Numbers, NDArray[np.bool_]], Shown]
Sets: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Two sets of samples of an image, and the fresh ones: `(N, H, W)` each."""


def of_groups(groups: list[NDArray[np.int64]], distances: Numbers) -> Shown:
    medoids = [int(one[distances[np.ix_(one, one)].sum(1).round(9).argmin()]) for one in groups]
    return Shown(medoids, np.array([len(one) for one in groups]) / len(distances))


def cut(distances: Numbers, is_empty: NDArray[np.bool_]) -> Shown:
    return of_groups(cut_groups(distances, is_empty), distances)


def representatives(distances: Numbers, is_empty: NDArray[np.bool_]) -> Shown:
    return of_groups(group_samples(distances, is_empty, range(len(distances))), distances)


def weighted(distances: Numbers, is_empty: NDArray[np.bool_]) -> Shown:
    found = support(distances, len(representatives(distances, is_empty).members))
    return Shown(list(found.members), np.array(found.weights))


WAYS: dict[str, Way] = {"cut": cut, "representatives": representatives, "weighted": weighted}


def of_world(num_samples: int) -> Iterator[Sets]:
    world = LesionWorld(NUM_IMAGES, SEED)
    for index in range(NUM_IMAGES):
        random = np.random.default_rng([SEED, index])
        first, other, fresh = (
            torch.from_numpy(world.truth(index).sample(count, random))
            for count in (num_samples, num_samples, NUM_FRESH)
        )
        yield first, other, fresh


def of_run(folder: Path, data: Path, num_samples: int) -> Iterator[Sets]:
    run = load_run(folder)
    examples = open_run_data(run.record, data).splits["val"]
    indices = np.linspace(0, len(examples) - 1, min(NUM_IMAGES, len(examples))).astype(int)
    seen = [run.record.preprocessing.example(examples[int(index)]) for index in indices]
    for one in seen:
        drawn = [
            next(predict_images(run.method, [(one.name, one.image)], Sampling(count, seed))).samples[:, 0].cpu()
            for seed, count in enumerate((num_samples, num_samples, NUM_FRESH))
        ]
        yield drawn[0], drawn[1], drawn[2]


def figures(way: Way, joint: Numbers, is_empty: NDArray[np.bool_], num: int) -> dict[str, float]:
    """One image's, from the distances between its two sets of `num` samples and the fresh ones."""
    one, two = (way(joint[own, own], is_empty[own]) for own in (slice(num), slice(num, 2 * num)))
    first, second, fresh = np.array(one.members), np.array(two.members) + num, slice(2 * num, None)

    def mean(a: Numbers, rows: NDArray[np.int64], b: Numbers, columns: NDArray[np.int64]) -> float:
        return float(a @ joint[np.ix_(rows, columns)] @ b)

    within = mean(one.shares, first, one.shares, first)
    spread, near = float(joint[fresh, fresh].mean()), joint[first, fresh].min(0)
    return {
        "energy_distance": 2 * float(one.shares @ joint[first, fresh].mean(1)) - within - spread,
        "nearest": float(near.mean()),
        "far": float((near > FAR).mean()),
        "empty_error": abs(float(one.shares @ is_empty[first]) - float(is_empty[fresh].mean())),
        "between_draws": 2 * mean(one.shares, first, two.shares, second)
        - within
        - mean(two.shares, second, two.shares, second),
        "readings": len(first),
        "number_differs": abs(len(first) - len(second)),
        "one_where_unanimous": float(len(first) == 1) if spread < UNANIMOUS else np.nan,
    }


def measured(images: Iterator[Sets]) -> dict[str, dict[str, float | None]]:
    """By way: the means over images of its figures; None where no image has one."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for sets in images:
        maps = torch.cat(sets)
        joint, is_empty = joint_distances([maps], [1]).numpy(), (maps.flatten(1).amax(1) == 0).numpy()
        for name, way in WAYS.items():
            rows[name].append(figures(way, joint, is_empty, len(sets[0])))

    def mean(own: list[dict[str, float]], key: str) -> float | None:
        values = np.array([row[key] for row in own])
        return None if np.isnan(values).all() else round(float(np.nanmean(values)), 4)

    return {name: {key: mean(own, key) for key in own[0]} for name, own in rows.items()}


def milliseconds() -> dict[str, float]:
    """Processor time of one thread, which others on the machine do not lengthen much."""
    torch.set_num_threads(1)
    maps = discs(100, torch.Generator().manual_seed(0))
    maps[:20] = 0
    array = maps.numpy()
    return {
        "16 of 100": _processor_milliseconds(lambda: representative_maps(maps, [1], 16)),
        "4 of 100": _processor_milliseconds(lambda: representative_maps(maps, [1], 4)),
        "readings of 100": _processor_milliseconds(lambda: find_readings(array, [1], 2)),
    }


def _processor_milliseconds(function: Callable[[], object], repeats: int = 21) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return round(1e3 * float(np.median(times)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, nargs=2, metavar=("RUN", "DATA"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, float | None]] | dict[str, float]] = {}
    for num in (16, 100):
        found = measured(of_world(num) if options.run is None else of_run(options.run[0], options.run[1], num))
        results[f"{num} samples"] = found
        for name, row in found.items():
            print(num, name, row)
    machine = hardware()
    results["processor milliseconds at 128x128"] = milliseconds()
    print(results["processor milliseconds at 128x128"])
    source = "built-in lesions, 64x64"
    if options.run is not None:
        source = f"{options.run[1].name}, validation images, samples of a {load_run(options.run[0]).record.method}"
    config = {"samples": [16, 100], "fresh": NUM_FRESH, "images": NUM_IMAGES, "seed": SEED, "data": source}
    write(options.out, {**record("readings", config, results), "hardware": machine})


if __name__ == "__main__":
    main()
