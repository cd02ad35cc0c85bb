"""`plurimask predict RUN IMAGES --out FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import Progress

from plurimask.commands.parsing import console, parse
from plurimask.files import refuse_existing

DESCRIPTION = "Draw plausible masks for images, with their mean, and how sure they are of each pixel, object and image."


@dataclass(frozen=True)
class PredictOptions:
    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `plurimask train` wrote."""
    images: Annotated[Path, tyro.conf.Positional]
    """An image, a folder of images (or of one folder per channel), or .npz."""
    out: Path
    """Folder to write: for each image a folder of its name, and uncertainty.csv with a row per image."""
    samples: int = 16
    """Masks to draw for each image."""
    seed: int = 0
    """Of the draws; an image's masks depend on the run, the seed and its name alone."""
    batch_size: int = 16
    """Images of one size at once; the result does not depend on it."""
    overwrite: bool = False
    """Write into --out even if it holds files already."""


def main(arguments: Sequence[str]) -> int:
    options = parse(PredictOptions, arguments, "predict", DESCRIPTION)
    refuse_existing(options.out, "files", options.overwrite)

    from plurimask.data import open_images
    from plurimask.figures.samples import GridRow, overview, save_figure
    from plurimask.prediction.files import Predicted, predict, write_predictions
    from plurimask.prediction.predict import Sampling
    from plurimask.runs.load import load_run

    run = load_run(options.run)
    about = run.record.data
    images = open_images(options.images, about.channel_names)
    say = console()
    if run.record.preprocessing.center_crop is not None:
        size = run.record.preprocessing.center_crop
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
