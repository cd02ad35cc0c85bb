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


def _lidc(record: dict[str, Any]) -> list[str]:
    before = load("lidc_hierarchical")
    others = {} if before is None else before["results"]["methods"]
    words = [f"{name} {row['ged']:.3f} after {row['steps']:,} steps" for name, row in others.items()]
    beside = prose(f"""On the same images, with four raters a step, GED of 16 in the section above: {"; ".join(words)}.
        The machine was shared with other work, so minutes are not compared.""")
    return [_command("lidc"), provenance(record), _table(record), beside]


def _parts(record: dict[str, Any]) -> list[str]:
    return [
        "### Its parts, one changed at a time",
        _command("parts"),
        provenance(record),
        _table(record),
        "One seed each, few steps, small crops: small differences are noise.",
    ]


def _world(record: dict[str, Any]) -> list[str]:
    lines = ["| trained on | error of the share of empty masks | error of a pixel's probability |", "|---|---:|---:|"]
    for name, row in record["results"]["methods"].items():
        lines.append(f"| {name} | {row['empty_error']:.3f} | {row['pixel_error']:.3f} |")
    return [
        "### Lesions whose readers' law is known",
        _command("world"),
        provenance(record),
        "\n".join(lines),
        prose("""Mean absolute errors over held-out images, of the share of empty masks among the samples and of the
            mean probability of pixels that some reader may mark, against the law of the readers."""),
    ]


def _price(record: dict[str, Any]) -> list[str]:
    lines = ["| one image to 16 masks | ms | in forwards of a U-Net |", "|---|---:|---:|"]
    for name, row in record["results"]["methods"].items():
        lines.append(f"| {name} | {row['ms']:.1f} | {row['ratio']:.2f} |")
    return ["### What 16 masks cost", _command("price"), provenance(record), "\n".join(lines)]


SECTIONS = {"lidc": _lidc, "parts": _parts, "world": _world, "price": _price}


def energy_score() -> list[str]:
    record = load("energy_score")
    if record is None:
        return []
    texts = [text for name, section in SECTIONS.items() if name in record for text in section(record[name])]
    return ["## The U-Net that is trained by the energy score", *texts]
