"""`plurimask check DATA`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from plurimask.commands.parsing import parse

DESCRIPTION = "Say what was found in DATA, how much the raters agree, and what GED a perfect model would score."


@dataclass(frozen=True)
class CheckOptions:
    data: Annotated[Path, tyro.conf.Positional]
    """Folder of images and masks, or .npz."""
    group: str | None = None
    """Regular expression for the patient in a name, for drawing the split."""
    seed: int = 0
    """Of the split, where one is drawn."""


def main(arguments: Sequence[str]) -> int:
    options = parse(CheckOptions, arguments, "check", DESCRIPTION)

    from plurimask.data import check_data, open_data
    from plurimask.metrics import rater_distance

    report = check_data(open_data(options.data, group=options.group, seed=options.seed), rater_distance)
    print("\n".join(report.lines()))
    return 0
