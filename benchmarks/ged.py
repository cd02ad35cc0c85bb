"""Time the energy distance of 100 samples against 4 raters at 128 x 128 against a double loop over numpy masks.

    python benchmarks/ged.py --out benchmarks/results/ged.json

Exits with code 1 if the two disagree by more than 1e-6, or if ours is not at least 40 times as fast. Run it on a quiet
machine: on cores that others use, threads wait for each other, and only the figure for one thread means something.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from record import hardware, median_seconds, record, write
from torch import Tensor

from plurimask.metrics import energy_distances

NUM_SAMPLES, NUM_RATERS, SIZE = 100, 4, 128
REQUIRED_RATIO, TOLERANCE = 40.0, 1e-6


def lesions(num: int, generator: torch.Generator) -> Tensor:
    """Discs of about a third of the image's width, their centres and radii drawn anew for each map: `(num, H, W)`."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    centre = SIZE / 2 + SIZE / 12 * torch.randn(num, 2, 1, 1, generator=generator)
    radius = SIZE / 6 + SIZE / 24 * torch.randn(num, 1, 1, generator=generator)
    return (((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2) < radius.square()).to(torch.uint8)


def naive_ged(samples: np.ndarray, raters: np.ndarray) -> float:
    """The definition, pair by pair."""

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        union = np.logical_or(first, second).sum()
        return 1 - np.logical_and(first, second).sum() / union if union else 0.0

    def mean(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.mean([distance(a, b) for a in first for b in second]))

    return 2 * mean(samples, raters) - mean(samples, samples) - mean(raters, raters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    samples, raters = lesions(NUM_SAMPLES, generator), lesions(NUM_RATERS, generator)
    sample_masks, rater_masks = samples.numpy() == 1, raters.numpy() == 1

    ours = float(energy_distances(samples[:, None], raters[None], [1]).ged)
    naive = naive_ged(sample_masks, rater_masks)
    times = median_seconds({"ours": lambda: energy_distances(samples[:, None], raters[None], [1])}, repeats=51)
    times |= median_seconds({"naive": lambda: naive_ged(sample_masks, rater_masks)}, repeats=5)
    ours_ms, naive_ms = 1e3 * times["ours"], 1e3 * times["naive"]
    ratio = naive_ms / ours_ms
    machine = hardware()
    torch.set_num_threads(1)
    times = median_seconds({"ours": lambda: energy_distances(samples[:, None], raters[None], [1])}, repeats=51)
    single_ms = 1e3 * times["ours"]
    results = {
        "ged": ours,
        "difference": abs(ours - naive),
        "plurimask_ms": round(ours_ms, 3),
        "numpy_double_loop_ms": round(naive_ms, 1),
        "ratio": round(ratio, 1),
        "plurimask_one_thread_ms": round(single_ms, 3),
        "ratio_one_thread": round(naive_ms / single_ms, 1),
    }
    config = {
        "samples": NUM_SAMPLES,
        "raters": NUM_RATERS,
        "size": [SIZE, SIZE],
        "data": "random discs, one counted class",
        "seed": options.seed,
    }
    print(f"GED {ours:.6f} (double loop {naive:.6f}); {ours_ms:.2f} ms against {naive_ms:.0f} ms: {ratio:.0f} times")
    print(f"on one thread {single_ms:.2f} ms: {naive_ms / single_ms:.0f} times")
    write(options.out, {**record("ged", config, results), "hardware": machine})
    if abs(ours - naive) > TOLERANCE or ratio < REQUIRED_RATIO:
        sys.exit(f"needed: a difference of at most {TOLERANCE} and a ratio of at least {REQUIRED_RATIO}")


if __name__ == "__main__":
    main()
