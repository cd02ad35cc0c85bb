"""`plurimask predict RUN IMAGES --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from plurimask.commands.parsing import POSITIONAL, Options, RunFolder, console, parse
from plurimask.errors import InputError
from plurimask.files import refuse_existing


class PredictOptions(Options):
    """Draw plausible masks for images, with their mean, and how sure they are of each pixel, object and image."""

    run: RunFolder
    images: Annotated[Path, POSITIONAL] = Field(
        description="an image, a folder of images (or of one folder per channel), or .npz"
    )
    out: Path = Field(
        description="folder to write: for each image a folder of its name, index.html to look at all of them, and "
        "uncertainty.csv with a row per image"
    )
    samples: int = Field(16, ge=1, le=4096, description="masks to draw for each image")
    seed: int = Field(0, description="of the draws; an image's masks depend on the run, the seed and its name alone")
    batch_size: int = Field(
        16, ge=1, le=4096, description="images of one size at once; the result does not depend on it"
    )
    stack: bool = Field(False, description="write the samples of an image as one TIFF of several pages too")
    least_object: int = Field(
        9, ge=1, le=10**12, description="pixels of an object that gets a score of its own; less is a speck"
    )
    overwrite: bool = Field(False, description="write into --out even if it holds files already")


def main(arguments: Sequence[str]) -> int:
    options = parse(PredictOptions, arguments, "predict")
    refuse_existing(options.out, "files", options.overwrite)
    if options.out.is_file():
        raise InputError(f"--out {options.out}: a file; give the name of a folder")

    from plurimask.data import open_images
    from plurimask.figures.page import Classes
    from plurimask.figures.samples import GridRow, overview
    from plurimask.figures.style import save_figure
    from plurimask.files import replace_file
    from plurimask.prediction.files import Outputs, Written, write_predictions
    from plurimask.prediction.predict import Sampling
    from plurimask.prediction.predicted import predict
    from plurimask.report.predictions import INDEX, IndexEntry, IndexPage, build_index, index_entry, thumbnail_side
    from plurimask.runs.load import load_run

    run = load_run(options.run)
    about = run.record.data
    images = open_images(options.images, about.channel_names)
    say = console()
    if size := run.record.preprocessing.center_crop:
        rest = "background" if about.has_background else "not judged"
        say.print(f"The run was trained on centre crops of {size} pixels: outside of that, masks are {rest}.")
    sampling = Sampling(options.samples, options.seed, options.batch_size)
    classes, side = Classes(about.class_names, about.has_background), thumbnail_side(len(images))
    entries: list[IndexEntry] = []
    (options.out / INDEX).unlink(missing_ok=True)  # of an earlier call, perhaps for other images
    columns = SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn()
    with Progress(*columns, console=say, transient=True) as progress:
        task = progress.add_task("predicting", total=len(images))

        def phase(words: str) -> None:
            progress.update(task, description=escape(words))

        def show(written: Written) -> None:
            one = written.predicted
            row = GridRow(one.name, one.image, None, one.samples, one.mean, one.entropy)
            figure = overview(row, written.readings, about.class_names, about.has_background)
            save_figure(figure, options.out / one.name / "overview.png")
            entries.append(index_entry(written, classes, side))
            progress.advance(task)

        rows = predict(run.method, images, run.record.preprocessing, sampling, phase)
        write_predictions(rows, about, options.out, show, Outputs(options.stack, options.least_object))
    page = IndexPage(run.folder.name, run.record.method, options.samples, classes)
    replace_file(options.out / INDEX, build_index(entries, page).encode())
    for note in images.notes:
        say.print(f"note: {note}", markup=False)
    say.print(f"Wrote {len(images)} images with {options.samples} masks each to {options.out}")
    say.print(f"Look at {options.out / INDEX}: the most uncertain come first", markup=False)
    return 0
