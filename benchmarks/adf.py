"""What one pass of assumed density filtering costs, against the ordinary network and against Monte-Carlo dropout.

    python benchmarks/adf.py --out benchmarks/results/adf.json

All networks have the same widths, the same image and untrained weights. `deterministic` is the ordinary network's class
scores; `adf` the moments of the same network and the Dirichlet of each pixel, its activations uncompiled (in blocks),
`adf_compiled` the same with `torch.compile`; `dropout_20` twenty passes of the project's dropout U-Net, which shares
between passes what it can (benchmarks/mc_dropout.py), and `dropout_20_plain` twenty times the deterministic pass, which
is what separate calls cost without drawing a mask. `activation` compares a ReLU with its moments: by the published
formula, in blocks, and compiled. float32. Exits with 1 if a U-Net's pass (compiled, where there is a compiler) costs
more than 3.5 times the deterministic one, or is less than 4 times faster than `dropout_20`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import median_seconds, record, write
from torch import Tensor

from plurimask import build_method
from plurimask.method import SegmentationMethod
from plurimask.methods.lightweight_probabilistic import LightweightProbabilistic
from plurimask.nn.moments.fused import can_compile, fused_leaky
from plurimask.prediction.device import channels_last

NUM_PASSES = 20
MOST, LEAST = 3.5, 4.0
NETWORKS: dict[str, dict[str, Any]] = {
    "unet 16-96": {"channels": (16, 32, 64, 96)},
    "unet 32-192": {"channels": (32, 64, 128, 192)},
    "deeplabv3plus 16-96": {"channels": (16, 32, 64, 96), "backbone": "deeplabv3plus"},
}


def built(name: str, **settings: Any) -> SegmentationMethod:
    torch.manual_seed(0)
    return channels_last(build_method(name, num_classes=3, **settings).eval())


def passes_of_dropout(images: Tensor, channels: tuple[int, ...]) -> Callable[[], object]:
    method = built("dropout-unet", channels=channels)

    def passes() -> list[Tensor]:
        prediction = method(images)
        return [*prediction.logit_chunks(prediction.draw_noise(NUM_PASSES))]

    return passes


def measure(settings: dict[str, Any], images: Tensor, repeats: int) -> dict[str, float]:
    functions: dict[str, Callable[[], object]] = {}
    kinds = {"adf": False, **({"adf_compiled": True} if can_compile(images.device) else {})}
    for kind, compiled in kinds.items():
        method = built("lightweight-probabilistic", **settings, compiled=compiled)
        assert isinstance(method, LightweightProbabilistic)
        functions.setdefault("deterministic", partial(method.network.network, images))
        functions[kind] = partial(method.dirichlet, images)
    if "backbone" not in settings:
        functions["dropout_20"] = passes_of_dropout(images, settings["channels"])
    with torch.inference_mode():
        times = median_seconds(functions, repeats)
    once = times["deterministic"]
    ratios = {f"{kind}_ratio": times[kind] / once for kind in kinds}
    dropout = {"dropout_20": times["dropout_20"]} if "dropout_20" in times else {}
    dropout["dropout_20_plain"] = NUM_PASSES * once
    faster = {f"{kind}_faster_than_{name}": dropout[name] / times[kind] for name in dropout for kind in kinds}
    return {**times, **ratios, **faster}


def published_relu(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """The moments as the formula is published: a second moment less a squared mean."""
    sigma = variance.sqrt()
    a = mean / sigma
    cdf, density = 0.5 * (1 + torch.erf(a / math.sqrt(2))), torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    result = mean * cdf + sigma * density
    return result, (mean * mean + variance) * cdf + mean * sigma * density - result * result


def activation(repeats: int) -> dict[str, float]:
    mean = torch.randn(4, 32, 128, 128).contiguous(memory_format=torch.channels_last)
    variance = torch.rand_like(mean)
    functions: dict[str, Callable[[], object]] = {
        "relu": lambda: torch.relu(mean),
        "published": lambda: published_relu(mean, variance),
        "blocks": lambda: fused_leaky(mean, variance, 0.0),
    }
    if can_compile(mean.device):
        functions["compiled"] = lambda: fused_leaky(mean, variance, 0.0, compiled=True)
    with torch.inference_mode():
        times = median_seconds(functions, repeats)
    return {**times, **{f"{name}_ratio": times[name] / times["relu"] for name in functions if name != "relu"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(1, 1, options.size, options.size).contiguous(memory_format=torch.channels_last)
    results = {name: measure(settings, images, options.repeats) for name, settings in NETWORKS.items()}
    results["activation"] = activation(options.repeats)
    for name, values in results.items():
        print(name, {key: round(value, 4) for key, value in values.items()})
    write(options.out, record("adf", {"size": options.size, "repeats": options.repeats}, results))
    unets = [values for name, values in results.items() if name.startswith("unet")]
    kind = "adf_compiled" if can_compile(images.device) else "adf"
    slow = any(values[f"{kind}_ratio"] > MOST or values[f"{kind}_faster_than_dropout_20"] < LEAST for values in unets)
    sys.exit(int(slow))


if __name__ == "__main__":
    main()
