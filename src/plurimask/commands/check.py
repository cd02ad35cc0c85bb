"""`plurimask check DATA`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from plurimask.commands.parsing import (
    Data,
    Flips,
    Foreground,
    ImagePattern,
    MaskPatterns,
    Options,
    PatientGroup,
    parse,
    place_of,
)


class CheckOptions(Options):
    """Say what was found in DATA, how much the raters agree, and what GED a perfect model would score."""

    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    group: PatientGroup = None
    seed: int = Field(0, description="of the split, where one is drawn")
    flips: Flips = None
    center_crop: int | None = Field(
        None,
        ge=1,
        le=2**17,  # MAX_SIDE of plurimask.data.preprocessing, with which torch would be imported here
        description="look at the centre of this side of every image alone, as a run with --center-crop does",
    )


def main(arguments: Sequence[str]) -> int:
    options = parse(CheckOptions, arguments, "check")
    place = place_of(options)

    from plurimask.data import open_data
    from plurimask.data.known import FileStates
    from plurimask.evaluation.check import check_data

    states = FileStates()
    place = replace(place, keep=False, states=states)
    source = open_data(place, group=options.group, seed=options.seed, flips=options.flips)
    if options.center_crop is not None:
        from plurimask.data.preprocessing import Preprocessing, Views

        window = Preprocessing(mean=(0.0,), std=(1.0,), center_crop=options.center_crop)
        splits = {name: Views(examples, window) for name, examples in source.splits.items()}
        source = replace(source, splits=splits)
    print("\n".join(check_data(source, states).lines()))
    return 0
