"""`plurimask combine RUN RUN ... --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from plurimask.commands.parsing import POSITIONAL, Options, console, parse


class CombineOptions(Options):
    """Join runs that were trained apart to one run, their ensemble: of one method or of several."""

    runs: Annotated[tuple[Path, ...], POSITIONAL] = Field(
        description="run folders, or pretrained:NAME, at least two, of the same data"
    )
    out: Path = Field(description="the run folder to write; it needs the others no more")
    overwrite: bool = Field(False, description="replace the run in --out")


def main(arguments: Sequence[str]) -> int:
    options = parse(CombineOptions, arguments, "combine")

    from plurimask.runs.combine import combine_runs

    combine_runs(options.runs, options.out, options.overwrite)
    console().print(f"Wrote an ensemble of {len(options.runs)} runs to {options.out}")
    return 0
