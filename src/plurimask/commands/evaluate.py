"""`plurimask evaluate RUN DATA`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from plurimask.commands.parsing import (
    Data,
    Foreground,
    ImagePattern,
    MaskPatterns,
    Options,
    RunFolder,
    SliceDraws,
    Split,
    console,
    parse,
    place_of,
)
from plurimask.errors import InputError
from plurimask.files.writing import refuse_existing
from plurimask.version import __version__

if TYPE_CHECKING:
    from plurimask.metrics.row import MetricRow

VOLUMES_ENDING = ".volumes.csv"

class EvaluateOptions(Options):
    """Draw samples for every image of a split of DATA and compare them with its raters."""

    run: RunFolder
    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    split: Split = "val"
    samples: int = Field(
        16, ge=1, le=4096, description="samples per image; scores at different numbers of samples must not be compared"
    )
    seed: int = Field(0, description="of the samples")
    batch_size: int = Field(16, ge=1, le=4096, description="images at once; the result does not depend on it")
    representatives: bool = Field(
        False, description="ged_representatives too, of 16 and of 4 weighted maps: 100 draws more for each image"
    )
    slice_draws: SliceDraws = None
    out: Path | None = Field(
        None,
        description="JSON file to write; a CSV with a row per image goes beside it, and of volumes one with a row per "
        "image and class",
    )
    overwrite: bool = Field(False, description="replace the files of --out")


def main(arguments: Sequence[str]) -> int:
    options = parse(EvaluateOptions, arguments, "evaluate")
    place = place_of(options)
    if options.out is not None:
        if options.out.suffix.lower() != ".json":
            raise InputError(f"--out {options.out}: expected a name that ends with .json")
        for path in (options.out, options.out.with_suffix(".csv"), options.out.with_suffix(VOLUMES_ENDING)):
            refuse_existing(path, "an evaluation", options.overwrite)

    from plurimask.evaluation import evaluate
    from plurimask.metrics.representatives import TABLE_WITH_REPRESENTATIVES
    from plurimask.metrics.table import TABLE
    from plurimask.metrics.volume_table import with_volumes
    from plurimask.prediction.predict import Sampling
    from plurimask.runs.load import find_split, load_run, open_run_data

    run = load_run(options.run, options.slice_draws)
    about = run.record
    source = open_run_data(about, place)
    examples = find_split(source, options.split)
    say, out = console(), Console(markup=False, emoji=False)
    view = evaluate.ExampleView(examples, range(len(examples)), about.preprocessing, about.data.counted_classes)
    sampling = Sampling(options.samples, options.seed, options.batch_size)
    rows = TABLE_WITH_REPRESENTATIVES if options.representatives else TABLE
    rows = with_volumes(rows) if about.data.spatial_dims == 3 else rows
    with Progress(console=say, transient=True) as progress:
        task = progress.add_task("evaluating", total=len(examples))
        evaluation = evaluate.evaluate(run.method, view, sampling, lambda _: progress.advance(task), rows)
    facts: dict[str, Any] = {
        "num_samples": options.samples,
        "split": options.split,
        "seed": options.seed,
        "method": about.method,
        "run": options.run.name,
        **about.preprocessing.model_dump(include={"center_crop", "resize", "image_scaling", "slices"}),
        **({} if about.preprocessing.slices is None else {"slice_draws": options.slice_draws or "shared"}),
        "num_raters": len(source.description.rater_names),
        "plurimask": __version__,
        "counted_classes": [about.data.class_names[index] for index in view.counted_classes],
    }
    if flips := evaluate.flip_frequencies(evaluation, about.data):
        facts |= {"flips": flips, "flip_error": evaluate.flip_error(flips)}
    out.print(_table(evaluation.totals, options.samples, rows), _class_table(evaluation.totals, about.data.class_names))
    for name, flip in flips.items():
        seen, true = _number(flip["frequency"]), _number(flip["probability"])
        out.print(f"{name} flips in {seen} of the samples' pixels, truly {true}")
    if options.out is not None:
        totals = evaluate.named_classes(evaluation.totals, about.data.class_names)
        evaluate.write_evaluation(totals, evaluation.rows, options.out, facts, rows)
        say.print(f"Wrote {options.out} and {options.out.with_suffix('.csv')}")
        if evaluation.volumes:
            path = options.out.with_suffix(VOLUMES_ENDING)
            evaluate.write_volumes(evaluation.volumes, path, about.data.class_names)
            say.print(f"Wrote {path}: the volumes of each image and class, of samples and raters", markup=False)
    return 0


def _table(totals: dict[str, Any], num_samples: int, rows: Sequence[MetricRow]) -> Table:
    subset, digits = totals.get("subset_b"), {row.key: row.digits for row in rows}
    table = Table("figure", title=f"{totals['num_images']} images, {num_samples} samples each", title_justify="left")
    table.add_column("all images", justify="right")
    if subset:
        table.add_column(f"all raters marked something ({subset['num_images']})", justify="right")
    for name, value in totals.items():
        if isinstance(value, list | dict) or name == "num_images" or (name == "num_undefined" and not value):
            continue
        shown = [value, subset[name]] if subset else [value]
        table.add_row(name, *(_number(one, digits.get(name, 4)) for one in shown))
    return table


def _class_table(totals: dict[str, Any], class_names: Sequence[str]) -> Table:
    from plurimask.metrics.table import TABLE

    table = Table("class", title="of each class, pooled", title_justify="left")
    of_classes = [row for row in TABLE if row.over == "classes"]
    for row in of_classes:
        table.add_column(row.title, justify="right")
    for name, *values in zip(class_names, *(totals[row.key] for row in of_classes), strict=True):
        table.add_row(Text(name), *map(_number, values))
    return table


def _number(value: Any, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)
