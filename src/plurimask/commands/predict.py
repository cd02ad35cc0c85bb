"""`plurimask predict RUN IMAGES --out FOLDER`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from plurimask.commands.parsing import (
    POSITIONAL,
    ImagePattern,
    Options,
    RunFolder,
    SliceDraws,
    console,
    parse,
)
from plurimask.commands.sharing import CohortPart, DaskWorkers, Memory
from plurimask.errors import InputError
from plurimask.files.writing import refuse_unwritable
from plurimask.prediction.cohort import Block, blocks, indices_of, parse_part, refuse_idle, share, within
from plurimask.prediction.workers import completed, connected, memory_of_each, refuse_odd_address
from plurimask.pretrained import folder_of, images_of

if TYPE_CHECKING:
    from torch import Tensor

    from plurimask.commands.predict_work import PredictWork
    from plurimask.method import SegmentationMethod

LOG_SECONDS = 30.0
"""Where there is no terminal, a line is said at least so often."""
SURELY_SMALL = 2**20
"""Pixels: images up to that take little memory, and more are predicted at once up to that."""


class PredictOptions(Options):
    """Draw plausible masks for images, with their mean, and how sure they are of each pixel, object and image."""

    run: RunFolder
    path: Annotated[Path | None, POSITIONAL] = Field(
        None,
        description="an image, a folder of images (or of one folder per channel), or .npz, or pretrained:NAME, the "
        "examples beside a model; with --images, where the pattern starts",
    )
    images: ImagePattern = None
    out: Path = Field(
        description="folder to write: for each image a folder of its name, index.html to look at all of them, and "
        "uncertainty.csv with a row per image"
    )
    samples: int = Field(16, ge=1, le=4096, description="masks to draw for each image")
    seed: int = Field(0, description="of the draws; an image's masks depend on the run, the seed and its name alone")
    spread: bool = Field(
        False,
        description="spread the draws of latents evenly: few masks show more of the possible, and their shares still "
        "hold; for methods with latents",
    )
    slice_draws: SliceDraws = None
    batch_size: int = Field(
        1,
        ge=1,
        le=4096,
        description="images of one size at once; the result does not depend on it, up to rounding",
    )
    readings: int | None = Field(
        None, ge=1, le=16, description="how many readings to show for each image at most; by default one to five"
    )
    stack: bool = Field(False, description="write the samples of an image as one TIFF of several pages too")
    dicom_seg: bool = Field(
        False,
        description="of DICOM series, write the mean as a DICOM segmentation too: fractional, with references to the "
        "slices",
    )
    least_object: int = Field(
        9, ge=1, le=10**12, description="pixels of an object that gets a score of its own; less is a speck"
    )
    memory: Memory = None
    part: CohortPart = None
    dask: DaskWorkers = None
    overwrite: bool = Field(
        False,
        description="write into --out even if it holds other files, or predictions with other settings, which are done "
        "again; finished ones with the same settings are skipped all the same",
    )


def main(arguments: Sequence[str]) -> int:
    options = parse(PredictOptions, arguments, "predict")
    if options.path is None and options.images is None:
        raise InputError("PATH is missing: give an image, a folder of images, or a pattern by --images")
    part = parse_part(options.part)
    refuse_odd_address(options.dask)
    memory = memory_of_each(options.dask, options.memory)
    refuse_unwritable(options.out)

    from plurimask.commands.predict_work import PredictJob, PredictWork
    from plurimask.prediction.dicom_seg import refuse_other_than_series
    from plurimask.prediction.files import Outputs
    from plurimask.prediction.finished import INDEX, TABLE, claim, outcome_words
    from plurimask.prediction.predict import Sampling

    sampling = Sampling(options.samples, options.seed, options.batch_size, options.spread, memory)
    outputs = Outputs(options.stack, options.least_object, options.readings, options.dicom_seg)
    place = images_of(options.path or Path())
    work = PredictWork(
        PredictJob(options.run, place, options.images, options.out, sampling, outputs, options.slice_draws)
    )
    if options.dicom_seg:
        refuse_other_than_series(work.images)
    say = console()
    _say_how(say, work, options)
    everything = blocks(len(work.images), options.batch_size)
    refuse_idle(everything, part)
    own = indices_of(share(everything, part))
    claim(options.out, work.made_with, options.overwrite, part.is_all)
    reasons = dict(zip(own, map(work.why_not, own), strict=True))
    of_part = "" if part.is_all else f" of part {part}"
    for line in outcome_words([*reasons.values()], of_part):
        say.print(line)
    needed = [index for index in own if reasons[index] is not None]
    with Watched(say, len(own), done=len(own) - len(needed)) as watched:
        if options.dask is None:
            notice = MemoryNotice(say, work.run.method, options.samples, memory)
            for block, some in within(everything, needed):
                work.predict(block, some, watched.phase, notice, watched.done)
        else:
            _on_workers(options.dask, work, list(within(everything, needed)), watched)
        for note in sorted(work.notes):
            say.print(f"note: {note}", markup=False)
    if not part.is_all:
        work.write_part(own, part)
    missing = work.write_pages()
    for note in work.images.notes:
        say.print(f"note: {note}", markup=False)
    say.print(f"Wrote {len(needed)} images{of_part} with {options.samples} masks each to {options.out}")
    if missing:
        say.print(
            f"{len(missing)} of all {len(work.images)} images are not finished, such as {missing[0]}: the part that "
            f"finishes last writes {TABLE} and {INDEX}"
        )
    else:
        say.print(f"Look at {options.out / INDEX}: the most uncertain come first", markup=False)
    return 0


def _say_how(say: Console, work: PredictWork, options: PredictOptions) -> None:

    about, path = work.run.record.data, work.job.images
    if about.patterns is not None and options.images is None and path.is_dir():
        say.print(
            f"note: every image in {path} is taken; in training they were --images {about.patterns.images!r}",
            markup=False,
        )
    if size := work.run.record.preprocessing.centre_words:
        rest = "background" if about.has_background else "not judged"
        say.print(f"The run was trained on centre crops of {size} pixels: outside of that, masks are {rest}.")


def _on_workers(words: str, work: PredictWork, tasks: Sequence[tuple[Block, list[int]]], watched: Watched) -> None:
    """Predict blocks on workers of Dask, which write the files of their images themselves."""
    from plurimask.commands.predict_tasks import BlockTask, Task, TilesUnderWay, name_of, predict_task

    job = replace(
        work.job, run=folder_of(work.job.run).resolve(), images=work.job.images.resolve(), out=work.job.out.resolve(),
        digest=work.run.digest,
    )  # fmt: skip
    named: list[Task] = [BlockTask(block, some, [work.images.names[index] for index in some]) for block, some in tasks]
    tiles = TilesUnderWay()
    watched.phase("waiting for workers")
    with connected(words) as client:
        work.run.method.cpu()
        for task, outcome in completed(client, partial(predict_task, job), named, name_of, tiles.after):
            watched.phase(f"predicting on {len(client.nthreads())} workers{tiles.words(task)}")
            work.notes |= outcome.notes
            for _ in range(outcome.num_images):
                watched.done()


class Watched:
    """A bar of images that names the phase; where there is no terminal to draw it on, a line every `LOG_SECONDS`."""

    def __init__(self, say: Console, total: int, clock: Callable[[], float] = time.monotonic, done: int = 0) -> None:
        columns = SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn()
        self.bar = Progress(*columns, console=say, transient=True, disable=not say.is_terminal)
        self.task = self.bar.add_task("predicting", total=total, completed=done)
        self.say, self.total, self.clock = say, total, clock
        self.images, self.said = done, clock()

    def __enter__(self) -> Watched:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def phase(self, words: str) -> None:
        """What is done now."""
        self.bar.update(self.task, description=escape(words))
        if not self.say.is_terminal and self.clock() - self.said >= LOG_SECONDS:
            self.said = self.clock()
            self.say.print(f"{self.images} of {self.total} images done; {words}", markup=False)

    def done(self) -> None:
        """One more image is written."""
        self.images += 1
        self.bar.advance(self.task)


class MemoryNotice:
    """Says before an image that takes much memory how much it is at most; again only of a larger one."""

    def __init__(self, say: Console, method: SegmentationMethod, num_samples: int, memory: float = math.inf) -> None:
        self.say, self.method, self.num_samples, self.memory = say, method, num_samples, memory
        self.largest = SURELY_SMALL
        self.per_pixel = 0.0

    def __call__(self, name: str, image: Tensor) -> None:
        """An image `(K, *spatial)` as the method sees it."""
        from plurimask.prediction.budget import Budget
        from plurimask.prediction.memory import bytes_per_pixel, memory_bound

        channels, size = len(image), tuple(image.shape[1:])
        if math.prod(size) <= self.largest:
            return
        self.largest = math.prod(size)
        self.per_pixel = self.per_pixel or bytes_per_pixel(self.method, channels)
        budget = Budget(self.method, self.memory, self.num_samples, channels)
        at_once = int(min(self.largest, budget.usual(size)))
        bound = memory_bound(self.per_pixel, at_once, channels, self.num_samples)
        bound += budget.results(self.largest) if at_once < self.largest else 0
        sides = " x ".join(f"{side:,}" for side in reversed(size))
        what = "voxels" if len(size) == 3 else "pixels"
        in_tiles = " in tiles," if bound > self.memory or not budget.is_whole(size) else ""
        taken = min(bound, self.memory) / 1e9
        self.say.print(f"{name}: {sides} {what},{in_tiles} takes up to {taken:.1f} GB of memory", markup=False)
