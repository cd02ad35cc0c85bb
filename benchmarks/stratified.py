"""How much of a GED comes from the way samples are chosen, not from the distribution that they are chosen from.

    python benchmarks/stratified.py --heads RUN --latents RUN --maps RUN --out benchmarks/results/stratified.json

For runs on LIDC-IDRI (of `benchmarks/lidc.py`), GED of 16 samples of the validation images as each run sees them: of
M-heads with each head once (as the method samples), and with 16 independent draws of a head; of a method with a latent
vector with independent draws, and with spread draws (`sample(16, spread=True)`); of one with maps of latents with the
coarsest level spread, the two coarsest, and so on, whatever their size: how many levels are worth it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import torch
from record import data_folder, record, write
from torch import Tensor

import plurimask.noise
from plurimask import load_run, open_data
from plurimask.distribution import SegmentationDistribution, most_likely
from plurimask.metrics import energy_distances
from plurimask.noise import Generators, Noise
from plurimask.prediction.device import fast_precision
from plurimask.prediction.seeds import generator_of, generators_of
from plurimask.report.content import evenly_spread
from plurimask.runs.load import Run

NUM_SAMPLES, BATCH = 16, 16

Draw = Callable[[SegmentationDistribution, Generators], Noise]


def independent(prediction: SegmentationDistribution, source: Generators) -> Noise:
    """As the method draws: of heads, each once."""
    return prediction.draw_noise(NUM_SAMPLES, source)


def with_replacement(prediction: SegmentationDistribution, source: Generators) -> Noise:
    """Independent draws of a component, the same for all images of a batch."""
    components = prediction.components()
    assert components is not None
    return (torch.randint(components.num_components, (NUM_SAMPLES,), generator=source.shared),)


def coarsest(levels: int) -> Draw:
    """So many levels spread, coarse to fine, the others as without."""

    def draw(prediction: SegmentationDistribution, source: Generators) -> Noise:
        states = [generator.get_state() for generator in source.images]
        spread = prediction.draw_noise(NUM_SAMPLES, source, spread=True)
        for generator, state in zip(source.images, states, strict=True):
            generator.set_state(state)
        return (*spread[:levels], *prediction.draw_noise(NUM_SAMPLES, source)[levels:])

    return draw


def mean_geds(run: Run, draws: dict[str, Draw], num_images: int) -> Iterator[tuple[str, float]]:
    """Over validation images, evenly spread over all, and what draws from the raters themselves score."""
    examples = open_data(data_folder() / "lidc").splits["val"]
    chosen = evenly_spread(range(len(examples)), num_images)
    geds: dict[str, list[float]] = {name: [] for name in (*draws, "ged_oracle")}
    for start in range(0, len(chosen), BATCH):
        batch = [examples[index] for index in chosen[start : start + BATCH]]
        seen = [run.record.preprocessing.example(example) for example in batch]
        labels, names = torch.stack([one.labels for one in seen]), [example.name for example in batch]
        with torch.inference_mode(), fast_precision(torch.device("cpu")):
            prediction = run.method(torch.stack([example.image for example in seen]))
        for number, (name, draw) in enumerate(draws.items()):
            shared = generator_of("draws", *names) if draw is with_replacement else generator_of(0)
            noise = draw(prediction, Generators(shared, generators_of(0, names).images))
            found = energy_distances(_samples(prediction, noise), labels, (1,))
            geds[name] += found.ged.tolist()
            if number == 0:
                geds["ged_oracle"] += found.ged_oracle.tolist()
    return ((name, fmean(values)) for name, values in geds.items())


def _samples(prediction: SegmentationDistribution, noise: Noise) -> Tensor:
    with torch.inference_mode():
        return torch.cat([most_likely(logits) for logits in prediction.logit_chunks(noise)])


def draws_of(options: argparse.Namespace) -> Iterator[tuple[Run, dict[str, Draw]]]:
    """The runs that are given, and in which ways samples of each are chosen."""
    ways: dict[str, Draw]
    if options.heads:
        run = load_run(options.heads)
        ways = {"each head once": independent, "independent draws of a head": with_replacement}
        yield run, {f"{run.record.method}, {way}": draw for way, draw in ways.items()}
    if options.latents:
        run = load_run(options.latents)
        ways = {"independent draws of z": independent, "spread draws of z": coarsest(1)}
        yield run, {f"{run.record.method}, {way}": draw for way, draw in ways.items()}
    if options.maps:
        run = load_run(options.maps)
        num_levels = sum(dim > 0 for dim in run.record.config["latent_dims"])
        ways = {"independent draws": independent}
        ways |= {f"levels spread: {levels} of {num_levels}": coarsest(levels) for levels in range(1, num_levels + 1)}
        yield run, {f"{run.record.method}, {way}": draw for way, draw in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, help="a run of m-heads with 16 heads")
    parser.add_argument("--latents", type=Path, help="a run of a method with a latent vector")
    parser.add_argument("--maps", type=Path, help="a run of the hierarchical-probabilistic-unet")
    parser.add_argument("--images", type=int, default=565, help="of the validation images")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    plurimask.noise.MAX_SPREAD = 10**4  # how many can be spread is what is asked here
    results: dict[str, float] = {}
    runs: dict[str, str] = {}
    for run, draws in draws_of(options):
        found = dict(mean_geds(run, draws, options.images))
        crop, steps = run.record.preprocessing.center_crop, run.record.steps
        runs[run.record.method] = f"centre crops of {crop}, {steps} steps"
        results |= {name: value for name, value in found.items() if name != "ged_oracle"}
        results[f"{run.record.method}, draws from the raters"] = found["ged_oracle"]
    for name, value in results.items():
        print(f"{name}: {value:.4f}")
    config = {"samples": NUM_SAMPLES, "runs": runs, "data": f"LIDC-IDRI, {options.images} validation images"}
    write(options.out, record("stratified", config, results))


if __name__ == "__main__":
    main()
