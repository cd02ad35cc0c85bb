"""What the benchmarks that compare methods share: options, the comparison itself, and its record."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from record import record, write
from rich.console import Console

from plurimask.commands.compare import Bars
from plurimask.compare.contenders import Contender, evaluate_contenders, table_rows, train_contenders
from plurimask.compare.table import markdown_table
from plurimask.compare.write import write_comparison
from plurimask.data import DataSource
from plurimask.prediction.predict import Sampling
from plurimask.runs.plan import Plan, settings_for


def arguments(description: str, minutes: float, methods: Sequence[str]) -> argparse.ArgumentParser:
    """The options of such a benchmark."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--minutes-per-method", type=float, default=minutes)
    parser.add_argument("--methods", nargs="*", default=list(methods))
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="runs that are trained already")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and page; continued if it is there")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


@dataclass(frozen=True)
class Protocol:
    """What is compared, on what."""

    name: str
    """Of the benchmark."""
    about: str
    """The data in words."""
    preset: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """For all; a method takes those that it has."""
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Names that are no methods: the method that each is, and its own settings."""


def compare(protocol: Protocol, source: DataSource, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate the methods of `options`, write page, table and record; returns the results by method."""
    chosen = dict(protocol.settings)
    if options.methods:
        chosen["max_minutes"] = options.minutes_per_method
    contenders = [Contender(path.name, run=path) for path in options.runs]
    for name in options.methods:
        method, own = protocol.variants.get(name, (name, {}))
        settings = {**settings_for(method, chosen), **own}
        contenders.append(Contender(name, Plan(method, protocol.preset, settings, options.seed)))
    with Bars(Console(stderr=True)) as watcher:
        if not train_contenders(contenders, source, options.work, watcher):
            raise SystemExit(130)
        sampling = Sampling(options.samples, options.seed)
        compared = evaluate_contenders(contenders, source, options.work, "val", sampling, watcher)
        write_comparison(compared, source, options.work, watcher)
    rows = table_rows(compared)
    print(markdown_table(rows))
    results = {
        result.name: {**row, "curve": result.curve, "flips": result.flips, "mode_shares": result.mode_shares}
        for result, row in zip(compared.results, rows, strict=True)
    }
    totals = compared.results[0].totals
    shared = {"num_images": totals["num_images"], "ged_oracle": totals["ged_oracle"], "mu": totals["rater_diversity"]}
    loaded = {"runs": [run.name for run in options.runs]} if options.runs else {}
    config = {
        "preset": protocol.preset,
        **chosen,
        **({"variants": dict(protocol.variants)} if protocol.variants else {}),
        **loaded,
        "samples": options.samples,
        "seed": options.seed,
        "data": protocol.about,
    }
    write(options.out, record(protocol.name, config, {**shared, "methods": results}))
    return results
