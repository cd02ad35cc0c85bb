"""Time sampling with the Probabilistic U-Net on one 128 x 128 image, in units of one deterministic U-Net.

    python benchmarks/sampling.py --out benchmarks/results/sampling.json

Three ratios, in float32 and in bf16: image to 16 masks over one U-Net forward of the same widths (at most 2); 16 more
masks of the same prediction over one U-Net forward (at most 0.6); and calling the whole network 16 times over image to
16 masks (at least 8). Exits with code 1 if one is missed. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from record import median_seconds, record, write

from plurimask import build_method
from plurimask.prediction.device import channels_last

WIDTHS, SIZE, NUM_SAMPLES = (16, 32, 64, 96), 128, 16


def ratios(precision: torch.dtype, repeats: int) -> dict[str, float]:
    """Medians of one run, in milliseconds, and the three ratios."""
    torch.manual_seed(0)
    layout = torch.channels_last
    unet = channels_last(build_method("unet", channels=WIDTHS).eval())
    method = channels_last(build_method("probabilistic-unet", channels=WIDTHS).eval())
    image = torch.randn(1, 1, SIZE, SIZE).contiguous(memory_format=layout)

    def timed(function: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
                return function()

        return run

    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        prediction = method(image)
    functions = {
        "unet_forward": timed(lambda: unet(image)),
        "image_to_16_masks": timed(lambda: method(image).sample(NUM_SAMPLES)),
        "16_more_masks": timed(lambda: prediction.sample(NUM_SAMPLES)),
        "network_16_times": timed(lambda: [method(image).sample(1) for _ in range(NUM_SAMPLES)]),
    }
    ms = {f"{name}_ms": round(1e3 * value, 3) for name, value in median_seconds(functions, repeats).items()}
    return ms | {
        "image_to_16_masks": round(ms["image_to_16_masks_ms"] / ms["unet_forward_ms"], 3),
        "16_more_masks": round(ms["16_more_masks_ms"] / ms["unet_forward_ms"], 3),
        "gain_over_16_calls": round(ms["network_16_times_ms"] / ms["image_to_16_masks_ms"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {
        "float32": ratios(torch.float32, options.repeats),
        "bf16": ratios(torch.bfloat16, options.repeats),
    }
    config = {"widths": WIDTHS, "size": [SIZE, SIZE], "samples": NUM_SAMPLES, "repeats": options.repeats, "seed": 0}
    write(options.out, record("sampling", {**config, "data": "one image of normal noise"}, results))
    missed = []
    for name, row in results.items():
        print(name, ", ".join(f"{key} {value}" for key, value in row.items()))
        if row["image_to_16_masks"] > 2 or row["16_more_masks"] > 0.6 or row["gain_over_16_calls"] < 8:
            missed.append(name)
    if missed:
        sys.exit(f"missed in {' and '.join(missed)}: needed at most 2, at most 0.6 and at least 8")


if __name__ == "__main__":
    main()
