"""`plurimask evaluate RUN DATA`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
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
from plurimask.commands.sharing import CohortPart, DaskWorkers, Memory
from plurimask.errors import InputError
from plurimask.files.writing import refuse_existing, refuse_unwritable
from plurimask.prediction.cohort import blocks, indices_of, parse_part, refuse_idle, share, within
from plurimask.prediction.workers import completed, connected, memory_of_each, refuse_odd_address
from plurimask.version import __version__

if TYPE_CHECKING:
    from plurimask.commands.evaluate_work import EvaluateWork
    from plurimask.evaluation.records import Records
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
    memory: Memory = None
    part: CohortPart = None
    dask: DaskWorkers = None
    overwrite: bool = Field(False, description="replace the files of --out")


def main(arguments: Sequence[str]) -> int:
    options = parse(EvaluateOptions, arguments, "evaluate")
    place, part = place_of(options), parse_part(options.part)
    refuse_odd_address(options.dask)
    memory = memory_of_each(options.dask, options.memory)
    if options.out is not None:
        if options.out.suffix.lower() != ".json":
            raise InputError(f"--out {options.out}: expected a name that ends with .json")
        refuse_unwritable(options.out)
    elif not part.is_all:
        raise InputError(f"--part {part}: what it finds would be lost: give --out, the same in all parts")

    from plurimask.commands.evaluate_work import EvaluateJob, EvaluateWork
    from plurimask.evaluation.records import Records, folder_beside, has_begun
    from plurimask.prediction.predict import Sampling

    sampling = Sampling(options.samples, options.seed, options.batch_size, memory=memory)
    masks = tuple(place.masks.items())
    work = EvaluateWork(
        EvaluateJob(
            options.run,
            place.path,
            place.read_as,
            place.images,
            masks,
            options.split,
            sampling,
            options.representatives,
            options.slice_draws,
        )
    )
    everything = blocks(len(work.examples), options.batch_size)
    refuse_idle(everything, part)
    with ExitStack() as stack:
        if options.out is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="plurimask-")))
        else:
            folder = folder_beside(options.out)
            if not has_begun(folder, work.made_with):  # what is there then is of this same evaluation
                for path in (options.out, options.out.with_suffix(".csv"), options.out.with_suffix(VOLUMES_ENDING)):
                    refuse_existing(path, "an evaluation", options.overwrite)
        records = stack.enter_context(Records(folder, work.made_with, part))
        _evaluate(options, work, indices_of(share(everything, part)), records)
        records.look()
        missing = records.missing(work.examples, range(len(work.examples)))
        if missing:
            console().print(
                f"{len(missing)} of all {len(work.examples)} images are not evaluated, such as "
                f"{work.examples.names[missing[0]]}: the part "
                f"that finishes last writes {options.out}"
            )
            return 0
        _write(options, work, records)
        if part.is_all:
            records.remove()
    return 0


def _evaluate(options: EvaluateOptions, work: EvaluateWork, own: list[int], records: Records) -> None:
    """Record the images of this call that no call has recorded."""
    say, examples = console(), work.examples
    if records.num_foreign:
        say.print(
            f"note: {records.folder} holds {records.num_foreign} files of an evaluation with other settings or of an "
            "earlier state of run or data: they are not used"
        )
    needed = records.missing(examples, own)
    if len(needed) < len(own):
        say.print(f"{len(own) - len(needed):,} of {len(own):,} images are evaluated already, with the same settings")
    tasks = list(within(blocks(len(examples), options.batch_size), needed))
    with Progress(console=say, transient=True) as progress:
        bar = progress.add_task("evaluating", total=len(own), completed=len(own) - len(needed))
        if options.dask is None:
            for block, some in tasks:
                records.add(work.evaluate(block, some, lambda: progress.advance(bar)))
            for note in sorted(work.notes):
                say.print(f"note: {note}", markup=False)
            return
        from plurimask.commands.evaluate_work import evaluate_task

        job = replace(
            work.job, run=work.run.folder.resolve(), data=work.job.data.resolve(), digest=work.run.digest
        )  # fmt: skip
        named = [(block, some, tuple(examples.names[index] for index in some)) for block, some in tasks]
        with connected(options.dask) as client:
            for _, found in completed(client, partial(evaluate_task, job), named, lambda task: task[2][0]):
                records.add(found)
                progress.advance(bar, len(found))


def _write(options: EvaluateOptions, work: EvaluateWork, records: Records) -> None:
    """Print the totals of all records, and write them."""
    from plurimask.evaluation import evaluate, writing
    from plurimask.evaluation.records import folded, rows_of

    about, source, view = work.run.record, work.source, work.view
    say, out = console(), Console(markup=False, emoji=False)
    evaluation = folded(map(records.__getitem__, work.examples.names), view.counted_classes, work.table)
    facts: dict[str, Any] = {
        "num_samples": options.samples,
        "split": options.split,
        "seed": options.seed,
        "method": about.method,
        "run": options.run.name,
        **about.preprocessing.model_dump(include={"center_crop", "resize", "spacing", "image_scaling", "slices"}),
        **({} if about.preprocessing.slices is None else {"slice_draws": options.slice_draws or "shared"}),
        "num_raters": len(source.description.rater_names),
        "plurimask": __version__,
        "counted_classes": [about.data.class_names[index] for index in view.counted_classes],
    }
    if flips := evaluate.flip_frequencies(evaluation, about.data):
        facts |= {"flips": flips, "flip_error": evaluate.flip_error(flips)}
    out.print(
        _table(evaluation.totals, options.samples, work.table), _class_table(evaluation.totals, about.data.class_names)
    )
    for name, flip in flips.items():
        seen, true = _number(flip["frequency"]), _number(flip["probability"])
        out.print(f"{name} flips in {seen} of the samples' pixels, truly {true}")
    if options.out is not None:
        totals = evaluate.named_classes(evaluation.totals, about.data.class_names)
        rows = rows_of(map(records.__getitem__, work.examples.names))
        writing.write_evaluation(totals, rows, options.out, facts, work.table)
        say.print(f"Wrote {options.out} and {options.out.with_suffix('.csv')}")
        if volumes := [row for name in work.examples.names for row in records[name].volumes]:
            path = options.out.with_suffix(VOLUMES_ENDING)
            writing.write_volumes(volumes, path, about.data.class_names)
            say.print(f"Wrote {path}: the volumes of each image and class, of samples and raters", markup=False)


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
