"""Makes the picture of docs/methods/probabilistic-backpropagation.md in docs/images/, and prints its numbers.

    python docs/figures/backpropagation.py [--steps N] [--scales 2 3 4] [--out FOLDER]

Trains U-Nets of several depths on the built-in lesions at 32 x 32: by probabilistic backpropagation, with a mini-batch
as many data and as one, and by gradients, with six times the steps, which take about as long.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from plurimask.data.example import DataSource
from plurimask.data.worlds.lesions import lesion_source
from plurimask.figures.style import save_figure
from plurimask.prediction.device import fast_precision
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run

WIDTHS = (8, 16, 24, 32, 40)
DRAWS = 8


class Way(NamedTuple):
    """How a network is trained, and how it is drawn."""

    method: str
    settings: dict[str, Any]
    style: dict[str, Any]
    times: int = 1
    """How many steps it has for one of the others."""


_BY_UPDATES = {"compiled": False, "normalisation": "none", "memory": None, "image_weight": 300.0}
WAYS = {
    "a mini-batch as many data": Way("probabilistic-backpropagation", _BY_UPDATES, {"color": "#0072B2", "marker": "o"}),
    "a mini-batch as one datum": Way(
        "probabilistic-backpropagation",
        {**_BY_UPDATES, "batch_as": "datum"},
        {"color": "#D55E00", "marker": "v", "linestyle": "--"},
    ),
    "gradients (unet), 6 times the steps": Way(
        "unet", {"learning_rate": 2e-3, "warmup_steps": 20}, {"color": "0.5", "marker": "s"}, 6
    ),
}


def dice_of(way: Way, num_scales: int, source: DataSource, steps: int) -> float:
    """Of the more likely class of the mean of the draws, and of most raters, all held-out images together."""
    settings: dict[str, Any] = {"channels": WIDTHS[:num_scales], "convs_per_scale": 2, "batch_size": 8}
    settings |= {"max_steps": way.times * steps, "num_validations": 1, "validation_images": 2, "ema_decay": 0.97}
    with tempfile.TemporaryDirectory() as folder:
        train_run(Plan(way.method, settings={**settings, **way.settings}), source, Path(folder) / "run")
        run = load_run(Path(folder) / "run")
    found = source.splits["val"]
    val = [run.record.preprocessing.example(found[index]) for index in range(len(found))]
    images, labels = torch.stack([one.image for one in val]), torch.stack([one.labels for one in val])
    with torch.no_grad(), fast_precision(images.device):
        mean = run.method.eval()(images).freeze(DRAWS, torch.Generator().manual_seed(0)).mean()
    return _dice(mean[:, 1] > 0.5, labels.float().mean(1) > 0.5)


def _dice(found: Tensor, wanted: Tensor) -> float:
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))


def chart(found: dict[str, dict[int, float]], steps: int) -> Figure:
    """Dice against the number of scales, a line for each way."""
    figure = Figure(figsize=(4.2, 2.8), layout="constrained")
    axes = figure.subplots()
    for name, by_scales in found.items():
        axes.plot(list(by_scales), list(by_scales.values()), label=name, markersize=5, **WAYS[name].style)
    axes.set(xlabel="scales of the U-Net", ylabel=f"Dice after {steps} steps", ylim=(0, 1.05))
    axes.set_xticks(list(next(iter(found.values()))))
    axes.legend(frameon=False, fontsize=8, loc="upper center")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4], choices=range(2, 1 + len(WIDTHS)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images")
    options = parser.parse_args()
    source = lesion_source(num_train=160, num_val=40, seed=0, size=32)
    found: dict[str, dict[int, float]] = {name: {} for name in WAYS}
    for name, way in WAYS.items():
        for num_scales in options.scales:
            found[name][num_scales] = dice_of(way, num_scales, source, options.steps)
            print(f"{num_scales} scales, {name}: Dice {found[name][num_scales]:.3f}", flush=True)
    save_figure(chart(found, options.steps), options.out / "probabilistic-backpropagation-depth.png")


if __name__ == "__main__":
    main()
