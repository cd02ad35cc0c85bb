"""The section of docs/benchmarks.md about the U-Net that is trained by the energy score."""

from __future__ import annotations

from typing import Any

from page_parts import load, number, prose, provenance

TITLES = {
    "ged": "GED of 16",
    "ged_unbiased": "unbiased",
    "ged_spread": "of 16 spread draws",
    "hungarian_iou_balanced": "Hungarian IoU",
    "diversity": "diversity",
    "ece": "ECE",
    "nll": "NLL",
}


def _table(record: dict[str, Any]) -> str:
    """A row a method, GED beside its ratio to the oracle's."""
    results = record["results"]
    lines = ["| | ratio to the oracle | " + " | ".join(TITLES.values()) + " | steps |"]
    lines.append("|---|" + "---:|" * (len(TITLES) + 2))
    for name, row in results["methods"].items():
        figures = [f"{row[key]:.4f}" if key in ("ece", "nll") else number(row.get(key)) for key in TITLES]
        of_oracle = f"{row['ged'] / results['ged_oracle']:.2f}"
        lines.append(f"| {name} | {of_oracle} | {' | '.join(figures)} | {row['steps']:,} |")
    known = {"ged": results["ged_oracle"], "ged_unbiased": 0.0, "diversity": results["mu"]}
    lines.append(f"| draws from the raters | 1.00 | {' | '.join(number(known.get(key)) for key in TITLES)} | - |")
    return "\n".join(lines)


def _command(part: str) -> str:
    return f"`python benchmarks/energy_score.py {part} --work {part} --out benchmarks/results/energy_score.json`"


MANY = prose("""`python benchmarks/many_trainings.py energy_jobs --work WORK --out OUT` and
    `python benchmarks/energy_record.py OUT/results.json`""")


def _machine(record: dict[str, Any]) -> str:
    """Where many trainings ran side by side."""
    machine = record["hardware"]
    return f"{machine['accelerator'] or machine['cpu']}, torch {machine['torch']}, {record['date'][:10]}"


def _data_sets(record: dict[str, Any]) -> list[str]:
    keys = ("ged", "ged_unbiased", "ged_spread", "hungarian_iou_balanced", "diversity", "ece", "flip_error")
    titles = ("GED of 16", "unbiased", "of 16 spread draws", "Hungarian IoU", "diversity", "ECE", "error of flips")
    lines = [
        f"| data | method | ratio to the oracle | {' | '.join(titles)} | steps | seeds |",
        "|---|---|---:|" + "---:|" * (len(titles) + 2),
    ]
    for data, found in record["results"].items():
        for name, row in found["methods"].items():
            figures = [f"{row[key]:.4f}" if key == "ece" else number(row.get(key)) for key in keys]
            of_oracle = f"{row['ged'] / found['ged_oracle']:.2f}"
            end = f"{row['steps']:,} | {len(row['seeds'])}"
            lines.append(f"| {data} | {name} | {of_oracle} | {' | '.join(figures)} | {end} |")
        known = {"ged": found["ged_oracle"], "ged_unbiased": 0.0, "diversity": found["rater_diversity"]}
        lines.append(
            f"| {data} | draws from the raters | 1.00 | {' | '.join(number(known.get(k)) for k in keys)} | - | - |"
        )
    return [
        "### On each data set, at equal steps",
        f"{MANY}. {_machine(record)}.",
        "\n".join(lines),
        prose("""`z in the head` is `--sampled-scales 0`. All see the same views, batches and raters (`VIEWS` in
            `benchmarks/energy_jobs.py`): `lidc` centre crops of 64, `brain_growth` and `bubil` whole images, `stare`
            crops of 128 and whole images in the evaluation, `camvid` brought to 72 x 96 with the five flips of the
            street scenes, where the error of flips is that of their frequencies. Validation images have chosen the
            weights that are kept."""),
    ]


def _lidc(record: dict[str, Any]) -> list[str]:
    before = load("lidc_hierarchical")
    others = {} if before is None else before["results"]["methods"]
    words = [f"{name} {row['ged']:.3f} after {row['steps']:,} steps" for name, row in others.items()]
    beside = prose(f"""On the same images, with four raters a step, GED of 16 in the section above: {"; ".join(words)}.
        The preset `small` of `energy-score-unet` has batch norm; the rows of other data sets and of its parts, below,
        are without. The first row is the model that the package ships, with 4 validations. The machine was shared with
        other work, so minutes are not compared.""")
    return [_command("lidc"), provenance(record), _table(record), beside]


def _parts(record: dict[str, Any]) -> list[str]:
    results = record["results"]
    keys = ("ged", "ged_unbiased", "ged_spread", "hungarian_iou_balanced", "ece", "nll")
    lines = [f"| | {' | '.join(TITLES[key] for key in keys)} | GED by seed |", "|---|" + "---:|" * (len(keys) + 1)]
    for name, row in sorted(results["methods"].items(), key=lambda pair: pair[1]["ged"]):
        figures = [f"{row[key]:.4f}" if key in ("ece", "nll") else number(row.get(key)) for key in keys]
        by_seed = ", ".join(number(one) for one in row.get("ged_by_seed", [row["ged"]]))
        lines.append(f"| {name} | {' | '.join(figures)} | {by_seed} |")
    config = record["config"]
    return [
        "### Its parts, one changed at a time",
        f"{MANY}. {_machine(record)}.",
        "\n".join(lines),
        prose(f"""LIDC-IDRI, {config["center_crop"]} x {config["center_crop"]} centre crops, {config["max_steps"]:,}
            steps of {config["batch_size"]} images, {results["num_images"]} validation images; means over seeds. Draws
            from the raters have {results["ged_oracle"]:.3f}. The last weights are evaluated."""),
    ]


def _world(record: dict[str, Any]) -> list[str]:
    lines = ["| trained on / steps | error of the share of empty masks | error of a pixel's probability |"]
    lines.append("|---|---:|---:|")
    for name, row in record["results"]["methods"].items():
        lines.append(f"| {name} | {row['empty_error']:.3f} | {row['pixel_error']:.3f} |")
    return [
        "### Lesions whose readers' law is known",
        f"{MANY}. {_machine(record)}.",
        "\n".join(lines),
        prose(f"""Mean absolute errors over held-out images, of the share of empty masks among 100 samples and of the
            mean probability of pixels that some reader may mark, against the law of the readers. By chance alone the
            share among 100 draws from the law itself errs by {record["results"]["chance_error"]:.3f}. The rows with
            batch norm are of a processor."""),
    ]


def _cells(record: dict[str, Any]) -> list[str]:
    keys = ("frequency_error", "mean_absolute_correlation", "distinct_modes_share", "clear_share", "ged_of_16")
    titles = ("error of a cell's frequency", "correlation of cells", "combinations shown", "clear cells", "GED of 16")
    lines = [f"| | {' | '.join(titles)} |", "|---|" + "---:|" * len(titles)]
    methods = record["results"]["methods"]
    for name, row in methods.items():
        lines.append(f"| {name} | {' | '.join(number(row.get(key)) for key in keys)} |")
    first = next(iter(methods.values()))
    lines.append(f"| draws from the law | - | - | 1.000 | 1.000 | {first['ged_oracle']:.3f} |")
    return [
        "### Twelve cells, each counted or not on its own",
        f"{MANY}. {_machine(record)}.",
        "\n".join(lines),
        prose(f"""{first["steps"]:,} steps of 16 images; {first["samples"]} samples of each of 50 held-out images. What
            the columns are is said with the cells above; combinations are over those that as many draws from the law
            show."""),
    ]


def _finishing(record: dict[str, Any]) -> list[str]:
    keys = ("ged", "ged_unbiased", "ged_spread", "hungarian_iou_balanced", "reconstruction_iou", "ece")
    titles = ("GED of 16", "unbiased", "of 16 spread draws", "Hungarian IoU", "reconstruction IoU", "ECE")
    lines = [f"| | | {' | '.join(titles)} |", "|---|---|" + "---:|" * len(titles)]
    for base, found in record["results"].items():
        for name, row in found["methods"].items():
            figures = [f"{row[key]:.4f}" if key == "ece" else number(row.get(key)) for key in keys]
            lines.append(f"| {base} | {name} | {' | '.join(figures)} |")
    return [
        "### The energy score for draws from a prior",
        f"{MANY}. {_machine(record)}.",
        "\n".join(lines),
        prose("""LIDC-IDRI, 64 x 64 centre crops, 16 images with four raters a step, 2,500 steps of the Probabilistic
            U-Net and 1,500 of the hierarchical one, one seed. "Beside the bound" is `--energy-weight`."""),
    ]


def _price(record: dict[str, Any]) -> list[str]:
    lines = ["| one image to 16 masks | ms | in forwards of a U-Net |", "|---|---:|---:|"]
    for name, row in record["results"]["methods"].items():
        lines.append(f"| {name} | {row['ms']:.1f} | {row['ratio']:.2f} |")
    return ["### What 16 masks cost", _command("price"), provenance(record), "\n".join(lines)]


SECTIONS = {
    "lidc": _lidc,
    "data_sets": _data_sets,
    "parts": _parts,
    "world": _world,
    "cells": _cells,
    "finishing": _finishing,
    "price": _price,
}


def energy_score() -> list[str]:
    record = load("energy_score")
    if record is None:
        return []
    texts = [text for name, section in SECTIONS.items() if name in record for text in section(record[name])]
    return ["## The U-Net that is trained by the energy score", *texts]
