"""A run: a folder with a trained method, everything needed to use it, and everything needed to train it again."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from plurimask.data import DataDescription, DataSource, ExampleSet, channel_statistics, open_images
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError, unknown_name
from plurimask.files import clear, refuse_existing, replace_file
from plurimask.inference import channels_last, default_device
from plurimask.method import MethodConfig, SegmentationMethod
from plurimask.methods import METHODS, build_method, find_method
from plurimask.presets import DEFAULT_PRESET, find_preset
from plurimask.settings import ONE_DEVICE, Hardware, TrainingConfig
from plurimask.version import __version__

FORMAT = 1
RECORD_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
BUDGET = ("max_steps", "max_minutes")


class RunRecord(BaseModel):
    """The content of `run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    method: str
    preset: str
    config: dict[str, Any]
    training: TrainingConfig
    data: DataDescription
    preprocessing: Preprocessing
    split: dict[str, list[str]] | None
    """Names by split where it was drawn; None where the data came with splits."""
    group: str | None
    seed: int
    packages: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A run folder that was read: what it is, and the method with its weights, in evaluation mode."""

    folder: Path
    record: RunRecord
    method: SegmentationMethod

    def read(self, path: Path | str) -> Tensor:
        """The image at `path`, ready for the method: `(1, K, H, W)`, cropped and normalised as in training.

        Raises:
            InputError: there is not exactly one image, or it has other channels than those trained on.
        """
        images = open_images(path, self.record.data.channel_names)
        if len(images) != 1:
            raise InputError(f"{path}: {len(images)} images, expected one: give one file, or loop over them")
        return self.record.preprocessing.image(images[0])[None].to(next(self.method.parameters()).device)


@dataclass(frozen=True)
class Plan:
    """What to train: a method by name, a preset, settings that differ from it (of method or training), and a seed."""

    method: str
    preset: str = DEFAULT_PRESET
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    group: str | None = None


def resolve(plan: Plan) -> tuple[dict[str, Any], TrainingConfig]:
    """The method's settings and the training's: preset, then the plan's own on top.

    A budget (`max_steps`, `max_minutes`) in the plan takes the place of the preset's whole budget.

    Raises:
        InputError: a setting is unknown (the nearest names are given) or its value is not allowed.
    """
    config, preset = find_method(plan.method).Config, find_preset(plan.method, plan.preset)
    own, training = dict(preset.method), dict(preset.training)
    if any(plan.settings.get(name) is not None for name in BUDGET):
        training |= dict.fromkeys(BUDGET)
    from_data = set(MethodConfig.model_fields)
    known = (set(config.model_fields) | set(TrainingConfig.model_fields)) - from_data
    for name, value in plan.settings.items():
        if name not in known:
            raise unknown_name(f"setting of {plan.method} or its training", name, known)
        target = own if name in config.model_fields else training
        target[name] = _merged(target.get(name), value)
    try:
        checked = config(**own)
        return {name: getattr(checked, name) for name in own}, TrainingConfig(**training)
    except ValidationError as error:
        raise InputError(_first_mistake(error)) from error


def settings_for(method: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings that several methods share, those that one of them knows; an ensemble's members get theirs."""
    known = _settings_of(method) | set(TrainingConfig.model_fields)
    chosen = {name: value for name, value in common.items() if name in known}
    if "member_settings" in known:
        members = {name: {key: common[key] for key in common if key in _settings_of(name)} for name in METHODS}
        members = {name: settings for name, settings in members.items() if settings}
        if members:
            chosen["member_settings"] = _merged(members, chosen.get("member_settings", {}))
    return chosen


def _settings_of(method: str) -> set[str]:
    return set(find_method(method).Config.model_fields) - set(MethodConfig.model_fields)


def _merged(old: Any, new: Any) -> Any:
    """A nested table with the new values in place of the old ones; anything else is replaced whole."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def train_run(
    plan: Plan,
    source: DataSource,
    out: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    hardware: Hardware = ONE_DEVICE,
) -> dict[str, Any]:
    """Train a method on the split "train" of `source`, into the run folder `out`.

    Args:
        plan: what to train.
        source: data with a split "train"; its "val", if there, is what checkpoints are compared on.
        out: the run folder.
        resume: continue the run in `out` from its last checkpoint, with the settings it was started with. Of those that
            the plan names, only the budget may differ.
        overwrite: replace a run that is in `out`.
        hardware: devices and machines; the first device by default.

    Returns:
        `steps`, `minutes`, `best_ged` and `stopped`; see `plurimask.train.fit`.

    Raises:
        InputError: unknown or impossible settings, data without a training split, or a run in `out` already.
    """
    from plurimask.train import check_hardware, fit
    from plurimask.training.batches import TrainingData
    from plurimask.training.keeper import TrainingJob
    from plurimask.training.processes import is_first_process

    folder = Path(out)
    if "train" not in source.splits:
        raise InputError(f"the data have no split 'train', only {', '.join(source.splits)}: add one to train on")
    record = _continued(read_record(folder), plan) if resume else _new_record(plan, source)
    check_hardware(hardware)
    torch.manual_seed(record.seed)
    method = build_method(record.method, **record.config)
    if is_first_process():
        if not resume:
            refuse_existing(folder, "something", overwrite)
            clear(folder, (RECORD_FILE, WEIGHTS_FILE, "metrics.csv", "checkpoints", "members"))
        replace_file(folder / RECORD_FILE, record.model_dump_json(indent=2).encode())
    counted = record.data.counted_classes
    data = TrainingData(source.splits["train"], source.splits.get("val"), record.preprocessing, counted)
    return fit(method, data, record.training, TrainingJob(folder, record.seed, resume), hardware)


def _continued(record: RunRecord, plan: Plan) -> RunRecord:
    """The record of a run that is resumed, with the plan's budget if it has one."""
    config = find_method(record.method).Config
    was = record.training.model_dump()
    before = {**was, **record.config}
    chosen = {name: _merged(before.get(name), value) for name, value in plan.settings.items()}
    own = {name: value for name, value in chosen.items() if name in config.model_fields}
    training = {name: value for name, value in chosen.items() if name not in config.model_fields}
    general = ("method", "preset", "seed", "group")
    stored = {**{name: getattr(record, name) for name in general}, **record.config, **was}
    try:
        new_training = TrainingConfig(**{**was, **training})
        new_config = config(**{**record.config, **own}).model_dump(mode="json")
    except ValidationError as error:
        raise InputError(_first_mistake(error)) from error
    wanted = {**{name: getattr(plan, name) for name in general}, **new_config, **new_training.model_dump()}
    differing = [name for name, value in wanted.items() if value != stored.get(name) and name not in BUDGET]
    if differing:
        raise InputError(
            f"a resumed run keeps the settings it was started with, but {', '.join(differing)} would change: leave "
            "that out, or start a new run with another --out"
        )
    return record.model_copy(update={"training": new_training})


def _new_record(plan: Plan, source: DataSource) -> RunRecord:
    own, training = resolve(plan)
    about, examples = source.description, source.splits["train"]
    mean, std = channel_statistics(examples, training.image_scaling)
    settings = {**own, "image_channels": len(about.channel_names), "num_classes": about.num_classes}
    config = find_method(plan.method).Config(**settings)
    split = {name: list(part.names) for name, part in source.splits.items()} if source.drawn else None
    return RunRecord(
        method=plan.method,
        preset=plan.preset,
        config=config.model_dump(mode="json"),
        training=training,
        data=about,
        preprocessing=Preprocessing(
            mean=tuple(mean),
            std=tuple(std),
            center_crop=training.center_crop,
            resize=training.resize,
            image_scaling=training.image_scaling,
        ),
        split=split,
        group=plan.group,
        seed=plan.seed,
        packages={"python": platform.python_version(), "plurimask": __version__, **_versions("torch", "lightning")},
    )


def _versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


def read_record(folder: Path) -> RunRecord:
    """`run.json` of a run folder.

    Raises:
        InputError: there is no run, or another version of plurimask wrote it.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        raise InputError(
            f"{folder}: no run there ({RECORD_FILE} is missing): give a folder that `plurimask train` wrote"
        )
    try:
        content = json.loads(path.read_text())
        found = content["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not readable as a run's record: restore the file, or train again") from error
    if found != FORMAT:
        writer = content.get("packages", {}).get("plurimask", "an unknown version")
        raise InputError(
            f"{path}: format {found}, written by plurimask {writer}; plurimask {__version__} reads format {FORMAT}: "
            "install that version, or train again"
        )
    try:
        return RunRecord(**content)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_mistake(error)}: restore the file, or train again") from error


def load_run(folder: Path | str) -> Run:
    """Read a run folder: its record, and its method with trained weights, in evaluation mode on the default device.

    Raises:
        InputError: there is no run, it has no weights yet, or another version of plurimask wrote it.
    """
    folder = Path(folder)
    record = read_record(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise InputError(f"{folder}: the run has no weights yet: train on with `plurimask train ... --resume`")
    method = build_method(record.method, **record.config)
    try:
        method.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path}: damaged, or not the weights of this run: restore the file, or train again"
        ) from error
    method.eval().requires_grad_(False)
    return Run(folder, record, channels_last(method).to(default_device()))


def load(folder: Path | str) -> SegmentationMethod:
    """The method of a run folder, with trained weights: `load_run(folder).method`."""
    return load_run(folder).method


def open_run_data(run: RunRecord, path: Path | str) -> DataSource:
    """A data set read in the sense of a run: its classes and mask values, and its split where that was drawn."""
    from plurimask.data import open_data

    return open_data(path, group=run.group, seed=run.seed, stored_split=run.split or {}, expected=run.data)


def find_split(source: DataSource, name: str) -> ExampleSet:
    """One split of a data set; an unknown name raises `InputError` with those that are there."""
    if name not in source.splits:
        raise unknown_name("split", name, source.splits)
    return source.splits[name]


def _first_mistake(error: ValidationError) -> str:
    mistakes: Sequence[Any] = error.errors()
    where = ".".join(str(part) for part in mistakes[0]["loc"])
    message = mistakes[0]["msg"].removeprefix("Value error, ")
    return f"setting {where} = {mistakes[0]['input']!r}: {message}" if where else message
