"""`plurimask report RUN DATA --out report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from plurimask.commands.parsing import console, parse
from plurimask.errors import InputError
from plurimask.files import refuse_existing

DESCRIPTION = "Write one self-contained HTML page: the data, the training, samples beside the raters, and the metrics."


@dataclass(frozen=True)
class ReportOptions:
    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `plurimask train` wrote."""
    data: Annotated[Path, tyro.conf.Positional]
    """Folder of images and masks, or .npz."""
    out: Path
    """HTML file to write."""
    split: str = "val"
    """Which part of the data."""
    samples: int = 16
    """Samples per image."""
    seed: int = 0
    """Of the samples."""
    overwrite: bool = False
    """Replace --out."""


def main(arguments: Sequence[str]) -> int:
    options = parse(ReportOptions, arguments, "report", DESCRIPTION)
    if options.out.is_dir():
        raise InputError(
            f"--out {options.out}: a folder; give the name of a file, such as {options.out / 'report.html'}"
        )
    refuse_existing(options.out, "a report", options.overwrite)

    from plurimask.prediction.predict import Sampling
    from plurimask.report.page import write_report
    from plurimask.runs.load import load_run, open_run_data

    run = load_run(options.run)
    source = open_run_data(run.record, options.data)
    say = console()
    with say.status("evaluating and drawing"):
        write_report(run, source, options.out, options.split, Sampling(options.samples, options.seed))
    say.print(f"Wrote {options.out}")
    return 0
