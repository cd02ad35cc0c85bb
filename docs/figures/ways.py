"""Makes the picture of docs/bayesian.md in docs/images/bayesian-ways.png: one image by each of the Bayesian ways.

    python docs/figures/ways.py --work bayesian [--image N] [--out FOLDER]

The runs are those that `python benchmarks/bayesian.py --work bayesian` trained on the yeast. Mutual information has a
scale of its own for each method, since they differ by factors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plurimask.data.example import Example
from plurimask.figures.colours import SAMPLE_COLOUR, display_image
from plurimask.figures.page import Classes, draw_map, show
from plurimask.figures.rows import ImageRows, Sizes
from plurimask.figures.style import figure_bytes
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.runs.load import Run, load_run

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from bayesian import DATA, METHODS
from small_png import write_small

SHOWN, PANEL = 4, 1.02
"""Samples of each; inches."""


class Seen(NamedTuple):
    """What a method says of an image."""

    samples: NDArray[np.uint8]  # (N, H, W)
    likely: NDArray[np.uint8]  # (H, W)
    entropy: NDArray[np.float32]  # (H, W), nats
    information: NDArray[np.float32]


def predicted(run: Run, example: Example, samples: int = 20) -> Seen:
    images = [(example.name, run.record.preprocessing.image(example.image))]
    (found,) = predict_images(run.method, images, Sampling(samples, 0))
    statistics = found.statistics
    maps = (statistics.mean().argmax(1).byte(), statistics.entropy(), statistics.mutual_information())
    return Seen(found.samples[:, 0].cpu().numpy(), *(one[0].float().cpu().numpy() for one in maps))


def page(example: Example, seen: dict[str, Seen], class_names: Sequence[str]) -> ImageRows:
    classes, picture = Classes(tuple(class_names), True), display_image(example.image.numpy())
    groups = [
        *(("image", 1), ("annotator", 1), (f"{SHOWN} of 20 samples", SHOWN), ("most likely", 1)),
        *(("entropy", 1), ("information", 1)),
    ]
    sheet = ImageRows(classes, [picture.transpose(2, 0, 1)] * len(seen), groups, Sizes(PANEL, 0.03, 0.16, PANEL), 4)
    top = max(float(one.entropy.max()) for one in seen.values())
    for name, one in seen.items():
        most = float(one.information.max())
        sheet.start(name, f"mutual information up to {most:.3f} nats")
        show(sheet.panel(0), picture)
        maps = [(1, 0, example.labels[0].numpy()), *((2, n, one.samples[n]) for n in range(SHOWN)), (3, 0, one.likely)]
        for group, number, labels in maps:
            axes = sheet.panel(group, number)
            show(axes, picture)
            draw_map(axes, labels.astype(np.uint8), classes, SAMPLE_COLOUR)
        show(sheet.panel(4), one.entropy, "magma", top)
        show(sheet.panel(5), one.information, "magma", most or 1.0)
    sheet.bar(4, "magma", top, "nats")
    sheet.bar(5, "magma", 1.0, "of its most")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of benchmarks/bayesian.py")
    parser.add_argument("--image", type=int, default=7, help="number of the validation image")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images")
    options = parser.parse_args()
    source = DATA["yeast"].source()
    example = source.splits["val"][options.image]
    runs = {name: load_run(options.work / "yeast" / "runs" / name) for name in METHODS}
    seen = {name: predicted(run, example) for name, run in runs.items()}
    figure = page(example, seen, source.description.class_names).page.figure
    write_small(figure_bytes(figure), options.out / "bayesian-ways.png")


if __name__ == "__main__":
    main()
