"""The sections of docs/benchmarks.md about the Bayesian ways, and the tables of docs/bayesian.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page_parts import load, number, prose

from plurimask.compare.table import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "bayesian.md"
BACKPROPAGATION = "probabilistic-backpropagation"
START, END = "<!-- tables: made by benchmarks/tables.py -->", "<!-- end of tables -->"
NAMES = {"yeast": "Trapped yeast", "bbbc010": "C. elegans (BBBC010)"}
KEYS = ("dice", "iou", "ece", "nll", "error_auroc", "error_auroc_information", "parameters", "steps", "minutes")
COSTS = {"step_ms": "processor ms a training step", "image_ms": "processor ms an image"}


def bayesian() -> list[str]:
    """All about the Bayesian ways."""
    sections = [*compared(), *backpropagation(), *shifted(), *weight_draws()]
    return ["## The Bayesian ways side by side", *sections] if sections else []


def machine(record: Mapping[str, Any]) -> str:
    found = record["hardware"]
    return f"{found['cpu']}, {found['threads']} thread, torch {found['torch']}, {record['date'][:10]}."


def is_plain(config: Mapping[str, Any]) -> bool:
    """Whether probabilistic backpropagation was trained without what its preset sets beyond its paper."""
    _, own = config["variants"].get(BACKPROPAGATION, (None, {"memory": ...}))
    return own["memory"] is None


def updates(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Which updates of probabilistic backpropagation the tables of the data sets are of."""
    ways = {
        "as its preset `small` has it: with batch norm, which no other method has here, and a memory": False,
        "by the plain updates of its paper: without batch norm, and nothing is forgotten": True,
    }
    said = []
    for way, plain in ways.items():
        names = [NAMES[name] for name, own in configs.items() if is_plain(own) is plain]
        said += [f"in the table of {' and that of '.join(names)} {way}"] if names else []
    return prose(f"""`{BACKPROPAGATION}` is trained {"; ".join(said)}. What batch norm and a memory do on the worms
        stands in the [next table](#probabilistic-backpropagation-on-the-worms-by-its-settings).""")


def farthest(results: Mapping[str, Any]) -> str:
    """Which method is the farthest below the deterministic network."""
    below = {name: results["methods"]["unet"]["dice"] - own["dice"] for name, own in results["methods"].items()}
    name = max(below, key=lambda method: below[method])
    return f"Farthest below `unet`: `{name}`, by {below[name]:.3f} Dice."


def beside(results: Mapping[str, Any]) -> list[str]:
    """What `unet` cost in the same turns as a method that was timed apart from the others."""
    return [
        prose(f"""The milliseconds of `{method}` were measured apart from the others', in turns with `unet`, which took
            {own["step_ms"]:.2f} a step and {own["image_ms"]:.2f} an image there.""")
        for method, own in results.get("beside", {}).items()
    ]


def rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"method": name, **{key: own[key] for key in KEYS}, **{title: own.get(key) for key, title in COSTS.items()}}
        for name, own in results["methods"].items()
    ]


def compared() -> list[str]:
    record = load("bayesian")
    if record is None:
        return []
    parts = ["`python benchmarks/bayesian.py --work bayesian --out benchmarks/results/bayesian.json`"]
    for name, results in record["results"].items():
        config = record["config"][name]
        steps, size, seed = config["max_steps"], config["batch_size"], config["seed"]
        parts += [
            f"### {NAMES[name]}",
            f"{config['data']}; {steps} steps of {size} images, the ensemble's 4 members 500 each, seed {seed}, "
            f"{config['samples']} samples. {machine(record)}",
            markdown_table(rows(results)),
            " ".join([farthest(results), *beside(results)]),
        ]
    return [
        *parts,
        updates(record["config"]),
        prose("""Minutes are of a machine that did other work beside. Milliseconds are of the processor, in one thread,
            medians of turns: of a step on a batch (of the ensemble, one member's) with its gradient, and of an image
            with 20 samples, mean and entropy."""),
    ]


def backpropagation() -> list[str]:
    """Probabilistic backpropagation on BBBC010 by its settings."""
    record = load("backpropagation_bbbc010")
    if record is None:
        return []
    config, found = record["config"], record["hardware"]
    rows = [
        {"method": name, **{key: own[key] for key in KEYS if key not in ("parameters", "minutes")}}
        for name, own in record["results"]["methods"].items()
    ]
    return [
        "### Probabilistic backpropagation on the worms, by its settings",
        "`python benchmarks/backpropagation_bbbc010.py --work backpropagation_bbbc010 --out "
        "benchmarks/results/backpropagation_bbbc010.json`: data, network and steps of the table of C. elegans; "
        f"seed {config['seed']}, {config['samples']} samples. {found['accelerator'] or found['cpu']}, "
        f"torch {found['torch']}, {record['date'][:10]}.",
        markdown_table(rows),
        *short_trials(),
    ]


def short_trials() -> list[str]:
    """The same settings with few steps on small crops."""
    parts = []
    for name, title in NAMES.items():
        record = load(f"backpropagation_short_{name}")
        if record is None:
            continue
        config, found = record["config"], record["hardware"]
        keys = [key for key in KEYS if key not in ("parameters", "minutes")]
        methods = record["results"]["methods"].items()
        images = f"{record['results']['num_images']} validation images"
        parts += [
            f"The same with few steps on small crops. {title}: `python benchmarks/backpropagation_bbbc010.py --short "
            f"{name} --work WORK --out benchmarks/results/backpropagation_short_{name}.json`; crops of "
            f"{config['crop']} pixels, {config['max_steps']} steps, {images}, seed {config['seed']}, "
            f"{config['samples']} samples. {found['cpu']}, torch {found['torch']}, "
            f"{record['date'][:10]}.",
            markdown_table([{"method": method, **{key: own[key] for key in keys}} for method, own in methods]),
        ]
    return parts


def shifted() -> list[str]:
    record = load("shifted")
    if record is None:
        return []
    first = next(iter(record["results"].values()))
    columns = [(score, name) for score, of_shifts in first.items() for name in of_shifts]
    lines = ["| method | " + " | ".join(f"{score}: {name}" for score, name in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for method, own in record["results"].items():
        lines.append(f"| {method} | " + " | ".join(number(own[score][name]) for score, name in columns) + " |")
    config = record["config"]
    plain = record.get("settings", {}).get(BACKPROPAGATION, {"memory": None})["memory"] is None
    way = "by the plain updates of its paper" if plain else "as its preset `small` has it"
    return [
        "### Shifted images",
        f"`python benchmarks/shifted.py --work bayesian --out benchmarks/results/shifted.json`: {config['images']} "
        f"validation images of the yeast, as they are and inverted, blurred, with a third of the contrast; "
        f"{config['samples']} samples. AUROC of an image's mean mutual information, and of its mean entropy, for "
        "shifted or not: 1 is perfect, 0.5 chance, below 0.5 a method that is surer of what it has never seen.",
        "\n".join(lines),
        f"`{BACKPROPAGATION}` is trained {way}.",
    ]


def weight_draws() -> list[str]:
    record = load("weight_draws")
    if record is None:
        return []
    ways = ("bayes-by-backprop", "swag", "vmap")
    lines = ["| image, precision | 20 forwards, s | " + " | ".join(f"{way}, s | ratio" for way in ways) + " |"]
    lines.append("|---|---:|" + "---:|---:|" * len(ways))
    for name, values in record["results"].items():
        cells = [f"{values[way]:.3f} | {values[f'{way}, ratio']:.2f}" for way in ways]
        lines.append(f"| {name} | {values['forwards']:.3f} | " + " | ".join(cells) + " |")
    return [
        "### Twenty draws of weights",
        "`python benchmarks/weight_draws.py --out benchmarks/results/weight_draws.json`: samples of one image by the "
        f"U-Net of the preset `small`, beside 20 forwards of the deterministic one. {machine(record)}",
        "\n".join(lines),
    ]


def with_tables(text: str) -> str:
    """The text of docs/bayesian.md with the tables in their place."""
    parts = [*compared(), *backpropagation(), *shifted(), *weight_draws()]
    made = "\n\n".join([START, *parts, END])
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: made, text, flags=re.DOTALL)
