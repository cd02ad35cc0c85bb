"""`plurimask train DATA --method NAME --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import BaseModel, ConfigDict, Field, create_model

from plurimask.commands.parsing import console, is_given, parse, value_of
from plurimask.commands.settings import given_settings, is_parsed, read_settings
from plurimask.data import DataSource, open_data
from plurimask.data.flipping import refuse_other_law
from plurimask.errors import InputError
from plurimask.files import refuse_existing
from plurimask.method import MethodConfig
from plurimask.methods import find_method
from plurimask.methods.presets import DEFAULT_PRESET
from plurimask.runs.load import open_run_data
from plurimask.runs.plan import Plan, resolve
from plurimask.runs.record import RunRecord, read_record
from plurimask.runs.train import train_run
from plurimask.training.config import Hardware, TrainingConfig

DESCRIPTION = "Train a method on DATA into the run folder RUN. The settings of --method follow the general ones."


MANY_PIXELS = 2**21
"""Pixels in a step above which a hint is given."""


class TrainOptions(BaseModel):
    """The options that do not depend on the method."""

    model_config = ConfigDict(extra="forbid")

    data: Annotated[Path, tyro.conf.Positional] = Field(description="folder of images and masks, or .npz")
    method: str = Field(description="what to train; `plurimask methods` lists them")
    out: Path = Field(description="the run folder to write")
    preset: str = Field(DEFAULT_PRESET, description="named settings to start from")
    config: Path | None = Field(None, description="YAML file of settings (of the method and its training)")
    seed: int = Field(0, ge=0, description="of initial weights, order, crops and draws")
    group: str | None = Field(None, description="regular expression for the patient in a name, for drawing the split")
    flips: tuple[str, ...] | None = Field(
        None, description="classes that turn into a twin at random: CLASS=PROBABILITY ..., street or none"
    )
    resume: bool = Field(False, description="continue the run in --out from its last checkpoint")
    overwrite: bool = Field(False, description="replace the run in --out")
    accelerator: str = Field("auto", description="cpu, gpu, ... as Lightning names them")
    devices: int = Field(1, ge=1, description="devices on each machine")
    nodes: int = Field(1, ge=1, description="machines")


def main(arguments: Sequence[str]) -> int:
    method = value_of(arguments, "method")
    if method is None:
        parse(TrainOptions, arguments, "train", DESCRIPTION)
        raise AssertionError("unreachable: --method is required")
    file, out = value_of(arguments, "config"), value_of(arguments, "out")
    chosen = read_settings(Path(file)) if file else {}
    stored = read_record(Path(out)) if out and "--resume" in arguments else None
    preset = value_of(arguments, "preset") or (stored.preset if stored else DEFAULT_PRESET)
    own, training = resolve(Plan(method, preset, chosen))
    options = parse(_with_settings(method, own, training), arguments, "train", DESCRIPTION)
    content: dict[str, Any] = {name: getattr(options, name) for name in type(options).model_fields}
    general = {name: content.pop(name) for name in TrainOptions.model_fields}
    if stored:  # what is not given stays as it was
        for name in ("seed", "group"):
            general[name] = general[name] if is_given(arguments, name) else getattr(stored, name)
    plan = Plan(method, preset, {**chosen, **given_settings(content, arguments)}, general["seed"], general["group"])
    return _train(general, plan, stored)


def _train(general: dict[str, Any], plan: Plan, stored: RunRecord | None) -> int:
    from plurimask.training.devices import is_first_process

    if stored and general["overwrite"]:
        raise InputError("--resume and --overwrite exclude each other: continue the run, or replace it")
    if stored:
        source = open_run_data(stored, general["data"])
        if general["flips"] is not None:
            refuse_other_law(general["flips"], source.description)
    else:
        if is_first_process():
            refuse_existing(general["out"], "something", general["overwrite"])
        source = open_data(general["data"], group=plan.group, seed=plan.seed, flips=general["flips"])
        if is_first_process():
            _warn_of_large_steps(source, plan)
    hardware = Hardware(general["accelerator"], general["devices"], general["nodes"])
    outcome = train_run(
        plan,
        source,
        general["out"],
        resume=stored is not None,
        overwrite=general["overwrite"],
        hardware=hardware,
    )
    if is_first_process():
        _say(outcome, general)
    return 130 if outcome["stopped"] else 0


def _warn_of_large_steps(source: DataSource, plan: Plan) -> None:
    """Say so before a training whose every step would take many seconds on a laptop."""
    _, training = resolve(plan)
    if training.crop or training.center_crop or "train" not in source.splits:
        return
    height, width = source.splits["train"][0].image.shape[-2:]
    if training.batch_size * height * width > MANY_PIXELS:
        console().print(
            f"Images are {height}x{width}, {training.batch_size} of them in each step: steps will be slow "
            "on a processor. "
            "--crop 256 trains on random windows and evaluates whole images."
        )


def _say(outcome: dict[str, Any], general: dict[str, Any]) -> None:
    say = console()
    where, data = general["out"], general["data"]
    done = f"{outcome['steps']} steps in {outcome['minutes']} minutes"
    if outcome["stopped"]:
        say.print(f"Stopped after {done}; saved in {where}. Continue by the same command with --resume.")
        return
    ged = "" if outcome["best_ged"] is None else f", best validation GED {outcome['best_ged']:.3f}"
    say.print(f"Trained {done}{ged}: {where}")
    say.print(f"Next: plurimask evaluate {where} {data}   or   plurimask report {where} {data} --out report.html")


def _with_settings(method: str, own: dict[str, Any], training: TrainingConfig) -> type[BaseModel]:
    """The general options, and those of the method and its training, with the resolved values as defaults."""
    definitions: dict[str, Any] = {}
    for name, field in TrainingConfig.model_fields.items():
        definitions[name] = (field.annotation, Field(getattr(training, name), description=field.description))
    for name, field in find_method(method).Config.model_fields.items():
        if name not in MethodConfig.model_fields and is_parsed(field):
            default = own.get(name, field.default)
            definitions[name] = (field.annotation, Field(default, description=field.description))
    return create_model("Options", __base__=TrainOptions, **definitions)
