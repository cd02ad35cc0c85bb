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
    lines = ["| | ratio to the oracle | " + " | ".join(TITLES.values()) + " | steps | minutes |"]
    lines.append("|---|" + "---:|" * (len(TITLES) + 3))
    for name, row in results["methods"].items():
        figures = [f"{row[key]:.4f}" if key in ("ece", "nll") else number(row.get(key)) for key in TITLES]
        of_oracle = f"{row['ged'] / results['ged_oracle']:.2f}"
        lines.append(f"| {name} | {of_oracle} | {' | '.join(figures)} | {row['steps']:,} | {row['minutes']:.0f} |")
    known = {"ged": results["ged_oracle"], "ged_unbiased": 0.0, "diversity": results["mu"]}
    lines.append(f"| draws from the raters | 1.00 | {' | '.join(number(known.get(key)) for key in TITLES)} | - | - |")
    return "\n".join(lines)


def energy_score() -> list[str]:
    record = load("energy_score")
    if record is None:
        return []
    parts = ["## The U-Net that is trained by the energy score"]
    if "lidc" in record:
        parts += [
            "`python benchmarks/energy_score.py lidc --work es --out benchmarks/results/energy_score.json`",
            provenance(record["lidc"]),
            _table(record["lidc"]),
        ]
    if "parts" in record:
        parts += [
            "### Its parts, one changed at a time",
            "`python benchmarks/energy_score.py parts --work parts --out benchmarks/results/energy_score.json`",
            provenance(record["parts"]),
            _table(record["parts"]),
            prose("""One seed each, few steps, small crops: differences below about 0.005 in GED are noise. Minutes are
                those of a machine that was shared with other work, and compare only roughly."""),
        ]
    return parts
