"""The main job on the built-in lesions: train, sample, and hold the samples against the known truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask.data import DataSource
from plurimask.data.split import Selection
from plurimask.data.worlds.lesions import LesionWorld, lesion_source, write_folder
from plurimask.files.writing import replace_file
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.report.page import write_report
from plurimask.runs.load import Run, load_run
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run

NUM_TRAIN, NUM_VAL, NUM_TEST, SIZE = 4000, 100, 100, 40
NUM_SHOWN = 50
"""Images of each split that are saved for a look."""
TRUTH_SAMPLES = 100
MARKER = ".plurimask-demo"
SETTINGS: dict[str, Any] = {
    "convs_per_scale": 2,
    "learning_rate": 2e-3,
    "num_validations": 6,
    "validation_images": NUM_VAL,
    # The law goes by grey levels and by sizes in pixels: flips change neither.
    "augmentation": {"flip_vertical": 0.5, "rotation": 0.0, "scale": (1.0, 1.0), "gamma_probability": 0.0},
}


@dataclass(frozen=True)
class TruthComparison:
    """For each held-out image, what is known and what the samples do."""

    empty_probability: NDArray[np.float64]
    """`(B,)`: the probability that a reader sees nothing."""
    empty_share: NDArray[np.float64]
    """`(B,)`: the share of empty maps among the samples."""
    pixel_error: float
    """Mean absolute error of the mean probability, over pixels that some reader may mark."""

    @property
    def empty_error(self) -> float:
        """Mean absolute error of the share of empty samples."""
        return float(np.abs(self.empty_share - self.empty_probability).mean())


def demo(out: Path, minutes: float, seed: int = 0) -> dict[str, Any]:
    """Train a Probabilistic U-Net on the built-in world; run, data, truth and report go into the empty folder `out`.

    Returns `ged`, `ged_unbiased`, `ged_oracle` on the held-out images, and `empty_error`, `pixel_error` against the
    truth; of a training that was stopped, its outcome.
    """
    replace_file(out / MARKER, b"what lies beside this was written by plurimask demo\n")
    source = lesion_source(NUM_TRAIN, NUM_VAL, NUM_TEST, seed, SIZE)
    shown = {name: Selection(part, range(min(NUM_SHOWN, len(part)))) for name, part in source.splits.items()}
    write_folder(DataSource(source.description, shown, drawn=False), out / "data")
    labels = dict(zip(source.description.class_names, source.description.class_values, strict=True))
    replace_file(out / "data" / "dataset.json", json.dumps({"labels": labels}).encode())  # named as in the run
    plan = Plan("probabilistic-unet", "small", {**SETTINGS, "max_minutes": minutes}, seed)
    outcome = train_run(plan, source, out / "run")
    if outcome["stopped"]:
        return outcome
    run = load_run(out / "run")
    truth = compare_with_truth(run, source)
    text = (
        f"The world's law is known: for each image, the probability that a reader sees no lesion. Of {TRUTH_SAMPLES} "
        f"samples an image, the share that is empty errs by {truth.empty_error:.3f} on average over "
        f"{NUM_TEST} held-out images; the mean probability of a pixel that some reader may mark errs by "
        f"{truth.pixel_error:.3f}."
    )
    extra = [("Samples against the known truth", text, truth_figure(truth))]
    totals = write_report(run, source, out / "report.html", "test", extra=extra)
    scores = {name: totals[name] for name in ("ged", "ged_unbiased", "ged_oracle")}
    scores |= {"empty_error": truth.empty_error, "pixel_error": truth.pixel_error}
    content = {**scores, "num_images": NUM_TEST, "samples_for_truth": TRUTH_SAMPLES, "training": outcome}
    replace_file(out / "truth.json", json.dumps(content, indent=2).encode())
    return scores


def compare_with_truth(run: Run, source: DataSource, num_samples: int = TRUTH_SAMPLES) -> TruthComparison:
    """Samples for every held-out image against the law that its readers follow."""
    world = source.splits["test"]
    assert isinstance(world, LesionWorld)
    examples = map(world.__getitem__, range(len(world)))
    prepared = ((example.name, run.record.preprocessing.image(example.image)) for example in examples)
    shares: list[NDArray[np.float32]] = []
    errors: list[float] = []
    for _, samples, statistics, *_ in predict_images(run.method, prepared, Sampling(num_samples)):
        shares.append((samples == 0).flatten(2).all(2).float().mean(0).cpu().numpy())
        for mean in statistics.mean()[:, 1].cpu().numpy():
            known = world.truth(len(errors)).mean()
            errors.append(np.abs(mean - known)[known > 0].mean())
    known_shares = np.array([world.truth(index).empty_probability for index in range(len(world))])
    return TruthComparison(known_shares, np.concatenate(shares).astype(np.float64), float(np.mean(errors)))


def truth_figure(truth: TruthComparison) -> Figure:
    """The share of empty samples against the known probability, one point an image."""
    figure = Figure(figsize=(3.5, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="exact")
    axes.plot(truth.empty_probability, truth.empty_share, "o", color="#0072B2", markersize=4, alpha=0.6, label="image")
    axes.set(xlabel="probability that a reader sees nothing", ylabel="share of empty samples")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(frameon=False, fontsize=8)
    return figure
