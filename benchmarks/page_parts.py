"""What the sections of docs/benchmarks.md are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from plurimask.compare.table import GED_RATIO, markdown_table
from plurimask.metrics import current_names

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any] | None:
    """A record, if it was made, with figures by the names of today."""
    path = RESULTS / f"{name}.json"
    record: dict[str, Any] | None = current_names(json.loads(path.read_text())) if path.exists() else None
    return record


def prose(text: str) -> str:
    """A paragraph without the breaks of its source."""
    return " ".join(text.split())


def provenance(record: dict[str, Any]) -> str:
    """Where and when a record was made."""
    machine, config = record["hardware"], record["config"]
    settings = ", ".join(f"{name} {value}" for name, value in config.items() if name not in ("data", "preset"))
    about = f"{config['data']}. " if "data" in config else ""
    return (
        f"{about}Preset `{config.get('preset', '-')}`, {settings}. {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['threads']} threads, torch {machine['torch']}, {record['date'][:10]}."
    )


def method_table(record: dict[str, Any]) -> str:
    """All figures of the compared methods. What GED is of the oracle's follows from both where it was not recorded."""
    others, oracle = ("curve", "flips", "mode_shares"), record["results"].get("ged_oracle")
    rows = [
        {GED_RATIO: ratio(result["ged"], oracle)} | {key: value for key, value in result.items() if key not in others}
        for result in record["results"]["methods"].values()
    ]
    return markdown_table(rows)


def ratio(ged: float | None, oracle: float | None) -> float | None:
    """GED over the oracle's, at the same numbers of samples and raters; None where there is no oracle."""
    return ged / oracle if ged is not None and oracle else None


def over(ged: float, oracle: float) -> str:
    """GED, and in brackets what it is of the oracle's."""
    return f"{ged:.3f} ({ged / oracle:.2f})"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
