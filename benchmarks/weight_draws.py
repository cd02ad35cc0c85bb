"""What 20 samples of Bayes by Backprop and of SWAG cost, beside 20 forwards of the deterministic network.

    python benchmarks/weight_draws.py --out benchmarks/results/weight_draws.json

The network is the U-Net of the preset `small`, one image. Ways to pass it with 20 draws of its weights:

    bayes-by-backprop  what the method does: each draw an ordinary pass; drawing the weights counts
    swag               20 networks that were drawn when training ended, each an ordinary pass
    vmap               torch.func.vmap of the network over the weights of 20 draws of Bayes by Backprop, which makes its
                       convolutions grouped ones of 20 groups; drawing the weights counts

and of one 3x3 convolution of the widest scale 20 plain ones beside one of 20 groups. Times are of the processor, in one
thread, medians over rounds in which each way has its turn; a ratio is the median of those of the rounds. Exits with 1
if Bayes by Backprop costs more than 1.3 times the forwards, or SWAG more than 1.1 times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from record import record, write
from torch import Tensor
from torch.func import functional_call, vmap

from plurimask import build_method
from plurimask.method import SegmentationMethod
from plurimask.methods.bayes_by_backprop import BayesByBackprop
from plurimask.methods.presets import PRESETS
from plurimask.methods.swag import SWAG
from plurimask.nn.bayesian.network import gaussian_parameters, of_parameters
from plurimask.prediction.device import channels_last, has_fast_bf16

LIMITS = {"bayes-by-backprop": 1.3, "swag": 1.1}
BASE = "forwards"


def seconds_of_rounds(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The processor time of each function in each of the rounds, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def by_vmap(method: BayesByBackprop, images: Tensor, draws: int) -> Tensor:
    """Class scores `(draws, B, C, H, W)`."""
    means = gaussian_parameters(method.network.network)
    mean, sigma = method.network.posterior()
    weights = torch.addcmul(mean, sigma, torch.randn(draws, len(mean)))
    network, names = method.network.network, [key.replace("/", ".") for key in means]

    def one(row: Tensor) -> Tensor:
        drawn = dict(zip(names, of_parameters(row, list(means.values())), strict=True))
        scores: Tensor = functional_call(network, drawn, (images,))
        return scores

    return vmap(one)(weights)


def passes(method: SegmentationMethod, images: Tensor, draws: int) -> Callable[[], object]:
    def run() -> None:
        prediction = method(images)
        prediction = prediction.components() or prediction
        list(prediction.logit_chunks(prediction.draw_noise(draws)))

    return run


def measure(methods: tuple[BayesByBackprop, SWAG], images: Tensor, rounds: int, bf16: bool) -> dict[str, float]:
    """Seconds of each way, and their ratios to the forwards."""
    method, swag = methods
    draws, width = swag.config.draws, method.config.channels[-1]
    x = torch.randn(1, width, *(side // 2 ** (len(method.config.channels) - 1) for side in images.shape[2:]))
    weights = torch.randn(draws * width, width, 3, 3)
    layout = torch.channels_last
    x, single = x.contiguous(memory_format=layout), weights[:width].contiguous(memory_format=layout)
    wide = x.repeat(1, draws, 1, 1).contiguous(memory_format=layout)
    grouped = weights.contiguous(memory_format=layout)
    ways: dict[str, Callable[[], object]] = {
        BASE: lambda: [method.network.network(images) for _ in range(draws)],
        "bayes-by-backprop": passes(method, images, draws),
        "swag": passes(swag, images, draws),
        "vmap": lambda: by_vmap(method, images, draws),
        "plain convolutions": lambda: [torch.conv2d(x, single, padding=1) for _ in range(draws)],
        "grouped convolution": lambda: torch.conv2d(wide, grouped, padding=1, groups=draws),
    }
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        times = seconds_of_rounds(ways, rounds)

    def ratio(name: str, base: str) -> float:
        return statistics.median(own / other for own, other in zip(times[name], times[base], strict=True))

    ratios = {f"{name}, ratio": ratio(name, BASE) for name in (*LIMITS, "vmap")}
    ratios["grouped, ratio"] = ratio("grouped convolution", "plain convolutions")
    return {**{name: statistics.median(of_rounds) for name, of_rounds in times.items()}, **ratios}


def built() -> tuple[BayesByBackprop, SWAG]:
    """Both methods of the preset `small`, SWAG's networks drawn: what their weights are is no matter here."""
    method, swag = (
        channels_last(build_method(name, **PRESETS[name]["small"].method).eval())
        for name in ("bayes-by-backprop", "swag")
    )
    assert isinstance(method, BayesByBackprop) and isinstance(swag, SWAG)
    swag.is_drawn.fill_(True)
    return method, swag


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    methods, results = built(), {}
    for size in options.sizes:
        images = torch.randn(1, 1, size, size).contiguous(memory_format=torch.channels_last)
        for precision in ("float32", "bf16") if has_fast_bf16(torch.device("cpu")) else ("float32",):
            values = measure(methods, images, options.rounds, precision == "bf16")
            results[f"{size} x {size}, {precision}"] = values
            print(size, precision, {name: round(value, 4) for name, value in values.items()}, flush=True)
    config = {"preset": "small", "draws": methods[1].config.draws, "rounds": options.rounds, "threads": 1}
    write(options.out, record("weight_draws", config, results))
    missed = [
        f"{name}, {where}"
        for where, values in results.items()
        for name, limit in LIMITS.items()
        if values[f"{name}, ratio"] > limit
    ]
    print(f"not reached: {'; '.join(missed)}" if missed else "reached")
    sys.exit(int(bool(missed)))


if __name__ == "__main__":
    main()
