"""`plurimask report RUN DATA --out report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from plurimask.commands.parsing import (
    Data,
    Foreground,
    ImagePattern,
    MaskPatterns,
    Options,
    RunFolder,
    Split,
    console,
    parse,
    place_of,
)
from plurimask.errors import InputError
from plurimask.files.writing import refuse_existing, refuse_unwritable


class ReportOptions(Options):
    """Write one self-contained HTML page: the data, the training, samples beside the raters, and the metrics."""

    run: RunFolder
    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    out: Path = Field(description="HTML file to write")
    split: Split = "val"
    samples: int = Field(16, ge=1, le=4096, description="samples per image")
    seed: int = Field(0, description="of the samples")
    overwrite: bool = Field(False, description="replace --out")


def main(arguments: Sequence[str]) -> int:
    options = parse(ReportOptions, arguments, "report")
    place = place_of(options)
    refuse_unwritable(options.out)
    if options.out.is_dir():
        raise InputError(
            f"--out {options.out}: a folder; give the name of a file, such as {options.out / 'report.html'}"
        )
    refuse_existing(options.out, "a report", options.overwrite)

    from plurimask.prediction.predict import Sampling
    from plurimask.report.page import write_report
    from plurimask.runs.load import load_run, open_run_data

    run = load_run(options.run)
    source = open_run_data(run.record, place)
    say = console()
    with say.status("evaluating and drawing"):
        write_report(run, source, options.out, options.split, Sampling(options.samples, options.seed))
    say.print(f"Wrote {options.out}")
    return 0
