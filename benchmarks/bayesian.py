"""The Bayesian ways to be unsure beside the deterministic U-Net: one network, one protocol, two data sets.

    python benchmarks/bayesian.py --work bayesian --out benchmarks/results/bayesian.json

Data are the built-in trapped yeast (`plurimask.data.worlds.traps`) and BBBC010 (DATA/bbbc010; DATA is the folder named
by PLURIMASK_DATA, else ../shared/data). All methods have one U-Net with two convolutions a scale, on the yeast as wide
as in the preset `small`, on BBBC010 half as wide at first, and train for as many steps; the members of the ensemble for
500 each, and SWAG's last quarter is SGD. Probabilistic backpropagation has batch norm and forgets, as its preset has
it; what it does without is in `backpropagation_bbbc010.py`. What is trained in WORK already is taken up, and what the
JSON has of other methods stays, so that methods may be added one by one. The costs are seconds of the processor, in one
thread; where `unet` is not among the methods, it is timed in the same turns. Exits with 1 if the Dice of a method is
more than 0.03 below that of `unet`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from compared import Protocol, arguments, compare
from record import data_folder, earlier, record, write
from rich.console import Console
from yeast import ADF, Drawn

from plurimask import build_method, load_run, open_data
from plurimask.commands.compare import Bars
from plurimask.compare.contenders import Contender, train_contenders
from plurimask.data import DataSource
from plurimask.data.worlds.traps import trap_source
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.runs.plan import Plan, settings_for
from plurimask.training.batches import TrainingData
from plurimask.training.timing import TimedMachine

METHODS = (
    *("unet", "dropout-unet", "ensemble", "swag", "bayes-by-backprop"),
    *("probabilistic-backpropagation", "lightweight-probabilistic"),
)
BASE = "unet"
"""What the others are measured beside."""
LARGEST_LOSS = 0.03
"""Of Dice."""
PLAIN_UPDATES: dict[str, Any] = {"normalisation": "none", "memory": None, "image_weight": 300.0}
"""Of probabilistic backpropagation: those of its paper, in place of what the preset `small` sets."""
MEMBERS, MEMBER_STEPS, TURNS = 4, 500, 3
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
        "BBBC010, two channels, 200 x 200, 59 training and 19 validation wells, one annotator",
        lambda: open_data(data_folder() / "bbbc010"),
        {
            "channels": (8, 16, 32, 64),
            "max_steps": 1500,
            "batch_size": 4,
            "crop": 96,
            "crop_on_objects": 0.5,
            "validation_crop": 96,
            "resize": (200, 200),
            "image_scaling": "maximum",
        },
    ),
}


def protocol(name: str) -> Protocol:
    """What is compared on a data set."""
    data = DATA[name]
    settings = {**SETTINGS, **data.settings}
    members = {"max_steps": MEMBERS * MEMBER_STEPS, "members": ("unet",) * MEMBERS}
    shown = (settings["crop"] / settings["resize"][0]) ** 2 if "crop" in settings else 1.0
    variants: dict[str, tuple[str, Mapping[str, Any]]] = {
        # A crop is a part of an image, and has that part of the divergence.
        "bayes-by-backprop": ("bayes-by-backprop", {"kl_scale": shown}),
        "ensemble": ("ensemble", members),
        "lightweight-probabilistic": (
            "lightweight-probabilistic",
            {**ADF, "normalisation": "none", "learning_rate": 2e-3},
        ),
    }
    return Protocol(f"bayesian-{name}", data.about, "small", settings, variants)


def costs(runs: Mapping[str, Path], source: DataSource, samples: int) -> dict[str, dict[str, float]]:
    """By method, processor milliseconds of a training step, of an ensemble one member's, and of an image with its
    samples, mean and entropy: medians of turns."""
    turns: dict[str, dict[str, list[float]]] = {name: {"step_ms": [], "image_ms": []} for name in runs}
    torch.set_num_threads(1)
    for _ in range(TURNS):
        for name, found in turns.items():
            run = load_run(runs[name])
            record, val = run.record, source.splits["val"]
            data = TrainingData(source.splits["train"], val, record.preprocessing, record.data.counted_classes)
            part = build_method(record.method, **record.config).parts()[0]
            machine = TimedMachine(part, data, clock=time.process_time)
            found["step_ms"].append(1000 * machine.step_seconds(record.training))
            images = [(example.name, record.preprocessing.image(example.image)) for example in (val[0], val[1])]
            start = time.process_time()
            for predicted in predict_images(run.method, images, Sampling(samples, 0)):
                predicted.statistics.entropy()
            found["image_ms"].append(1000 * (time.process_time() - start) / len(images))
    return {name: {what: statistics.median(values) for what, values in found.items()} for name, found in turns.items()}


def costs_beside(methods: Sequence[str], name: str, work: Path, source: DataSource, samples: int) -> dict[str, Any]:
    """`costs` of methods, and, where `unet` is none of them, what it costs in the same turns, by method.

    Weights change no time: then it is trained for two steps.
    """
    runs = {method: work / "runs" / method for method in methods}
    if BASE not in runs:
        settings = {**settings_for(BASE, protocol(name).settings), "max_steps": 2, "num_validations": 1}
        with Bars(Console(stderr=True)) as watcher:
            train_contenders([Contender(BASE, Plan(BASE, "small", settings, 0))], source, work / "beside", watcher)
        runs[BASE] = work / "beside" / "runs" / BASE
    found = costs(runs, source, samples)
    return {
        "methods": {method: found[method] for method in methods},
        "beside": {} if BASE in methods else dict.fromkeys(methods, found[BASE]),
    }


def joined(path: Path, new: Mapping[str, Any]) -> dict[str, Any]:
    """A record with what a record in `path` has of other methods and data sets, and when that was measured."""
    before = json.loads(path.read_text()) if path.exists() else {"config": {}, "results": {}}
    config, results = {**before["config"], **new["config"]}, {**before["results"]}
    for name, found in new["results"].items():
        variants = before["config"].get(name, {}).get("variants", {})
        kept = {method: own for method, own in variants.items() if method not in found["methods"]}
        config[name] = {**config[name], "variants": {**config[name].get("variants", {}), **kept}}
        methods = {**results.get(name, {}).get("methods", {}), **found["methods"]}
        beside = {
            method: own
            for method, own in results.get(name, {}).get("beside", {}).items()
            if method not in found["methods"]
        }
        results[name] = {
            **found,
            "methods": {method: methods[method] for method in METHODS if method in methods},
            "beside": {**beside, **found.get("beside", {})},
        }
    measured = {(name, method) for name, found in new["results"].items() for method in found["methods"]}
    older = [
        f"{method} on {name}"
        for name, found in results.items()
        for method in found["methods"]
        if (name, method) not in measured
    ]
    return {**new, "config": config, "results": results, "earlier": earlier(before, older)}


def missed(results: Mapping[str, Any]) -> list[str]:
    """Which methods are too far below the deterministic U-Net."""
    found = []
    for name, of_data in results.items():
        dice = {method: own["dice"] for method, own in of_data["methods"].items()}
        floor = dice.get(BASE, 0.0) - LARGEST_LOSS
        found += [f"{method} on {name}" for method, own in dice.items() if own < floor]
    return found


def main() -> None:
    parser = arguments(__doc__, 600, METHODS)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.set_defaults(samples=20, out=Path(__file__).parent / "results" / "bayesian.json")
    options = parser.parse_args()
    records = {}
    for name in options.data:
        own = argparse.Namespace(**{**vars(options), "work": options.work / name, "out": options.work / f"{name}.json"})
        source = DATA[name].source()
        compare(protocol(name), source, own)
        records[name] = json.loads(own.out.read_text())
        found = costs_beside(options.methods, name, own.work, source, options.samples)
        records[name]["results"]["beside"] = found["beside"]
        for method, cost in found["methods"].items():
            records[name]["results"]["methods"][method] |= cost
    config, results = ({name: one[part] for name, one in records.items()} for part in ("config", "results"))
    whole = joined(options.out, record("bayesian", config, results))
    write(options.out, whole)
    short = missed(whole["results"])
    print(f"not reached: {', '.join(short)}" if short else "reached")
    sys.exit(int(bool(short)))


if __name__ == "__main__":
    main()
