"""How well propagated moments agree with passes of noisy images, in trained networks.

    python benchmarks/moments.py --runs yeast/runs/unet --out benchmarks/results/moments.json

RUNS are runs on the trapped yeast of benchmarks/yeast.py, of `unet` or `lightweight-probabilistic`; their ordinary
network is passed with 2,000 draws of Gaussian noise of variance 1e-3 on some validation images, and turned by
`moment_network`, without a floor: as it stands, and after `calibrate_moments` on some training images. Compared are
means and variances of the class scores. Exits with 1 if, calibrated, the correlation of the variances is below 0.9, or
the ratio of their means is not between 0.5 and 2.

What remains between them is what the propagation neglects: that neighbouring values depend on each other, because they
share inputs (of this the calibration learns what does not depend on the image), and that values behind a ReLU are no
Gaussians.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from record import record, write
from torch import Tensor, nn
from yeast import NUM_VAL, SIZE

from plurimask import load_run
from plurimask.data.worlds.traps import trap_source
from plurimask.method import SegmentationMethod
from plurimask.methods.lightweight_probabilistic import LightweightProbabilistic
from plurimask.methods.unet import UNet
from plurimask.nn.moments import MomentNetwork, calibrate_moments, moment_network

NOISE, NUM_PASSES, CHUNK, NUM_IMAGES = 1e-3, 2000, 50, 3
NUM_CALIBRATION = 16
LEAST_CORRELATION, RATIO = 0.9, (0.5, 2.0)


def ordinary(method: SegmentationMethod) -> nn.Module:
    """The network of a method: images in, class scores out."""
    if isinstance(method, LightweightProbabilistic):
        return method.network.network
    if isinstance(method, UNet):
        return nn.Sequential(method.features, method.scores)
    raise SystemExit(f"{type(method).__name__}: not a unet or lightweight-probabilistic run")


def drawn_moments(network: nn.Module, image: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of the class scores over noisy passes, float64."""
    generator, shift = torch.Generator().manual_seed(seed), network(image).double()
    total, squares = torch.zeros_like(shift), torch.zeros_like(shift)
    for _ in range(NUM_PASSES // CHUNK):
        noise = torch.randn(CHUNK, *image.shape[1:], generator=generator) * NOISE**0.5
        scores = network(image + noise).double() - shift
        total, squares = total + scores.sum(0, keepdim=True), squares + scores.square().sum(0, keepdim=True)
    mean = total / NUM_PASSES
    return mean + shift, (squares / NUM_PASSES - mean.square()) * NUM_PASSES / (NUM_PASSES - 1)


def agreements(path: Path) -> dict[str, dict[str, Any]]:
    """Over all scores of some images, as the network stands and calibrated."""
    run = load_run(path)
    network = ordinary(run.method.eval())
    splits = trap_source(NUM_CALIBRATION, NUM_VAL, size=SIZE).splits
    training, images = (
        torch.stack([run.record.preprocessing.image(splits[split][index].image) for index in range(count)])
        for split, count in (("train", NUM_CALIBRATION), ("val", NUM_IMAGES))
    )
    with torch.no_grad():
        drawn = [drawn_moments(network, image[None], index) for index, image in enumerate(images)]
    propagating = moment_network(network).eval()
    plain = agreement(propagating, images, drawn)
    calibrated = agreement(calibrate_moments(propagating, training, NOISE), images, drawn)
    return {path.name: plain, f"{path.name}, calibrated": calibrated}


def agreement(propagating: MomentNetwork, images: Tensor, drawn: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Correlation and ratio of the variances, and the means' difference."""
    with torch.no_grad():
        propagated = [propagating(image[None], torch.full_like(image[None], NOISE)) for image in images]
    mean, variance = (torch.cat([one[k].flatten() for one in drawn]) for k in (0, 1))
    own_mean, own_variance = (torch.cat([one[k].flatten().double() for one in propagated]) for k in (0, 1))
    return {
        "correlation_of_variances": float(torch.corrcoef(torch.stack([variance, own_variance]))[0, 1]),
        "correlation_of_log_variances": float(torch.corrcoef(torch.stack([variance, own_variance]).log())[0, 1]),
        "ratio_of_mean_variances": float(own_variance.mean() / variance.mean()),
        "correlation_of_means": float(torch.corrcoef(torch.stack([mean, own_mean]))[0, 1]),
        "mean_error_in_sigmas": float((mean - own_mean).abs().mean() / variance.mean().sqrt()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for path in options.runs:
        results.update(agreements(path))
    for name, values in results.items():
        print(name, {key: round(value, 4) for key, value in values.items()})
    config = {"noise_variance": NOISE, "passes": NUM_PASSES, "images": NUM_IMAGES, "size": SIZE}
    config["calibration_images"] = NUM_CALIBRATION
    write(options.out, record("moments", config, results))
    good = all(
        values["correlation_of_variances"] >= LEAST_CORRELATION
        and RATIO[0] <= values["ratio_of_mean_variances"] <= RATIO[1]
        for name, values in results.items()
        if name.endswith("calibrated")
    )
    sys.exit(int(not good))


if __name__ == "__main__":
    main()
