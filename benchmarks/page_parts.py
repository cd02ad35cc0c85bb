"""What the sections of docs/benchmarks.md are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from plurimask.compare.table import markdown_table

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any] | None:
    """A record, if it was made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


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
    """All figures of the compared methods."""
    others = ("curve", "flips", "mode_shares")
    results = record["results"]["methods"].values()
    return markdown_table([{key: value for key, value in result.items() if key not in others} for result in results])


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
