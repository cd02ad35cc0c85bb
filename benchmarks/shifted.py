"""Whether a method notices that images are not those it was trained on: the runs of benchmarks/bayesian.py, shifted.

    python benchmarks/shifted.py --work bayesian --out benchmarks/results/shifted.json

WORK is that of `benchmarks/bayesian.py`, which has trained the runs. The yeast world's validation images are shown as
they are and shifted in three ways,

    inverted      2 m - x, m the image's mean
    blurred       by a Gaussian of 2 pixels
    low contrast  m + (x - m) / 3

and each image has one score: its mean mutual information over pixels, nats, and beside it its mean entropy. The table
has the AUROC of the score for "shifted or not": the probability that a shifted image scores higher than one as it is.
What the JSON has of methods that are not asked for (`--methods`) stays.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bayesian import DATA, METHODS
from record import earlier, record, write
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch import Tensor

from plurimask.prediction.predict import Sampling, predict_images
from plurimask.runs.load import Run, load_run


def blurred(image: Tensor) -> Tensor:
    return torch.from_numpy(gaussian_filter(image.numpy(), (0, 2, 2), mode="nearest"))


def low_contrast(image: Tensor) -> Tensor:
    return _mean(image) + (image - _mean(image)) / 3


def _mean(image: Tensor) -> Tensor:
    return image.mean((-2, -1), keepdim=True)


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "inverted": lambda image: 2 * _mean(image) - image,
    "blurred": blurred,
    "low contrast": low_contrast,
}
"""Of images as they are stored, `(K, H, W)`."""
SCORES = ("mutual information", "entropy")


def scores(run: Run, images: list[tuple[str, Tensor]], sampling: Sampling) -> dict[str, np.ndarray]:
    """The mean over pixels of each of `SCORES`, nats, one number an image."""
    found: dict[str, list[Tensor]] = {name: [] for name in SCORES}
    for predicted in predict_images(run.method, _seen(run, images), sampling):
        statistics = predicted.statistics
        maps = (statistics.mutual_information(), statistics.entropy())
        for name, one in zip(SCORES, maps, strict=True):
            found[name].append(one.flatten(1).mean(1).cpu())
    return {name: torch.cat(values).double().numpy() for name, values in found.items()}


def _seen(run: Run, images: list[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    return ((name, run.record.preprocessing.image(image)) for name, image in images)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """The probability that one of `positive` is above one of `negative`, of equals half; None if all are equal."""
    both = np.concatenate([positive, negative])
    if np.ptp(both) == 0:
        return None
    ranks = rankdata(both)[: len(positive)].sum()
    return float((ranks - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def kept_of(path: Path | None, config: Mapping[str, Any], methods: Collection[str]) -> dict[str, Any]:
    """The record in `path` without the methods that are measured now; {} where there is none.

    Raises:
        SystemExit: it is of other images or samples, which would stand beside the new as if they were alike.
    """
    if path is None or not path.exists():
        return {}
    before: dict[str, Any] = json.loads(path.read_text())
    if before["config"] != config:
        raise SystemExit(f"{path} is of other images or samples ({before['config']}): name another file")
    return {**before, "results": {name: own for name, own in before["results"].items() if name not in methods}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of benchmarks/bayesian.py")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--images", type=int, default=60, help="of the validation images")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = DATA["yeast"].source().splits["val"]
    examples = [found[index] for index in range(min(options.images, len(found)))]
    plain = [(example.name, example.image) for example in examples]
    config = {"data": DATA["yeast"].about, "images": len(plain), "samples": options.samples}
    before = kept_of(options.out, config, options.methods)
    results: dict[str, dict[str, dict[str, float | None]]] = dict(before.get("results", {}))
    settings = dict(before.get("settings", {}))
    for method in options.methods:
        run, sampling = load_run(options.work / "yeast" / "runs" / method), Sampling(options.samples, 0)
        own, settings[method] = scores(run, plain, sampling), run.record.config
        results[method] = {score: {} for score in SCORES}
        for name, shift in SHIFTS.items():
            shifted = scores(run, [(image_name, shift(image)) for image_name, image in plain], sampling)
            for score in SCORES:
                results[method][score][name] = auroc(shifted[score], own[score])
        print(method, results[method], flush=True)
    ordered = {method: results[method] for method in METHODS if method in results}
    kept = {"settings": settings, "earlier": earlier(before, before.get("results", {}))}
    write(options.out, {**record("shifted", config, ordered), **kept})


if __name__ == "__main__":
    main()
