"""What 20 samples of Bayes by Backprop cost, beside 20 forwards of the deterministic network, and by other ways.

    python benchmarks/weight_draws.py --out benchmarks/results/weight_draws.json

The network is the U-Net of the preset `small`, one image. Ways to pass it with 20 draws of its weights:

    one by one         what the method does: each draw an ordinary pass; drawing the weights counts
    vmap               torch.func.vmap of the network over the weights of all draws, which makes its convolutions
                       grouped ones of 20 groups; drawing the weights counts

and of one 3x3 convolution of the widest scale 20 plain ones beside one of 20 groups. Times are of the processor, in
one thread, the least of the repeats, so others on the machine matter little. Exits with 1 if the method's way costs
more than 1.3 times the forwards.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from record import record, write
from torch import Tensor
from torch.func import functional_call, vmap

from plurimask import build_method
from plurimask.methods.bayes_by_backprop import BayesByBackprop
from plurimask.methods.presets import PRESETS
from plurimask.nn.bayesian.network import gaussian_parameters, of_parameters
from plurimask.prediction.device import channels_last, has_fast_bf16

LIMIT = 1.3


def least_seconds(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least processor time of each function over `repeats` rounds, after one to warm up."""
    least = dict.fromkeys(functions, float("inf"))
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if turn:
                least[name] = min(least[name], time.process_time() - start)
    return least


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


def measure(method: BayesByBackprop, images: Tensor, draws: int, repeats: int, bf16: bool) -> dict[str, float]:
    """Seconds of each way, and their ratios to the forwards."""
    width = method.config.channels[-1]
    x = torch.randn(1, width, *(side // 2 ** (len(method.config.channels) - 1) for side in images.shape[2:]))
    weights = torch.randn(draws * width, width, 3, 3)
    layout = torch.channels_last
    x, single = x.contiguous(memory_format=layout), weights[:width].contiguous(memory_format=layout)
    wide = x.repeat(1, draws, 1, 1).contiguous(memory_format=layout)
    grouped = weights.contiguous(memory_format=layout)

    def one_by_one() -> None:
        prediction = method(images)
        list(prediction.logit_chunks(prediction.draw_noise(draws)))

    ways: dict[str, Callable[[], object]] = {
        "forwards": lambda: [method.network.network(images) for _ in range(draws)],
        "one by one": one_by_one,
        "vmap": lambda: by_vmap(method, images, draws),
        "plain convolutions": lambda: [torch.conv2d(x, single, padding=1) for _ in range(draws)],
        "grouped convolution": lambda: torch.conv2d(wide, grouped, padding=1, groups=draws),
    }
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        times = least_seconds(ways, repeats)
    ratios = {f"{name}, ratio": times[name] / times["forwards"] for name in ("one by one", "vmap")}
    return {**times, **ratios, "grouped, ratio": times["grouped convolution"] / times["plain convolutions"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    method = build_method("bayes-by-backprop", **PRESETS["bayes-by-backprop"]["small"].method)
    channels_last(method.eval())
    assert isinstance(method, BayesByBackprop)
    images = torch.randn(1, 1, options.size, options.size).contiguous(memory_format=torch.channels_last)
    results = {"float32": measure(method, images, options.draws, options.repeats, bf16=False)}
    if has_fast_bf16(torch.device("cpu")):
        results["bf16"] = measure(method, images, options.draws, options.repeats, bf16=True)
    for precision, values in results.items():
        print(precision, {name: round(value, 4) for name, value in values.items()})
    config = {"preset": "small", "draws": options.draws, "size": options.size, "repeats": options.repeats, "threads": 1}
    write(options.out, record("weight_draws", config, results))
    sys.exit(int(max(values["one by one, ratio"] for values in results.values()) > LIMIT))


if __name__ == "__main__":
    main()
