"""What training and sampling of the Hierarchical Probabilistic U-Net cost, in units of its own network.

    python benchmarks/hierarchical.py --out benchmarks/results/hierarchical.json

Two ratios, for the presets `small` and `lidc`, in float32 and where it is fast in bf16. `training_step`: loss and
gradient of one step with one rater, over forward and gradient of the prior core and stitching decoder alone: the step
needs the posterior core besides, and counted operations allow 1.45. `sampling`: one image to 16 masks, over 16 calls of
the whole network for a mask each. Exits with 1 if a step costs more than 1.7, or 16 masks more than 0.65.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from record import median_seconds, record, write
from torch.nn import functional

from plurimask import build_method
from plurimask.methods.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from plurimask.methods.presets import PRESETS
from plurimask.prediction.device import channels_last, has_fast_bf16

NAME = "hierarchical-probabilistic-unet"
NUM_SAMPLES = 16
BATCHES = {"small": (16, 64), "lidc": (4, 128)}
"""Images of a training step, and their height and width; sampling is for one of them."""
MOST_OF_A_STEP, MOST_OF_SAMPLING = 1.7, 0.65


def measure(preset: str, repeats: int, bf16: bool) -> dict[str, float]:
    """Medians of one run, in milliseconds, and the two ratios."""
    torch.manual_seed(0)
    batch_size, size = BATCHES[preset]
    method = channels_last(build_method(NAME, **PRESETS[NAME][preset].method).train())
    assert isinstance(method, HierarchicalProbabilisticUNet)
    images = torch.randn(batch_size, 1, size, size).contiguous(memory_format=torch.channels_last)
    labels = (images[:, :1] > 0.5).to(torch.uint8)
    which = torch.arange(batch_size)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            total = method.loss(images, labels).total
        method.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]

    def prior_alone() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, _ = method.decode(
                method.encode(images), which, lambda _, prior: prior.transform(torch.randn(prior.mean.shape))
            )
            total = functional.cross_entropy(logits.float(), labels[:, 0].long(), reduction="sum")
        method.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]

    def in_inference(function: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return function()

        return run

    one = images[:1]
    functions: dict[str, Callable[[], object]] = {
        "step": step,
        "prior_alone": prior_alone,
        "one_image_to_16_masks": in_inference(lambda: method(one).sample(NUM_SAMPLES)),
        "network_16_times": in_inference(lambda: [method(one).sample(1) for _ in range(NUM_SAMPLES)]),
    }
    seconds = median_seconds(functions, repeats)
    return {
        **{f"{name}_ms": round(1e3 * value, 2) for name, value in seconds.items()},
        "training_step": round(seconds["step"] / seconds["prior_alone"], 3),
        "sampling": round(seconds["one_image_to_16_masks"] / seconds["network_16_times"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--presets", nargs="*", default=list(BATCHES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    precisions = {"float32": False, **({"bf16": True} if has_fast_bf16(torch.device("cpu")) else {})}
    results = {
        f"{preset}, {precision}": measure(preset, options.repeats, bf16)
        for preset in options.presets
        for precision, bf16 in precisions.items()
    }
    missed = []
    for name, row in results.items():
        print(name, ", ".join(f"{key} {value}" for key, value in row.items()))
        if row["training_step"] > MOST_OF_A_STEP or row["sampling"] > MOST_OF_SAMPLING:
            missed.append(name)
    config = {"batches": BATCHES, "samples": NUM_SAMPLES, "repeats": options.repeats, "seed": 0}
    write(options.out, record("hierarchical", {**config, "data": "images of normal noise"}, results))
    if missed:
        sys.exit(f"missed by {' and '.join(missed)}: needed at most {MOST_OF_A_STEP} and {MOST_OF_SAMPLING}")


if __name__ == "__main__":
    main()
