"""`plurimask demo --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from plurimask.commands.parsing import Options, console, parse, shell_word
from plurimask.errors import InputError
from plurimask.files.writing import refuse_existing
from plurimask.training.signals import exit_code

LEFT_BEHIND = ("data", "run", "report.html", "truth.json")


class DemoOptions(Options):
    """Train on a built-in world whose truth is known, and show how the samples compare with it."""

    out: Path = Field(description="folder to write")
    minutes: float = Field(3.5, gt=0, le=1e6, description="minutes of training")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="of the world and of the training")
    overwrite: bool = Field(False, description="replace an earlier demo in --out")


def main(arguments: Sequence[str]) -> int:
    options = parse(DemoOptions, arguments, "demo")
    from plurimask.commands.demo_world import MARKER, demo
    from plurimask.runs.folder import is_free
    from plurimask.runs.lock import FolderLock
    from plurimask.runs.staging import Staging, mend

    if not is_free(options.out):
        refuse_existing(options.out, "files", options.overwrite)
        if not (options.out / MARKER).exists():
            raise InputError(f"{options.out} holds files, but no earlier demo: give another --out")
    say = console()
    say.print(f"Training for {options.minutes:g} minutes on lesions that four readers see differently ...")
    names = (MARKER, *LEFT_BEHIND)
    with FolderLock(options.out):
        mend(options.out, names)
        with Staging(options.out, names) as staging:
            scores = demo(staging.here(options.out), options.minutes, options.seed)
            staging.settle()
    if scores.get("stopped"):
        say.print("Stopped.")
        return exit_code()
    say.print(
        f"GED squared {scores['ged']:.3f} (a perfect model: {scores['ged_oracle']:.3f}), unbiased "
        f"{scores['ged_unbiased']:.3f} (perfect: 0); share of empty samples errs by {scores['empty_error']:.3f}"
    )
    look, data = options.out / "report.html", shell_word(options.out / "data")
    say.print(f"Look at {look}; try: plurimask check {data}", markup=False)
    say.print(f"See the samples themselves: plurimask view {shell_word(options.out / 'run')} {data}", markup=False)
    return 0
