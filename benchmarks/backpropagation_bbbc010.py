"""What keeps probabilistic backpropagation below the deterministic U-Net on BBBC010, and what mends it.

    python benchmarks/backpropagation_bbbc010.py --work backpropagation_bbbc010 \\
        --out benchmarks/results/backpropagation_bbbc010.json
    python benchmarks/backpropagation_bbbc010.py --short yeast --work backpropagation_yeast \\
        --out benchmarks/results/backpropagation_short_yeast.json

Data, network and training are those of `benchmarks/bayesian.py`, of which the paper's plain updates are a row too. What
is varied are the settings of the method: how many epochs the variances remember, how many pixels an image counts for,
and batch norm. Short trials have few steps on small crops, to see which way a setting goes.
"""

from __future__ import annotations

from typing import Any

from bayesian import DATA, PLAIN_UPDATES, SETTINGS
from compared import Protocol, arguments, compare
from yeast import Drawn

from plurimask.data import DataSource
from plurimask.data.worlds.traps import trap_source

METHOD = "probabilistic-backpropagation"
PRESET = "batch norm, memory of 3 epochs, image weight 1000"
TRIALS: dict[str, dict[str, Any]] = {
    "plain updates": {},
    "memory of 10 epochs": {"memory": 10.0},
    "memory of 3 epochs, image weight 1000": {"memory": 3.0, "image_weight": 1000.0},
    "batch norm": {"normalisation": "batch"},
    "batch norm, memory of 10 epochs": {"memory": 10.0, "normalisation": "batch"},
    PRESET: {"memory": 3.0, "image_weight": 1000.0, "normalisation": "batch"},
}
SHORT: dict[str, dict[str, Any]] = {
    "yeast": {"max_steps": 150, "crop": 32},
    "bbbc010": {"max_steps": 300, "crop": 48, "validation_crop": 48},
}
NUM_YEAST = 60
"""Validation images of a short trial."""


def source_of(name: str, is_short: bool) -> DataSource:
    if name == "bbbc010" or not is_short:
        return DATA[name].source()
    source = trap_source(1500, NUM_YEAST, size=64)
    return DataSource(source.description, {name: Drawn(world) for name, world in source.splits.items()}, source.drawn)


def main() -> None:
    parser = arguments(__doc__, 600, list(TRIALS))
    parser.add_argument("--short", choices=SHORT, help="a short trial on this data set")
    parser.set_defaults(samples=20)
    options = parser.parse_args()
    data, settings, own = DATA[options.short or "bbbc010"], SETTINGS, dict(PLAIN_UPDATES)
    settings = {**settings, **data.settings}
    if options.short:
        settings |= {**SHORT[options.short], "num_validations": 1}
        own["compiled"] = False
    variants = {name: (METHOD, {**own, **TRIALS[name]}) for name in options.methods}
    about = data.about.replace("200 validation", f"{NUM_YEAST} validation") if options.short else data.about
    protocol = Protocol("backpropagation_bbbc010", about, "small", settings, variants)
    compare(protocol, source_of(options.short or "bbbc010", options.short is not None), options)


if __name__ == "__main__":
    main()
