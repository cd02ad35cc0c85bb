"""How fast a training step could be at most: the time of its convolutions alone, each in the layout that suits it best.

    python benchmarks/training_floor.py --before CHECKOUT --out benchmarks/results/training_floor.json

The step is that of training.py with one rater, in float32 on one core. Its convolutions and their two gradients are
noted with their shapes; each is then timed by itself, in the plain layout, in channels_last, and in the blocks of
oneDNN with input and output in blocks already. The sum of the least times is what the step would take if everything
else, and every change of layout, took no time. Beside it stand the step as it is and that of an earlier commit, by
turns.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from record import record, write
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from training import BEFORE, HERE, Way, about, compared, timed
from training_steps import step_of

NAME, NOW = "one_rater", "float32, contiguous"
REPEATS = 7
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Convolution(NamedTuple):
    """A convolution of a step, or one of its two gradients."""

    what: str
    images: tuple[int, ...]
    weight: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def operations(self) -> int:
        """Multiplications and additions; with this padding an image keeps its size."""
        batch, _, *size = self.images
        return 2 * batch * size[0] * size[1] * torch.Size(self.weight).numel()


class Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the convolutions that are done inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[Convolution] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if str(func) == "aten.convolution.default":
            self._add(["forward"], args[0], args[1], args[4])
        if str(func) == "aten.convolution_backward.default":
            wanted = [what for what, is_wanted in zip(("images", "weight"), args[10], strict=False) if is_wanted]
            self._add([f"gradient of {what}" for what in wanted], args[1], args[2], args[5])
        return func(*args, **(kwargs or {}))

    def _add(self, kinds: Sequence[str], images: Tensor, weight: Tensor, padding: Sequence[int]) -> None:
        self.seen.update(Convolution(kind, tuple(images.shape), tuple(weight.shape), tuple(padding)) for kind in kinds)


def least_seconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def in_each_layout(one: Convolution) -> dict[str, float]:
    """Seconds of a convolution by itself."""
    images, weight = torch.randn(one.images), torch.randn(one.weight)
    seconds = {}
    for name, layout in FORMATS.items():
        seconds[name] = _seconds(one, *(x.contiguous(memory_format=layout) for x in (images, weight)))
    seconds["blocks"] = _seconds(one, images.to_mkldnn(), weight)
    return seconds


def _seconds(one: Convolution, images: Tensor, weight: Tensor) -> float:
    if one.what == "forward":
        with torch.no_grad():
            return least_seconds(lambda: conv2d(images, weight, padding=one.padding))
    source = images if one.what == "gradient of images" else weight
    source.requires_grad_()
    result = conv2d(images, weight, padding=one.padding)
    change = result.detach().clone()
    return least_seconds(lambda: torch.autograd.grad(result, source, change, retain_graph=True))


def floor() -> dict[str, Any]:
    """The least time of a step's convolutions, by kind, with the operations per second that it means."""
    step = step_of(NAME, torch.float32, torch.channels_last)  # its layers are convolutions to the dispatcher
    step()
    with Convolutions() as found:
        step()
    kinds: dict[str, dict[str, float]] = {}
    for one, count in found.seen.items():
        seconds = in_each_layout(one)
        of_kind = kinds.setdefault(one.what, {"count": 0, "operations": 0, "ms": 0})
        of_kind["count"] += count
        of_kind["operations"] += count * one.operations
        of_kind["ms"] += 1e3 * count * min(seconds.values())
        print(one, count, {name: round(1e3 * value, 2) for name, value in seconds.items()}, flush=True)
    for of_kind in kinds.values():
        of_kind["gigaflops"] = round(of_kind.pop("operations") / of_kind["ms"] / 1e6, 1)
        of_kind["ms"] = round(of_kind["ms"], 1)
    square = torch.randn(2048, 2048)
    product = 2 * 2048**3 / least_seconds(lambda: square @ square) / 1e9
    whole = round(sum(of_kind["ms"] for of_kind in kinds.values()), 1)
    return {"convolutions": kinds, "floor_ms": whole, "gigaflops_of_a_matrix_product": round(product, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="checkout of the commit to compare with")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ways: dict[str, Way] = {
        BEFORE: (options.before.resolve(), "float32", "channels_last"),
        NOW: (HERE, "float32", "contiguous"),
    }
    steps = compared(timed(NAME, ways, 1, options.turns), 1)
    results = {"steps": steps, **floor()}
    results["times_faster_at_most"] = round(steps[BEFORE]["processor_ms"] / results["floor_ms"], 3)
    config = {**about(options.turns, options.before), "repeats": REPEATS}
    write(options.out, record("training_floor", config, results))
    print(results)


if __name__ == "__main__":
    main()
