"""`plurimask train DATA --method NAME --out RUN`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import Field

from plurimask.commands.parsing import (
    Data,
    Flips,
    Foreground,
    Group,
    ImagePattern,
    MaskPatterns,
    Options,
    PatientGroup,
    console,
    parse,
    peek,
    place_of,
    read,
    shell_word,
)
from plurimask.commands.settings import read_settings
from plurimask.data import DataSource, open_data
from plurimask.data.remembered import remembered
from plurimask.errors import InputError
from plurimask.method import MethodConfig
from plurimask.methods import find_method
from plurimask.methods.presets import DEFAULT_PRESET, find_preset
from plurimask.runs.folder import mend_run, refuse_occupied
from plurimask.runs.load import open_run_data
from plurimask.runs.plan import Plan, merged, resolve
from plurimask.runs.prepare import prepare, rises_again
from plurimask.runs.record import RunRecord, read_record
from plurimask.runs.train import train_run
from plurimask.training.candidates import PLANNED
from plurimask.training.config import Hardware, TrainingConfig
from plurimask.training.plan import NEEDED_STEPS
from plurimask.training.signals import exit_code, last_signal


class TrainOptions(Options):
    """Train a method on DATA into the run folder RUN. The settings of --method follow the general ones."""

    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    method: str = Field(
        description="what to train; `plurimask methods` lists them, package.module:Class is one of another package"
    )
    out: Path = Field(description="the run folder to write")
    preset: str = Field(DEFAULT_PRESET, description="named settings to start from")
    config: Path | None = Field(None, description="YAML file of settings (of the method and its training)")
    from_: Path | None = Field(
        None,
        description="run, or pretrained:NAME, to go on from, for a method that is built on a trained one (swag): its "
        "weights and settings",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="of initial weights, order, crops and draws")
    group: PatientGroup = None
    flips: Flips = None
    plan: bool = Field(False, description="show what would be trained and why, and stop; nothing is written")
    resume: bool = Field(False, description="continue the run in --out from its last checkpoint")
    overwrite: bool = Field(False, description="replace the run in --out")
    accelerator: str = Field("auto", description="cpu, gpu, ... as Lightning names them")
    devices: int = Field(1, ge=1, le=1024, description="devices on each machine")
    nodes: int = Field(1, ge=1, le=10_000, description="machines")


def main(arguments: Sequence[str]) -> int:
    general = TrainOptions.model_fields
    first = peek(general, arguments, "train")  # what decides which settings there are, and what they are by default
    if "method" not in first:  # ends with the help, or with what is missing
        parse(TrainOptions, arguments, "train")
    method = first["method"]
    hardware = Hardware(**{name: first[name] for name in ("accelerator", "devices", "nodes") if name in first})
    stored = _stored(first["out"], hardware) if first.get("resume") and "out" in first else None
    preset = first.get("preset") or (stored.preset if stored else DEFAULT_PRESET)
    chosen = read_settings(first["config"]) if first.get("config") else {}
    start = str(first["from_"]) if first.get("from_") else None
    own, training = resolve(Plan(method, preset, chosen, start=None if stored else start))
    settings = find_method(method).Config.model_fields.items()
    fields = {name: field for name, field in settings if name not in MethodConfig.model_fields}
    shown = dict(training)
    if find_preset(method, preset).is_planned and start is None:
        shown |= dict.fromkeys(PLANNED - chosen.keys(), "fits data and machine")
    of_training = Group("settings of its training", TrainingConfig.model_fields, shown)
    given = read(TrainOptions, [Group(f"settings of {method}", fields, own), of_training], arguments, "train")
    options = TrainOptions(**{name: given.pop(name) for name in general if name in given})
    if stored and options.overwrite:
        raise InputError("--resume and --overwrite exclude each other: continue the run, or replace it")
    if stored and options.plan:
        raise InputError("--resume and --plan exclude each other: a run that is continued keeps its plan")
    # What is not given stays as it was in a run that is resumed.
    kept = stored.model_dump(include={"seed", "group"} - options.model_fields_set) if stored else {}
    if start is not None and not stored:
        kept = {"group": _group_of(options, start)}
    options = options.model_copy(update=kept)
    plan = Plan(method, preset, merged(chosen, given), options.seed, options.group, start=start)
    return _train(options, plan, stored)


def _group_of(options: TrainOptions, start: str) -> str | None:
    """How the data of a run that is gone on from were split, which stays."""
    group = read_record(Path(start)).group
    if options.group not in (None, group):
        raise InputError(f"--group {options.group}: {start} was split by {group!r}: leave it out")
    return group


def _stored(out: Path, hardware: Hardware) -> RunRecord:
    """The record of a run that is to be continued."""
    from plurimask.training.devices import is_first_process

    if is_first_process(hardware):
        mend_run(out)
    return read_record(out)


def _train(options: TrainOptions, plan: Plan, stored: RunRecord | None) -> int:
    from plurimask.training.devices import is_first_process

    hardware = Hardware(options.accelerator, options.devices, options.nodes)
    say, speaks, place = console(), is_first_process(hardware), place_of(options)
    if stored:
        source = remembered(open_run_data(stored, place, options.flips), stored.training.cache_gb)
        rise = rises_again(options.out, stored, plan)
        if rise and speaks:
            say.print(f"note: {rise}", markup=False)
    else:
        if speaks and not options.plan:
            refuse_occupied(options.out, options.overwrite)
            mend_run(options.out)  # another process that writes there is told before the data are read
        if plan.start is None:
            source = open_data(place, group=plan.group, seed=plan.seed, flips=options.flips)
        else:  # its split, classes and flips
            source = open_run_data(read_record(Path(plan.start)), place, options.flips)
        source = remembered(source, plan.settings.get("cache_gb"))
        if speaks:
            for note in source.notes:
                say.print(f"note: {note}", markup=False)
        plan = _prepared(plan, source, hardware)
        if speaks:
            _say_plan(plan)
        if options.plan:
            return 0
    resume, overwrite = options.resume, options.overwrite
    outcome = train_run(plan, source, options.out, resume=resume, overwrite=overwrite, hardware=hardware)
    if not speaks:
        return 0  # by the code of the first process the launcher knows how it ended
    _say(outcome, options, place.path, source)
    return exit_code() if outcome["stopped"] else 0


def _prepared(plan: Plan, source: DataSource, hardware: Hardware) -> Plan:
    with console().status("") as status:
        return prepare(plan, source, hardware, lambda phase: status.update(f"{phase} ..."))


def _say_plan(plan: Plan) -> None:
    """The plan, and whether it is enough."""
    say = console()
    if plan.made is None:
        _, training = resolve(plan)
        steps, needed = training.max_steps, NEEDED_STEPS
        if plan.start is not None:
            say.print(f"note: crops, batches and validations are those of {plan.start}", markup=False)
            return
        if find_preset(plan.method, plan.preset).is_planned:
            words = "note: on several devices nothing is timed or planned: what is not given is as the preset has it"
            say.print(words, markup=False)
    else:
        for line in plan.made.lines(datetime.now()):
            say.print(line, markup=False)
        steps, needed = plan.made.steps, plan.made.needed_steps
    if steps is not None and steps < needed:
        say.print(
            f"warning: {steps:,} steps are fewer than the {needed:,} that a method needs to be of use: the run will be "
            "marked undertrained. Give it more time or steps, or smaller images (--crop, --resize)",
            markup=False,
        )


def _say(outcome: dict[str, Any], options: TrainOptions, data: Path, source: DataSource) -> None:
    say, out = console(), options.out
    done = f"{outcome['steps']} steps in {outcome['minutes']} minutes"
    if outcome["stopped"]:
        how = " in place of --overwrite" * options.overwrite
        why = f" by {last_signal()}" if last_signal() else ""
        again = f"Continue by the same command with --resume{how}."
        say.print(f"Stopped{why} after {done}; saved in {out}. {again}", markup=False)
        return
    ged = "" if outcome["best_ged"] is None else f", validation GED {outcome['best_ged']:.3f}"
    say.print(f"Trained {done}{ged}: {out}", markup=False)
    say.print(next_commands(out, data, list(source.splits)), markup=False)


def next_commands(run: Path, data: Path, splits: Sequence[str]) -> str:
    """What to do with a run, to be copied into a shell: names are quoted, and no file that is there is in the way."""
    split = next(name for name in ("val", "test", *splits) if name in splits)
    report = next(path for number in count(1) if not (path := _report_name(number)).exists())
    words = [shell_word(run), shell_word(data), *([] if split == "val" else ["--split", shlex.quote(split)])]
    told = " ".join(words)
    return f"Next: plurimask evaluate {told}   or   plurimask report {told} --out {report}"


def _report_name(number: int) -> Path:
    return Path("report.html" if number == 1 else f"report-{number}.html")
