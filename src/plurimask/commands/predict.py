"""`plurimask predict RUN IMAGES --out FOLDER`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from plurimask.commands.parsing import POSITIONAL, ImagePattern, Options, RunFolder, SliceDraws, console, parse
from plurimask.errors import InputError
from plurimask.files.writing import refuse_existing
from plurimask.pretrained import images_of

if TYPE_CHECKING:
    from torch import Tensor

    from plurimask.method import SegmentationMethod
    from plurimask.prediction.predicted import Predicted

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
        16, ge=1, le=4096, description="images of one size at once; the result does not depend on it"
    )
    readings: int | None = Field(
        None, ge=1, le=16, description="how many readings to show for each image at most; by default one to five"
    )
    stack: bool = Field(False, description="write the samples of an image as one TIFF of several pages too")
    least_object: int = Field(
        9, ge=1, le=10**12, description="pixels of an object that gets a score of its own; less is a speck"
    )
    overwrite: bool = Field(False, description="write into --out even if it holds files already")


def main(arguments: Sequence[str]) -> int:
    options = parse(PredictOptions, arguments, "predict")
    if options.path is None and options.images is None:
        raise InputError("PATH is missing: give an image, a folder of images, or a pattern by --images")
    refuse_existing(options.out, "files", options.overwrite)
    if options.out.is_file():
        raise InputError(f"--out {options.out}: a file; give the name of a folder")

    from plurimask.data import open_images
    from plurimask.figures.page import Classes
    from plurimask.figures.samples import GridRow, overview
    from plurimask.figures.style import save_figure
    from plurimask.files.writing import replace_file
    from plurimask.prediction.files import Outputs, Written, write_predictions
    from plurimask.prediction.predict import Sampling
    from plurimask.prediction.predicted import predict
    from plurimask.report.predictions import INDEX, IndexEntry, IndexPage, build_index, index_entry, thumbnail_side
    from plurimask.runs.load import load_run

    run = load_run(options.run, options.slice_draws)
    about = run.record.data
    path = images_of(options.path or Path())
    images = open_images(path, about.channel_names, options.images)
    say = console()
    if about.patterns is not None and options.images is None and path.is_dir():
        say.print(
            f"note: every image in {path} is taken; in training they were --images {about.patterns.images!r}",
            markup=False,
        )
    if size := run.record.preprocessing.center_crop:
        rest = "background" if about.has_background else "not judged"
        say.print(f"The run was trained on centre crops of {size} pixels: outside of that, masks are {rest}.")
    sampling = Sampling(options.samples, options.seed, options.batch_size, options.spread)
    classes, side = Classes(about.class_names, about.has_background), thumbnail_side(len(images))
    entries: list[IndexEntry] = []
    with Watched(say, len(images)) as watched:

        def show(written: Written) -> None:
            one = written.predicted
            row = GridRow(one.name, one.image, None, one.samples, one.mean, one.entropy)
            figure = overview(row, written.readings, about.class_names, about.has_background)
            save_figure(figure, options.out / one.name / "overview.png")
            entries.append(index_entry(written, classes, side))
            watched.done()

        notice = MemoryNotice(say, run.method, options.samples)
        rows = predict(run.method, images, run.record.preprocessing, sampling, watched.phase, notice)
        outputs = Outputs(options.stack, options.least_object, options.readings)
        write_predictions(_replacing(options.out / INDEX, rows), about, options.out, show, outputs)
    page = IndexPage(run.folder.name, run.record.method, options.samples, classes, options.spread)
    replace_file(options.out / INDEX, build_index(entries, page).encode())
    for note in images.notes:
        say.print(f"note: {note}", markup=False)
    say.print(f"Wrote {len(images)} images with {options.samples} masks each to {options.out}")
    say.print(f"Look at {options.out / INDEX}: the most uncertain come first", markup=False)
    return 0


def _replacing(page: Path, rows: Iterator[Predicted]) -> Iterator[Predicted]:
    """The rows; before the first the page of an earlier call goes: what is refused leaves it."""
    for number, row in enumerate(rows):
        if not number:
            page.unlink(missing_ok=True)
        yield row


class Watched:
    """A bar of images that names the phase; where there is no terminal to draw it on, a line every `LOG_SECONDS`."""

    def __init__(self, say: Console, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        columns = SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn()
        self.bar = Progress(*columns, console=say, transient=True, disable=not say.is_terminal)
        self.task = self.bar.add_task("predicting", total=total)
        self.say, self.total, self.clock = say, total, clock
        self.images, self.said = 0, clock()

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

    def __init__(self, say: Console, method: SegmentationMethod, num_samples: int) -> None:
        self.say, self.method, self.num_samples = say, method, num_samples
        self.largest = SURELY_SMALL
        self.per_pixel = 0.0

    def __call__(self, name: str, image: Tensor) -> None:
        """An image `(K, H, W)` as the method sees it."""
        from plurimask.prediction.memory import bytes_per_pixel, memory_bound

        channels, (height, width) = len(image), image.shape[-2:]
        if height * width <= self.largest:
            return
        self.largest = height * width
        self.per_pixel = self.per_pixel or bytes_per_pixel(self.method, channels)
        bound = memory_bound(self.per_pixel, height * width, channels, self.num_samples)
        self.say.print(
            f"{name}: {width:,} x {height:,} pixels, takes up to {bound / 1e9:.1f} GB of memory", markup=False
        )
