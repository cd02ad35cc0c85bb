"""Time a training step of the Probabilistic U-Net with 1 and with 4 raters, beside a U-Net's of the same widths.

    python benchmarks/training.py --before CHECKOUT --out benchmarks/results/training.json

Gradient, clipping and optimiser of a batch that is there already: in float32 in both memory layouts, of which a
training takes the faster, and in bf16 in the usual one where the processor has it. `--before` is a checkout of an
earlier commit, whose step (float32, channels_last, which it always used) is taken in turn with those of this one.

Each way has a process of its own, and they make one step after the other, by turns. One thread is bound to one core,
and what counts is the processor's time, which other work on the machine lengthens less; of two threads it is the
clock's. Ratios are medians over turns. With ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2 a processor with
AVX-512 calculates as one without.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from record import commit, record, write
from training_steps import BATCH, LATENT_DIM, RATERS, SIZE, WIDTHS

from plurimask.prediction.device import has_fast_bf16

HERE = Path(__file__).resolve().parents[1]
BEFORE = "before, float32, channels_last"
THREADS = (1, 2)

Way = tuple[Path, str, str]
"""Checkout, precision, memory layout."""


class Steps:
    """A process that makes steps."""

    def __init__(self, name: str, way: Way, threads: int) -> None:
        checkout, precision, layout = way
        command = [
            sys.executable,
            str(HERE / "benchmarks" / "training_steps.py"),
            name,
            precision,
            layout,
            str(threads),
        ]
        environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    def step(self) -> tuple[float, float]:
        """Seconds of one step, on the clock and of the processor."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        clock, processor = map(float, self.process.stdout.readline().split())
        return clock, processor

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def timed(name: str, ways: dict[str, Way], threads: int, turns: int) -> dict[str, list[tuple[float, float]]]:
    """Clock's and processor's seconds of each way's steps, after one to warm up."""
    running = {key: Steps(name, way, threads) for key, way in ways.items()}
    seconds: dict[str, list[tuple[float, float]]] = {key: [] for key in ways}
    for turn in range(turns + 1):
        for key, steps in running.items():
            taken = steps.step()
            if turn:
                seconds[key].append(taken)
    for steps in running.values():
        steps.end()
    return seconds


def compared(seconds: dict[str, list[tuple[float, float]]], threads: int) -> dict[str, dict[str, Any]]:
    """Medians of each way in milliseconds, and how many times less than before they are, turn by turn."""
    counted = int(threads == 1)  # processor's seconds, else the clock's
    found: dict[str, dict[str, Any]] = {}
    for key, taken in seconds.items():
        clock, processor = (statistics.median(one) for one in zip(*taken, strict=True))
        found[key] = {"clock_ms": round(1e3 * clock, 1), "processor_ms": round(1e3 * processor, 1)}
        if key != BEFORE and BEFORE in seconds:
            gains = [was[counted] / now[counted] for was, now in zip(seconds[BEFORE], taken, strict=True)]
            quartiles = statistics.quantiles(gains, n=4)
            found[key]["times_faster"] = round(quartiles[1], 3)
            found[key]["times_faster_quartiles"] = [round(quartiles[0], 3), round(quartiles[2], 3)]
    return found


def about(turns: int, before: Path | None) -> dict[str, Any]:
    """What a record says of the steps."""
    return {
        "widths": WIDTHS,
        "latent_dim": LATENT_DIM,
        "batch": BATCH,
        "size": [SIZE, SIZE],
        "turns": turns,
        "data": "images of normal noise, random label maps",
        "seed": 0,
        "before": commit(before) if before else None,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "onednn_max_isa": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "counted": "of 1 thread, bound to a core, the processor's time; of 2 threads the clock's",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="checkout of the commit to compare with")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--layouts", nargs="+", default=["contiguous", "channels_last"], help="those tried in float32")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ways: dict[str, Way] = {BEFORE: (options.before.resolve(), "float32", "channels_last")} if options.before else {}
    ways |= {f"float32, {layout}": (HERE, "float32", layout) for layout in options.layouts}
    if has_fast_bf16(torch.device("cpu")):
        ways["bfloat16, channels_last"] = (HERE, "bfloat16", "channels_last")
    config = about(options.turns, options.before)
    results: dict[str, Any] = {}
    for threads in THREADS:
        for name in RATERS:
            of_step = compared(timed(name, ways, threads, options.turns), threads)
            results.setdefault(f"{threads} threads", {})[name] = of_step
            print(threads, name, of_step, flush=True)
            write(options.out, record("training", config, results))


if __name__ == "__main__":
    main()
