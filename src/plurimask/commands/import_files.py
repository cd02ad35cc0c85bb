"""`plurimask import TREE --images PATTERN --masks RATER=PATTERN ... --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from plurimask.commands.parsing import POSITIONAL, Foreground, Options, console, parse, shell_word


class ImportOptions(Options):
    """Copy the images and masks of any tree of files into the plain layout, which every command reads."""

    tree: Annotated[Path, POSITIONAL] = Field(description="folder that the patterns start from")
    images: str = Field(description="pattern of the images, in quotes: '*/t1/*.png'; ** stands for any folders")
    masks: tuple[str, ...] = Field(
        description="rater and pattern of the masks: 'anna=*/anna/*_seg.png' ...; what * stands for pairs them"
    )
    out: Path = Field(description="new folder to write")
    foreground: Foreground = False


def main(arguments: Sequence[str]) -> int:
    options = parse(ImportOptions, arguments, "import")

    from plurimask.data import Place, open_data
    from plurimask.data.example import Patterns
    from plurimask.data.layouts.globs import import_layout, masks_by_rater, read_globs

    masks = masks_by_rater(options.masks)
    read_as = "foreground" if options.foreground else None
    source = open_data(Place(options.tree, read_as, options.images, masks))  # so that nothing is copied that is wrong
    number = import_layout(
        read_globs(Patterns(images=options.images, masks=masks), options.tree), options.out, options.tree, read_as
    )
    say = console()
    for note in source.notes:
        say.print(f"note: {note}", markup=False)
    say.print(f"Wrote {number} images with their masks to {options.out}", markup=False)
    say.print(f"Next: plurimask check {shell_word(options.out)}", markup=False)
    return 0
