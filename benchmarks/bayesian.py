"""The Bayesian ways to be unsure beside the deterministic U-Net: one network, one protocol, two data sets.

    python benchmarks/bayesian.py --work bayesian --out benchmarks/results/bayesian.json

Data are the built-in trapped yeast (`plurimask.data.worlds.traps`) and BBBC010 (DATA/bbbc010; DATA is the folder named
by PLURIMASK_DATA, else ../shared/data). All methods have the U-Net of the preset `small` with two convolutions a scale
and train for as many steps; the members of the ensemble for 500 each, and SWAG's last quarter is SGD. What is trained
in WORK already is taken up, so that methods may be added one by one. Exits with 1 if the Dice of a method is
more than 0.03 below that of `unet`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from compared import Protocol, arguments, compare
from record import data_folder, record, write
from yeast import ADF, Drawn

from plurimask import open_data
from plurimask.data import DataSource
from plurimask.data.worlds.traps import trap_source

METHODS = ("unet", "dropout-unet", "ensemble", "swag", "bayes-by-backprop", "lightweight-probabilistic")
LARGEST_LOSS = 0.03
"""Of Dice."""
MEMBERS, MEMBER_STEPS = 4, 500
SETTINGS: dict[str, Any] = {
    "convs_per_scale": 2,
    "learning_rate": 2e-3,
    "num_validations": 2,
    "validation_images": 20,
    "validation_samples": 2,
    "augmentation": {"flip_horizontal": 0.5, "rotation": 8.0},
}


def yeast() -> DataSource:
    """The world at its smallest, whose images are drawn once."""
    source = trap_source(1500, 200, size=64)
    return DataSource(source.description, {name: Drawn(world) for name, world in source.splits.items()}, source.drawn)


class DataSet(NamedTuple):
    about: str
    source: Callable[[], DataSource]
    settings: Mapping[str, Any]
    """Its own, of all methods."""


DATA = {
    "yeast": DataSet(
        "built-in trapped yeast, 64 x 64, 1500 training and 200 validation images, one annotator",
        yeast,
        {"max_steps": 700, "batch_size": 4},
    ),
    "bbbc010": DataSet(
        "BBBC010, two channels, 400 x 400, 59 training and 19 validation wells, one annotator",
        lambda: open_data(data_folder() / "bbbc010"),
        {
            "max_steps": 500,
            "batch_size": 4,
            "crop": 96,
            "crop_on_objects": 0.5,
            "validation_crop": 96,
            "resize": (400, 400),
            "image_scaling": "maximum",
        },
    ),
}


def protocol(name: str) -> Protocol:
    """What is compared on a data set."""
    data = DATA[name]
    settings = {**SETTINGS, **data.settings}
    members = {"max_steps": MEMBERS * MEMBER_STEPS, "members": ("unet",) * MEMBERS}
    variants: dict[str, tuple[str, Mapping[str, Any]]] = {
        "ensemble": ("ensemble", members),
        "lightweight-probabilistic": (
            "lightweight-probabilistic",
            {**ADF, "normalisation": "none", "learning_rate": 2e-3},
        ),
    }
    return Protocol(f"bayesian-{name}", data.about, "small", settings, variants)


def main() -> None:
    parser = arguments(__doc__, 600, METHODS)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.set_defaults(samples=20)
    options = parser.parse_args()
    records, missed = {}, []
    for name in options.data:
        own = argparse.Namespace(**{**vars(options), "work": options.work / name, "out": options.work / f"{name}.json"})
        results = compare(protocol(name), DATA[name].source(), own)
        records[name] = json.loads(own.out.read_text())
        floor = results["unet"]["dice"] - LARGEST_LOSS if "unet" in results else 0.0
        missed += [f"{method} on {name}" for method, result in results.items() if result["dice"] < floor]
    config = {name: one["config"] for name, one in records.items()}
    write(options.out, record("bayesian", config, {name: one["results"] for name, one in records.items()}))
    print(f"not reached: {', '.join(missed)}" if missed else "reached")
    sys.exit(int(bool(missed)))


if __name__ == "__main__":
    main()
