"""`plurimask check DATA`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from plurimask.commands.parsing import parse
from plurimask.errors import InputError

DESCRIPTION = "Say what was found in DATA, how much the raters agree, and what GED a perfect model would score."


@dataclass(frozen=True)
class CheckOptions:
    data: Annotated[Path, tyro.conf.Positional]
    """Folder of images and masks, or .npz."""
    group: str | None = None
    """Regular expression for the patient in a name, for drawing the split."""
    seed: int = 0
    """Of the split, where one is drawn."""
    flips: tuple[str, ...] | None = None
    """Classes that turn into a twin at random: CLASS=PROBABILITY ..., street or none."""
    center_crop: int | None = None
    """Look at the centre of this side of every image alone, as a run with --center-crop does."""


def main(arguments: Sequence[str]) -> int:
    options = parse(CheckOptions, arguments, "check", DESCRIPTION)

    from plurimask.data import open_data
    from plurimask.data.preprocessing import Preprocessing, Views
    from plurimask.evaluation.check import check_data

    source = open_data(options.data, group=options.group, seed=options.seed, flips=options.flips)
    if options.center_crop is not None:
        if options.center_crop < 1:
            raise InputError(f"--center-crop {options.center_crop}: at least 1 pixel is needed")
        window = Preprocessing(mean=(0.0,), std=(1.0,), center_crop=options.center_crop)
        splits = {name: Views(examples, window) for name, examples in source.splits.items()}
        source = replace(source, splits=splits)
    report = check_data(source)
    print("\n".join(report.lines()))
    return 0
