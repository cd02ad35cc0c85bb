"""Time a training step of the Probabilistic U-Net with 1 and with 4 raters, in units of a U-Net's of the same widths.

    python benchmarks/training.py --out benchmarks/results/training.json

Gradient, clipping and optimiser of a batch that is there already, in float32 in both memory layouts, of which a
training takes the faster, and in bf16 in the usual one where the processor has it. Run it on a quiet machine. With
ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2 a processor with AVX-512 calculates as one without.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import median_seconds, record, write
from torch import Tensor

from plurimask import build_method
from plurimask.method import SegmentationMethod
from plurimask.prediction.device import Layout, has_fast_bf16, images_in_layout, in_layout
from plurimask.training.config import TrainingConfig
from plurimask.training.step import optimizer_of

WIDTHS, LATENT_DIM, BATCH, SIZE, MANY = (32, 64, 128, 192), 2, 5, 128, 4
CONFIG = TrainingConfig(max_steps=1)
PLAIN: tuple[tuple[torch.dtype, Layout], ...] = ((torch.float32, "channels_last"), (torch.float32, "contiguous"))
HALF: tuple[tuple[torch.dtype, Layout], ...] = ((torch.bfloat16, "channels_last"),)


def step_of(method: SegmentationMethod, images: Tensor, labels: Tensor, precision: torch.dtype) -> Callable[[], None]:
    """One step of a training on images and labels that are there."""
    optimizer = optimizer_of(method, CONFIG)

    def step() -> None:
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            loss = method.loss(images, labels, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(method.parameters(), CONFIG.gradient_clip)
        optimizer.step()

    return step


def steps(precision: torch.dtype, layout: Layout) -> dict[str, Callable[[], None]]:
    """The steps that are compared, by name."""
    torch.manual_seed(0)
    images = images_in_layout(torch.randn(BATCH, 1, SIZE, SIZE), layout)
    labels = (torch.rand(BATCH, MANY, SIZE, SIZE) > 0.8).to(torch.uint8)
    unet = in_layout(build_method("unet", channels=WIDTHS).train(), layout)
    latent = in_layout(build_method("probabilistic-unet", channels=WIDTHS, latent_dim=LATENT_DIM).train(), layout)
    return {
        "unet": step_of(unet, images, labels[:, :1], precision),
        "one_rater": step_of(latent, images, labels[:, :1], precision),
        "four_raters": step_of(latent, images, labels, precision),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chosen = PLAIN + (HALF if has_fast_bf16(torch.device("cpu")) else ())
    # All in turn, so that a machine that slows down does so for all.
    ways = {f"{str(precision)[6:]}, {layout}": steps(precision, layout) for precision, layout in chosen}
    functions = {f"{way}/{name}": step for way, of in ways.items() for name, step in of.items()}
    medians = median_seconds(functions, options.repeats)
    results: dict[str, Any] = {}
    for way, of in ways.items():
        seconds = {name: medians[f"{way}/{name}"] for name in of}
        results[way] = {
            **{f"{name}_ms": round(1e3 * value, 1) for name, value in seconds.items()},
            "one_rater_over_unet": round(seconds["one_rater"] / seconds["unet"], 3),
            "four_raters_over_unet": round(seconds["four_raters"] / seconds["unet"], 3),
            "gain_per_map": round(MANY * seconds["one_rater"] / seconds["four_raters"], 3),
        }
        print(way, ", ".join(f"{key} {value}" for key, value in results[way].items()))
    config = {"widths": WIDTHS, "latent_dim": LATENT_DIM, "batch": BATCH, "size": [SIZE, SIZE], "seed": 0}
    used = {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "onednn_max_isa": os.environ.get("ONEDNN_MAX_CPU_ISA"),
    }
    about = {"repeats": options.repeats, "data": "images of normal noise, random label maps", **used}
    write(options.out, record("training", {**config, **about}, results))


if __name__ == "__main__":
    main()
