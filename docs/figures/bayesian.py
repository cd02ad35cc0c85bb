"""Makes the picture of docs/methods/bayes-by-backprop.md in docs/images/, and prints the numbers that it quotes.

    python docs/figures/bayesian.py [--steps N] [--out FOLDER]

Trains a narrow U-Net with Gaussian weights, and the deterministic one beside it, on the built-in lesions at 32 x 32;
two minutes on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plurimask.data.example import DataSource
from plurimask.data.worlds.lesions import lesion_source
from plurimask.figures.charts import pruning_curve
from plurimask.figures.style import save_figure
from plurimask.method import SegmentationMethod
from plurimask.methods.bayes_by_backprop import BayesByBackprop
from plurimask.nn.bayesian import pruned, signal_to_noise
from plurimask.nn.losses import summed_cross_entropy
from plurimask.prediction.device import fast_precision
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
DRAWS, GRADIENTS = 8, 20


def trained(method: str, source: DataSource, steps: int, folder: Path) -> tuple[SegmentationMethod, Tensor, Tensor]:
    """A method in evaluation, and the validation images `(B, K, H, W)` and labels `(B, R, H, W)`, as it sees them."""
    settings: dict[str, Any] = {"channels": (12, 24, 36), "convs_per_scale": 2, "batch_size": 8, "max_steps": steps}
    settings |= {"learning_rate": 3e-3, "num_validations": 1, "validation_images": 2, "warmup_steps": 20}
    train_run(Plan(method, settings=settings), source, folder / method)
    run = load_run(folder / method)
    found = source.splits["val"]
    val = [run.record.preprocessing.example(found[index]) for index in range(len(found))]
    return run.method.eval(), torch.stack([one.image for one in val]), torch.stack([one.labels for one in val])


@torch.no_grad()
def dice(method: SegmentationMethod, images: Tensor, labels: Tensor) -> float:
    """Of the more likely class of the mean of the draws, and of most raters, all images together."""
    with fast_precision(images.device):
        mean = method(images).freeze(DRAWS, torch.Generator().manual_seed(0)).mean()
    found, wanted = mean[:, 1] > 0.5, labels.float().mean(1) > 0.5
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))


def print_gradients(method: BayesByBackprop, images: Tensor, labels: Tensor) -> None:
    """The variance of the gradient of the likelihood by each estimator, over draws, summed over weights."""
    method.requires_grad_(True)  # which a run that was loaded does not want
    parameters = [*method.network.network.parameters(), *method.network.rho.parameters()]
    half = len(parameters) // 2
    for estimator in ("local", "flipout", "plain"):
        generator, gradients = torch.Generator().manual_seed(1), []
        for _ in range(GRADIENTS):
            logits = method.network(images, estimator, generator)
            loss = summed_cross_entropy(logits, labels).mean()
            own = torch.autograd.grad(loss, parameters)
            parts = own[:half], own[half:]
            gradients.append([torch.cat([one.flatten() for one in part]) for part in parts])
        variances = [float(torch.stack(of_part).var(0).sum()) for of_part in zip(*gradients, strict=True)]
        print(f"{estimator}: variance of the gradient of means {variances[0]:.4g}, of rho {variances[1]:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images")
    options = parser.parse_args()
    source = lesion_source(num_train=200, num_val=40, seed=0, size=32)
    with tempfile.TemporaryDirectory() as folder:
        single, *val = trained("unet", source, options.steps, Path(folder))
        print(f"unet: Dice {dice(single, *val):.3f}")
        method, images, labels = trained("bayes-by-backprop", source, options.steps, Path(folder))
    assert isinstance(method, BayesByBackprop)
    ratios = signal_to_noise(method)
    print(f"{len(ratios)} weights, the median of |mean| / sigma {float(ratios.median()):.2f}")
    points = [(share, dice(pruned(method, share), images, labels)) for share in SHARES]
    print("share of weights taken away, Dice:", *(f"{share:.0%} {score:.3f}" for share, score in points))
    print_gradients(method, images[:16], labels[:16, 0])
    save_figure(pruning_curve({"bayes-by-backprop": points}), options.out / "bayes-by-backprop-pruning.png")


if __name__ == "__main__":
    main()
