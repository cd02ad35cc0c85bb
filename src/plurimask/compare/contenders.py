"""Several methods on one data set, with one budget each: trained or loaded, evaluated alike, side by side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from plurimask.compare.measure import MethodResult, key_of, measure, restore, store
from plurimask.compare.table import CLASS_IOU, COLUMNS
from plurimask.data import DataSource
from plurimask.data.digest import digest_of
from plurimask.data.remembered import remembered
from plurimask.errors import InputError
from plurimask.evaluation.evaluate import ExampleView, flip_error
from plurimask.files.reading import is_there, read_json
from plurimask.files.writing import replace_file
from plurimask.prediction.predict import Sampling
from plurimask.runs.folder import RECORD_FILE, mend_run
from plurimask.runs.load import Run, find_split, load_run
from plurimask.runs.plan import Plan, used_by
from plurimask.runs.staging import Staging
from plurimask.runs.train import train_run
from plurimask.version import __version__

STATE_FILE = "comparison.json"
NUM_HASHED = 8
"""Examples of each split that are looked at to recognise the data."""
MAX_CLASS_COLUMNS = 6
"""Of up to so many classes the IoU of each is a column of the table."""


@dataclass(frozen=True)
class Contender:
    """One method of a comparison: what is to be trained, or a run that is there already."""

    name: str
    plan: Plan | None = None
    run: Path | None = None


@dataclass(frozen=True)
class Compared:
    """All results, in the order asked for, on the same images."""

    view: ExampleView
    results: Sequence[MethodResult]
    split: str
    sampling: Sampling


class Watcher(Protocol):
    """Is told what happens, to show it."""

    def stage(self, text: str, total: int | None = None) -> None:
        """A new piece of work begins, of `total` images where it is known."""

    def image(self) -> None:
        """One more image of this piece is done."""


def train_contenders(
    contenders: Sequence[Contender],
    source: DataSource,
    out: Path,
    watcher: Watcher,
    prepare: Callable[[Plan, DataSource], Plan] = lambda plan, source: plan,
    staging: Staging | None = None,
) -> bool:
    """Train what is not trained yet, each into `out/runs/NAME`, and continue what was interrupted.

    Args:
        contenders, source, out: what to train, on what, into which folder.
        watcher: is told what happens.
        prepare: what is done to each plan before it is trained (`plurimask.runs.prepare.prepare`); by default nothing.
        staging: of a comparison that is to replace the one in `out`: it does so when the first training has ended,
            however it did, and left a checkpoint.

    Returns:
        Whether all are trained; False if a signal ended one early.

    Raises:
        InputError: the folder holds a comparison on other data, or one in which a method has other settings.
    """

    def here() -> Path:
        return out if staging is None else staging.here(out)

    state = read_state(here())
    seen = _identity(source)
    if state["data"] and state["data"] != seen:
        raise InputError(f"{out} holds a comparison on other data: give another --out, or --overwrite to start anew")
    source = remembered(source)
    state["data"] = seen
    _note_plans(state["plans"], contenders, out)
    replace_file(here() / STATE_FILE, json.dumps(state, indent=2).encode())
    for number, contender in enumerate(contenders):
        if contender.plan is None or contender.name in state["trained"]:
            continue
        folder = run_folder(contender, here())
        watcher.stage(f"{number + 1} of {len(contenders)}: training {contender.name}")
        mend_run(folder)
        resume = (folder / RECORD_FILE).exists()
        plan = contender.plan if resume else prepare(contender.plan, source)
        if plan.made is not None:
            few = f"; fewer than the {plan.made.needed_steps:,} steps that it needs" * plan.made.undertrained
            watcher.stage(f"{plan.made.summary}{few}")
        try:
            outcome = train_run(plan, source, folder, resume=resume)
        finally:
            if staging is not None and is_begun(here()):
                staging.settle()
        if outcome["stopped"]:
            return False
        state["trained"][contender.name] = outcome
        replace_file(here() / STATE_FILE, json.dumps(state, indent=2).encode())
    return True


def _note_plans(plans: dict[str, Any], contenders: Sequence[Contender], out: Path) -> None:
    """Note what is to be trained; `InputError` where a method is noted with other settings."""
    for contender in contenders:
        if contender.plan is None:
            continue
        plan = json.loads(json.dumps(asdict(contender.plan)))
        del plan["made"]  # what is asked for is the same, whatever the machine
        if plan["start"] is None:  # as older versions note it
            del plan["start"]
        known = plans.setdefault(contender.name, plan)
        for one in (plan, known):
            one["settings"] = used_by(contender.plan, one.get("settings", {}))
        if known != plan:
            differing = sorted(key for key in {*plan, *known} if plan.get(key) != known.get(key))
            raise InputError(
                f"{out} holds a comparison in which {contender.name} has other {', '.join(differing)}: give another "
                "--out, or --overwrite to start anew"
            )


def _identity(source: DataSource) -> dict[str, Any]:
    """What tells one data set from another without reading all of it: description, names, and a few examples."""
    splits = {}
    for name, examples in source.splits.items():
        names = hashlib.sha256("\n".join(examples.names).encode()).hexdigest()
        few = sorted({len(examples) * part // NUM_HASHED for part in range(NUM_HASHED)})
        splits[name] = [names, digest_of(examples, few)]
    return {"description": source.description.model_dump(mode="json"), "splits": splits}


def is_comparison(folder: Path) -> bool:
    """Whether a folder holds a comparison, of this version or another."""
    try:
        state = read_json(folder / STATE_FILE, "")
    except InputError:
        return False
    return isinstance(state, dict) and {"plans", "trained"} <= state.keys()


def is_begun(folder: Path) -> bool:
    """Whether a folder holds a comparison of which some training has a checkpoint."""
    return is_comparison(folder) and any((folder / "runs").glob("**/checkpoints/last.ckpt"))


def read_state(out: Path) -> dict[str, dict[str, Any]]:
    """What an earlier call has done: on which data, the plan of each method, the outcome of each that is trained."""
    path = out / STATE_FILE
    if not is_there(path):
        return {"data": {}, "plans": {}, "trained": {}}
    state = read_json(path, "restore the file, or start anew with --overwrite")
    try:
        return {name: dict(state.get(name, {})) for name in ("data", "plans", "trained")}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: damaged: restore the file, or give another --out") from error


def run_folder(contender: Contender, out: Path) -> Path:
    """Where the run of a contender lies."""
    return contender.run or out / "runs" / contender.name


def evaluate_contenders(
    contenders: Sequence[Contender],
    source: DataSource,
    out: Path,
    split: str,
    sampling: Sampling,
    watcher: Watcher,
) -> Compared:
    """Evaluate all on the same images with the same seed; what an earlier call has evaluated is taken from `out`.

    Raises:
        InputError: the runs see other data, other images or in other sizes.
    """
    runs = [load_run(run_folder(contender, out)) for contender in contenders]
    refuse_different(runs)
    examples = find_split(source, split)
    seen, results = digest_of(examples, range(len(examples))), []
    for contender, run in zip(contenders, runs, strict=True):
        view = ExampleView(examples, range(len(examples)), run.record.preprocessing, run.record.data.counted_classes)
        key = key_of(run, seen, sampling)
        result = restore(contender.name, key, out / "evaluations")
        if result is None:
            watcher.stage(f"evaluating {contender.name}", len(examples))
            result = measure(contender.name, run, view, sampling, watcher.image)
            about = {"num_samples": sampling.num_samples, "seed": sampling.seed, "split": split}
            store(result, key, out / "evaluations", {**about, "plurimask": __version__})
        results.append(result)
    return Compared(view, results, split, sampling)


def refuse_different(runs: Sequence[Run]) -> None:
    """Raise `InputError` if runs were trained on other data or another split, or see images in another size."""
    first = runs[0]
    for run in runs[1:]:
        for what in ("data", "split"):
            if getattr(run.record, what) != getattr(first.record, what):
                raise InputError(
                    f"{first.folder} and {run.folder} differ in their {what}: images that one is evaluated on may be "
                    "those that the other was trained on; compare runs of the same data and split"
                )
        for what in ("center_crop", "resize", "spacing"):
            one, other = getattr(first.record.preprocessing, what), getattr(run.record.preprocessing, what)
            if one != other:
                raise InputError(
                    f"{first.folder} and {run.folder} see the images differently ({what} {one} and {other}): scores "
                    "would not compare; train both alike"
                )


def table_rows(compared: Compared) -> list[dict[str, Any]]:
    """One row a method, by the keys of `COLUMNS`; None where a figure does not exist.

    The IoU of each class is beside them where there are few classes.
    """
    rows = []
    for result in compared.results:
        own = {**result.totals, **result.facts, "flip_error": flip_error(result.flips)}
        row = {**{column.key: own.get(column.key) for column in COLUMNS}, "method": result.name}
        classes = result.totals["class_iou"] or {}
        if len(classes) <= MAX_CLASS_COLUMNS:
            row |= {f"{CLASS_IOU}{name}": value for name, value in classes.items()}
        rows.append(row)
    return rows
