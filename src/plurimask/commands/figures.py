"""`plurimask figures RUN DATA --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
from plurimask.files.writing import refuse_existing

SECONDS_PER_FRAME = 0.7
"""Of an animation."""


class FiguresOptions(Options):
    """Write the figures of a run's report as files: samples, latents, modes, errors, calibration, referral,
    training.
    """

    run: RunFolder
    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    out: Path = Field(description="folder to write")
    split: Split = "val"
    samples: int = Field(16, ge=1, le=4096, description="samples per image")
    seed: int = Field(0, description="of the samples")
    format: Literal["png", "pdf", "svg"] = Field("png", description="of the files")
    overwrite: bool = Field(False, description="write into --out even if it holds files already")


def main(arguments: Sequence[str]) -> int:
    options = parse(FiguresOptions, arguments, "figures")
    place = place_of(options)
    refuse_existing(options.out, "files", options.overwrite)
    if options.out.is_file():
        raise InputError(f"--out {options.out}: a file; give the name of a folder")

    from plurimask.figures.scales.animation import coarse_to_fine_frames, kind_frames, save_animation
    from plurimask.figures.style import save_figure
    from plurimask.prediction.predict import Sampling
    from plurimask.report.content import collect_report
    from plurimask.report.figures import report_figures
    from plurimask.runs.load import load_run, open_run_data

    run = load_run(options.run)
    source = open_run_data(run.record, place)
    say = console()
    with say.status("evaluating and drawing"):
        content = collect_report(run, source, options.split, Sampling(options.samples, options.seed))
        figures = report_figures(content)
        for name, figure in figures.items():
            save_figure(figure.figure, options.out / f"{name}.{options.format}")
        animations = {}
        if content.scales is not None:
            samples = content.scales.samples
            animations = {"coarse-to-fine.gif": coarse_to_fine_frames(samples), "scales.gif": kind_frames(samples)}
        for name, frames in animations.items():
            save_animation(frames, options.out / name, SECONDS_PER_FRAME)
    say.print(f"Wrote {', '.join([*figures, *animations])} to {options.out}")
    return 0
