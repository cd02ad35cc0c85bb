"""How much of a GED comes from the way samples are chosen, not from the distribution that they are chosen from.

    python benchmarks/stratified.py RUN_OF_M_HEADS RUN_OF_PROBABILISTIC_UNET --out benchmarks/results/stratified.json

For two runs on LIDC-IDRI (of `benchmarks/lidc.py`), GED of 16 samples: of M-heads with each head once (as the method
samples), and with 16 independent draws of a head; of the Probabilistic U-Net with independent draws of z (as the method
samples), and with z from a scrambled Sobol sequence, which spreads over the prior more evenly than draws do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from record import data_folder, record, write
from torch import Tensor

from plurimask import load_run, open_data
from plurimask.distribution import SegmentationDistribution, most_likely
from plurimask.metrics import energy_distances
from plurimask.prediction.device import fast_precision
from plurimask.prediction.seeds import generator_of, generators_of
from plurimask.runs.load import Run

NUM_SAMPLES, BATCH = 16, 16

Draw = Callable[[SegmentationDistribution, list[str]], Tensor]


def own(prediction: SegmentationDistribution, names: list[str]) -> Tensor:
    """The noise that the method draws itself."""
    (noise,) = prediction.draw_noise(NUM_SAMPLES, generators_of(0, names))
    return noise


def with_replacement(prediction: SegmentationDistribution, names: list[str]) -> Tensor:
    """Independent draws of a component, the same for all images of a batch."""
    components = prediction.components()
    assert components is not None
    return torch.randint(components.num_components, (NUM_SAMPLES,), generator=generator_of("draws", *names))


def sobol(prediction: SegmentationDistribution, names: list[str]) -> Tensor:
    """Normal noise whose samples are spread evenly, scrambled anew for each image."""
    latents = own(prediction, names).shape[2]
    points = []
    for name in names:
        seed = int(generator_of("sobol", name).initial_seed() % 2**31)
        engine = torch.quasirandom.SobolEngine(latents, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        uniform = engine.draw(NUM_SAMPLES)
        points.append(torch.erfinv(2 * uniform.clamp(1e-6, 1 - 1e-6) - 1) * 2**0.5)
    return torch.stack(points, dim=1)


def mean_ged(run: Run, draw: Draw) -> float:
    """Over the validation images."""
    examples = open_data(data_folder() / "lidc").splits["val"]
    total = 0.0
    for start in range(0, len(examples), BATCH):
        batch = [examples[index] for index in range(start, min(start + BATCH, len(examples)))]
        seen = [run.record.preprocessing.example(example) for example in batch]
        with torch.inference_mode(), fast_precision(torch.device("cpu")):
            prediction = run.method(torch.stack([example.image for example in seen]))
        with torch.inference_mode():
            samples = most_likely(prediction.logits((draw(prediction, [example.name for example in batch]),)))
        total += float(energy_distances(samples, torch.stack([one.labels for one in seen]), (1,)).ged.sum())
    return total / len(examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path, help="a run of m-heads with 16 heads")
    parser.add_argument("latents", type=Path, help="a run of the probabilistic-unet")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    heads, latents = load_run(options.heads), load_run(options.latents)
    results = {
        "m-heads, each head once": mean_ged(heads, own),
        "m-heads, independent draws of a head": mean_ged(heads, with_replacement),
        "probabilistic-unet, independent draws of z": mean_ged(latents, own),
        "probabilistic-unet, Sobol points of z": mean_ged(latents, sobol),
    }
    for name, value in results.items():
        print(f"{name}: {value:.4f}")
    config = {"samples": NUM_SAMPLES, "data": "LIDC-IDRI, 64 x 64 centre crops, 565 validation images"}
    write(options.out, record("stratified", config, results))


if __name__ == "__main__":
    main()
