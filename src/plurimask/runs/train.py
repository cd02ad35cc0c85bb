"""Training into a run folder."""

from __future__ import annotations

import platform
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from plurimask.data import DataSource, channel_statistics
from plurimask.data.digest import content_digest
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.remembered import remembered
from plurimask.data.slices import in_slices
from plurimask.errors import InputError, first_mistake
from plurimask.method import SegmentationMethod
from plurimask.methods import build_method, find_method, package_of, require_dimensions
from plurimask.runs.folder import RunWriter
from plurimask.runs.plan import BUDGET, Plan, for_data, merged, resolve, used
from plurimask.runs.record import RunRecord, Start, identity_of, read_record
from plurimask.runs.start import give_start, lasting_name, start_of
from plurimask.runs.volumes import VolumeGeometry, fitted, require_fitting, with_tilt
from plurimask.training.config import ONE_DEVICE, Hardware, TrainingConfig
from plurimask.training.plan import NEEDED_STEPS
from plurimask.version import __version__


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
            the plan names, only the budget may differ, and the data must be those that it was started with.
        overwrite: replace a run that is in `out`, once the first checkpoint of the new one stands.
        hardware: devices and machines; the first device by default.

    Returns:
        `steps`, `minutes`, `best_ged` and `stopped`; see `plurimask.training.fit.fit`.

    Raises:
        InputError: unknown or impossible settings, data without a training split, a run in `out` already, or another
            process that trains there.
    """
    from plurimask.training.batches import TrainingData
    from plurimask.training.checkpoint import TrainingJob
    from plurimask.training.devices import is_first_process
    from plurimask.training.fit import check_config, fit
    from plurimask.training.timing import TimedMachine

    folder = Path(out)
    if "train" not in source.splits:
        raise InputError(f"the data have no split 'train', only {', '.join(source.splits)}: add one to train on")
    source = remembered(source, plan.settings.get("cache_gb"))
    # A machine without such devices is refused here, before anything is written.
    with RunWriter(folder, resume, overwrite) if is_first_process(hardware) else nullcontext() as writer:
        record = _continued(folder, plan, source) if resume else _new_record(plan, source)
        torch.manual_seed(record.seed)
        method = build_method(record.method, **record.config)
        check_config(method, record.training)
        if not (resume and TrainingJob(folder).last.exists()):
            give_start(method, record.start)
        counted, seen = record.data.counted_classes, in_slices(source, record.preprocessing.slices).splits
        data = TrainingData(seen["train"], seen.get("val"), record.preprocessing, counted).resampled()
        if not resume and hardware.devices * hardware.nodes == 1:  # a run that is resumed keeps what it was begun with
            layout = TimedMachine(method.parts()[0], data, hardware).layout(record.training)
            training = record.training.model_copy(update={"memory_layout": layout})
            record = record.model_copy(update={"training": training})
        if writer is not None:
            writer.begin(record.model_dump_json(indent=2).encode())
        spent = record.plan.preparation_seconds if record.plan else 0.0
        job = TrainingJob(folder, record.seed, resume, spent=spent, identity=record.identity, writer=writer)
        outcome = fit(method, data, record.training, job, hardware)
        if writer is not None:
            made = {"steps": outcome["steps"], "undertrained": _is_short(record, method, outcome["steps"])}
            writer.finish(record.model_copy(update=made).model_dump_json(indent=2).encode())
    return outcome


def _is_short(record: RunRecord, method: SegmentationMethod, steps: int) -> bool:
    """Whether steps, with those of the run that it goes on from, are fewer than a method needs."""
    before = record.start.steps or 0 if record.start else 0
    return before + steps < NEEDED_STEPS * len(method.parts())


def _continued(folder: Path, plan: Plan, source: DataSource) -> RunRecord:
    """The record of a run that is resumed, with the plan's budget if it has one."""
    record = read_record(folder)
    config = find_method(record.method).Config
    try:
        # Settings that are newer than the record have their defaults.
        before = {**record.training.model_dump(), **config(**record.config).model_dump(mode="json")}
        wanted = merged(before, plan.settings)
        own = config(**{name: value for name, value in wanted.items() if name in config.model_fields})
        training = TrainingConfig(**{name: value for name, value in wanted.items() if name not in config.model_fields})
    except ValidationError as error:
        raise InputError(first_mistake(error)) from error
    differing = [name for name in ("method", "preset", "seed", "group") if getattr(plan, name) != getattr(record, name)]
    if plan.start is not None and (record.start is None or lasting_name(plan.start) != record.start.folder):
        differing.append("from")
    after = {**training.model_dump(), **own.model_dump(mode="json")}
    before, after = used(record.method, before), used(record.method, after)
    differing += [name for name, value in after.items() if value != before.get(name) and name not in BUDGET]
    if differing:
        raise InputError(
            f"a resumed run keeps the settings it was started with, but {', '.join(differing)} would change: leave "
            "that out, or start a new run with another --out"
        )
    if record.content is not None and (found := _content(source)) != record.content:
        changed = sorted(name for name in {*found, *record.content} if found.get(name) != record.content.get(name))
        raise InputError(
            f"{folder} was trained on other data: images, masks or names differ in {', '.join(changed)}: give those "
            "that it was started with, or start a new run with another --out"
        )
    return record.model_copy(update={"training": training})


def _content(source: DataSource) -> dict[str, str]:
    """The digests of what a training sees of its data."""
    return {name: content_digest(source.splits[name]) for name in ("train", "val") if name in source.splits}


def _new_record(plan: Plan, source: DataSource) -> RunRecord:
    plan = for_data(plan, source)
    own, training = resolve(plan)
    require_dimensions(plan.method, plan.spatial_dims)
    require_fitting(training, plan.spatial_dims)
    about, examples = source.description, source.splits["train"]
    split = {name: list(part.names) for name, part in source.splits.items()} if source.drawn else None
    start: Start | None = None
    if plan.start is None:
        mean, std = channel_statistics(examples, training.image_scaling)
        seen = training.model_dump(include={"center_crop", "resize", "image_scaling", "slices"})
        if plan.spatial_dims == 3:
            geometry = VolumeGeometry.of(examples)
            seen["spacing"] = geometry.target(training)
            own, training = fitted(plan.method, own, training, geometry), with_tilt(training, geometry)
        preprocessing = Preprocessing(mean=tuple(mean), std=tuple(std), **seen)
    else:
        of_start, start = start_of(plan.start, about, split)
        preprocessing = of_start.preprocessing
    if "has_background" in find_method(plan.method).Config.model_fields:
        own = {"has_background": about.has_background, **own}
    settings = {**own, "image_channels": len(about.channel_names), "num_classes": about.num_classes}
    settings["spatial_dims"] = plan.spatial_dims
    packages = {"python": platform.python_version(), "plurimask": __version__}
    packages |= {name: version(name) for name in ("torch", "lightning")}
    for method in (plan.method, *own.get("members", ()), *filter(None, [own.get("base")])):
        packages |= package_of(method)
    record = RunRecord(
        method=plan.method,
        preset=plan.preset,
        config=find_method(plan.method).Config(**settings).model_dump(mode="json"),
        training=training,
        data=about,
        preprocessing=preprocessing,
        split=split,
        group=plan.group,
        seed=plan.seed,
        packages=packages,
        plan=plan.made,
        content=_content(source),
        start=start,
    )
    return record.model_copy(update={"identity": identity_of(record)})
