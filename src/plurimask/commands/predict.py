"""`plurimask predict RUN IMAGES --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.progress import Progress

from plurimask.commands.parsing import POSITIONAL, Options, RunFolder, console, parse
from plurimask.files import refuse_existing


class PredictOptions(Options):
    """Draw plausible masks for images, with their mean, and how sure they are of each pixel, object and image."""

    run: RunFolder
    images: Annotated[Path, POSITIONAL] = Field(
        description="an image, a folder of images (or of one folder per channel), or .npz"
    )
    out: Path = Field(
        description="folder to write: for each image a folder of its name, and uncertainty.csv with a row per image"
    )
    samples: int = Field(16, description="masks to draw for each image")
    seed: int = Field(0, description="of the draws; an image's masks depend on the run, the seed and its name alone")
    batch_size: int = Field(16, description="images of one size at once; the result does not depend on it")
    overwrite: bool = Field(False, description="write into --out even if it holds files already")


def main(arguments: Sequence[str]) -> int:
    options = parse(PredictOptions, arguments, "predict")
    refuse_existing(options.out, "files", options.overwrite)

    from plurimask.data import open_images
    from plurimask.figures.samples import GridRow, overview
    from plurimask.figures.style import save_figure
    from plurimask.prediction.files import Predicted, predict, write_predictions
    from plurimask.prediction.predict import Sampling
    from plurimask.runs.load import load_run

    run = load_run(options.run)
    about = run.record.data
    images = open_images(options.images, about.channel_names)
    say = console()
    if size := run.record.preprocessing.center_crop:
        rest = "background" if about.has_background else "not judged"
        say.print(f"The run was trained on centre crops of {size} pixels: outside of that, masks are {rest}.")
    sampling = Sampling(options.samples, options.seed, options.batch_size)
    rows = predict(run.method, images, run.record.preprocessing, sampling)
    with Progress(console=say, transient=True) as progress:
        task = progress.add_task("predicting", total=len(images))

        def show(predicted: Predicted) -> None:
            row = GridRow(predicted.name, predicted.image, None, predicted.samples, predicted.mean, predicted.entropy)
            figure = overview(row, about.class_names, about.has_background)
            save_figure(figure, options.out / predicted.name / "overview.png")
            progress.advance(task)

        write_predictions(rows, about, options.out, show)
    for note in images.notes:
        say.print(f"note: {note}", markup=False)
    say.print(f"Wrote {len(images)} images with {options.samples} masks each to {options.out}")
    return 0
