"""`plurimask train DATA --method NAME --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from plurimask.commands.parsing import Data, Flips, Group, Options, PatientGroup, console, parse, peek, read
from plurimask.commands.settings import read_settings
from plurimask.data import DataSource, open_data
from plurimask.errors import InputError
from plurimask.files import refuse_existing
from plurimask.method import MethodConfig
from plurimask.methods import find_method
from plurimask.methods.presets import DEFAULT_PRESET
from plurimask.runs.load import open_run_data
from plurimask.runs.plan import Plan, merged, resolve
from plurimask.runs.record import RunRecord, read_record
from plurimask.runs.train import train_run
from plurimask.training.config import Hardware, TrainingConfig

MANY_PIXELS = 2**21
"""Pixels in a step above which a hint is given."""


class TrainOptions(Options):
    """Train a method on DATA into the run folder RUN. The settings of --method follow the general ones."""

    data: Data
    method: str = Field(
        description="what to train; `plurimask methods` lists them, package.module:Class is one of another package"
    )
    out: Path = Field(description="the run folder to write")
    preset: str = Field(DEFAULT_PRESET, description="named settings to start from")
    config: Path | None = Field(None, description="YAML file of settings (of the method and its training)")
    seed: int = Field(0, ge=0, description="of initial weights, order, crops and draws")
    group: PatientGroup = None
    flips: Flips = None
    resume: bool = Field(False, description="continue the run in --out from its last checkpoint")
    overwrite: bool = Field(False, description="replace the run in --out")
    accelerator: str = Field("auto", description="cpu, gpu, ... as Lightning names them")
    devices: int = Field(1, ge=1, description="devices on each machine")
    nodes: int = Field(1, ge=1, description="machines")


def main(arguments: Sequence[str]) -> int:
    general = TrainOptions.model_fields
    first = peek(general, arguments, "train")  # what decides which settings there are, and what they are by default
    if "method" not in first:  # ends with the help, or with what is missing
        parse(TrainOptions, arguments, "train")
    method = first["method"]
    stored = read_record(first["out"]) if first.get("resume") and "out" in first else None
    preset = first.get("preset") or (stored.preset if stored else DEFAULT_PRESET)
    chosen = read_settings(first["config"]) if first.get("config") else {}
    own, training = resolve(Plan(method, preset, chosen))
    settings = find_method(method).Config.model_fields.items()
    fields = {name: field for name, field in settings if name not in MethodConfig.model_fields}
    of_training = Group("settings of its training", TrainingConfig.model_fields, dict(training))
    given = read(TrainOptions, [Group(f"settings of {method}", fields, own), of_training], arguments, "train")
    options = TrainOptions(**{name: given.pop(name) for name in general if name in given})
    if stored and options.overwrite:
        raise InputError("--resume and --overwrite exclude each other: continue the run, or replace it")
    # What is not given stays as it was in a run that is resumed.
    kept = stored.model_dump(include={"seed", "group"} - options.model_fields_set) if stored else {}
    options = options.model_copy(update=kept)
    return _train(options, Plan(method, preset, merged(chosen, given), options.seed, options.group), stored)


def _train(options: TrainOptions, plan: Plan, stored: RunRecord | None) -> int:
    from plurimask.training.devices import is_first_process

    if stored:
        source = open_run_data(stored, options.data, options.flips)
    else:
        if is_first_process():
            refuse_existing(options.out, "something", options.overwrite)
        source = open_data(options.data, group=plan.group, seed=plan.seed, flips=options.flips)
        if is_first_process():
            _warn_of_large_steps(source, plan)
            for note in source.notes:
                console().print(f"note: {note}", markup=False)
    hardware = Hardware(options.accelerator, options.devices, options.nodes)
    resume, overwrite = options.resume, options.overwrite
    outcome = train_run(plan, source, options.out, resume=resume, overwrite=overwrite, hardware=hardware)
    if is_first_process():
        _say(outcome, options)
    return 130 if outcome["stopped"] else 0


def _warn_of_large_steps(source: DataSource, plan: Plan) -> None:
    """Say so before a training whose every step would take many seconds on a laptop."""
    _, training = resolve(plan)
    if training.crop or training.center_crop or "train" not in source.splits:
        return
    height, width = source.splits["train"][0].image.shape[-2:]
    if training.batch_size * height * width > MANY_PIXELS:
        console().print(
            f"Images are {height}x{width}, {training.batch_size} of them in each step: steps will be slow on a "
            "processor. --crop 256 trains on random windows and evaluates whole images."
        )


def _say(outcome: dict[str, Any], options: TrainOptions) -> None:
    say = console()
    done = f"{outcome['steps']} steps in {outcome['minutes']} minutes"
    if outcome["stopped"]:
        say.print(f"Stopped after {done}; saved in {options.out}. Continue by the same command with --resume.")
        return
    ged = "" if outcome["best_ged"] is None else f", best validation GED {outcome['best_ged']:.3f}"
    run = f"{options.out} {options.data}"
    say.print(f"Trained {done}{ged}: {options.out}")
    say.print(f"Next: plurimask evaluate {run}   or   plurimask report {run} --out report.html")
