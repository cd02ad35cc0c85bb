"""`plurimask combine RUN RUN ... --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from plurimask.commands.parsing import console, parse

DESCRIPTION = "Join runs that were trained apart to one run, their ensemble: of one method or of several."


@dataclass(frozen=True)
class CombineOptions:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, at least two, trained on the same data."""
    out: Path
    """The run folder to write; it needs the others no more."""
    overwrite: bool = False
    """Replace the run in --out."""


def main(arguments: Sequence[str]) -> int:
    options = parse(CombineOptions, arguments, "combine", DESCRIPTION)

    from plurimask.runs.combine import combine_runs

    combine_runs(options.runs, options.out, options.overwrite)
    console().print(f"Wrote an ensemble of {len(options.runs)} runs to {options.out}")
    return 0
