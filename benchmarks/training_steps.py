"""Steps of a training, one for each line that is read, and the seconds of each: what `training.py` starts and asks.

    PYTHONPATH=CHECKOUT/src python benchmarks/training_steps.py STEP PRECISION LAYOUT THREADS

The package on the path may be that of an earlier commit.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import torch

from plurimask import build_method
from plurimask.training.config import TrainingConfig
from plurimask.training.step import optimizer_of

WIDTHS, LATENT_DIM, BATCH, SIZE = (32, 64, 128, 192), 2, 5, 128
RATERS = {"one_rater": 1, "four_raters": 4, "unet": 1}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
CONFIG = TrainingConfig(max_steps=1)


def step_of(name: str, precision: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    """Gradient, clipping and optimiser on images and labels that are there."""
    torch.manual_seed(0)
    images = torch.randn(BATCH, 1, SIZE, SIZE).contiguous(memory_format=layout)
    labels = (torch.rand(BATCH, RATERS[name], SIZE, SIZE) > 0.8).to(torch.uint8)
    is_plain = name == "unet"
    settings = {"channels": WIDTHS} if is_plain else {"channels": WIDTHS, "latent_dim": LATENT_DIM}
    method = build_method("unet" if is_plain else "probabilistic-unet", **settings).train()
    method.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = optimizer_of(method, CONFIG)

    def step() -> None:
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            loss = method.loss(images, labels, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(method.parameters(), CONFIG.gradient_clip)
        optimizer.step()

    return step


def main() -> None:
    name, precision, layout, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if threads == "1" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    step = step_of(name, PRECISIONS[precision], FORMATS[layout])
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
