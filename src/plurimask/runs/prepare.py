"""What a plan decides of a training, before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from plurimask.data import DataSource
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.slices import in_slices
from plurimask.errors import InputError
from plurimask.methods import build_method, find_method, require_dimensions
from plurimask.methods.presets import find_preset
from plurimask.methods.swag import SGD_RATE
from plurimask.runs.folder import METRICS_FILE
from plurimask.runs.plan import BUDGET, Plan, for_data, refuse_unused, resolve
from plurimask.runs.record import RunRecord
from plurimask.runs.volumes import VolumeGeometry, fitted, require_fitting
from plurimask.training.batches import TrainingData
from plurimask.training.candidates import Machine, Task
from plurimask.training.config import ONE_DEVICE, Hardware
from plurimask.training.log import read_metrics
from plurimask.training.look import look_at
from plurimask.training.plan import make_plan


def prepare(
    plan: Plan,
    source: DataSource,
    hardware: Hardware = ONE_DEVICE,
    tell: Callable[[str], None] = lambda phase: None,
    machine: Machine | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Plan:
    """The plan with the settings of training that fit the data and the machine, where its preset leaves them open.

    Args:
        plan: what to train. What it sets stays as it is; what goes on from a run is trained as that was.
        source: data with a split "train".
        hardware: where it will be trained. On several devices nothing is timed, and so nothing planned.
        tell: is told what is done, "reading" and "timing".
        machine: how fast things are; by default this machine, timed.
        clock: seconds; what passes here counts for the budget of minutes.

    Raises:
        InputError: there is no split "train", a file is damaged, a setting impossible or of no use, or the memory not
            enough.
    """
    start = clock()
    plan = _checked(plan, source)
    own, given = resolve(plan)
    is_planned = find_preset(plan.method, plan.preset).is_planned and plan.start is None
    if not is_planned or hardware.devices * hardware.nodes != 1:
        return plan
    tell("reading")
    source = in_slices(source, given.slices)
    about = source.description
    geometry = VolumeGeometry.of(source.splits["train"]) if plan.spatial_dims == 3 else None
    data = _data(source, geometry.target(given) if geometry else None)
    look = look_at(data.train, about)
    if find_method(plan.method).uses_all_raters and "raters_per_step" not in plan.settings:
        drawn = max(given.raters_per_step, look.num_raters)
        plan = replace(plan, settings={**plan.settings, "raters_per_step": drawn})
        own, given = resolve(plan)
    asked, fixed = find_method(plan.method).for_single_raters if look.num_raters == 1 else {}, plan.settings.keys()
    of_method = {name: value for name, value in asked.items() if name not in fixed}
    tell("timing")
    sizes = {"image_channels": len(about.channel_names), "num_classes": about.num_classes}
    own = fitted(plan.method, own, given, geometry) if geometry else own
    parts = build_method(plan.method, **{**own, **of_method, **sizes, "spatial_dims": plan.spatial_dims}).parts()
    timed = None
    if machine is None:
        from plurimask.training.timing import TimedMachine

        machine = timed = TimedMachine(parts[0], data, hardware)
    num_val = 0 if data.val is None else len(data.val)
    task = Task(look, given, fixed, num_val, len(parts), machine, of_method, lambda: clock() - start)
    config, made = make_plan(task)
    planned = {name: getattr(config, name) for name in made.planned.keys() - of_method.keys()} | of_method
    if timed is not None:
        planned["memory_layout"] = timed.layout(config)
    return replace(plan, settings={**plan.settings, **planned}, made=made)


def _checked(plan: Plan, source: DataSource) -> Plan:
    """The plan for the dimensions of the data, if it can be trained on them."""
    if "train" not in source.splits:
        raise InputError(f"the data have no split 'train', only {', '.join(source.splits)}: add one to train on")
    refuse_unused(plan)
    plan = for_data(plan, source)
    require_dimensions(plan.method, plan.spatial_dims)
    require_fitting(resolve(plan)[1], plan.spatial_dims)
    return plan


def _data(source: DataSource, spacing: tuple[float, float, float] | None) -> TrainingData:
    """The data as they are seen before anything is decided, but for the spacing of volumes."""
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,), spacing=spacing)
    train, val = source.splits["train"], source.splits.get("val")
    return TrainingData(train, val, preprocessing, source.description.counted_classes).resampled()


def rises_again(folder: Path, record: RunRecord, plan: Plan) -> str | None:
    """What a larger budget does to the learning rate of a run that is continued, in words; None if nothing.

    The rate falls with the share of the budget that is used, so that it rises again where the budget has grown.
    """
    history = [row for row in read_metrics(folder / METRICS_FILE) if "learning_rate" in row]
    budget = {name: plan.settings[name] for name in BUDGET if name in plan.settings}
    if not history or not budget or any("member" in row or SGD_RATE in row for row in history):
        return None
    training, last = record.training.model_copy(update=budget), history[-1]
    shares = [last["step"] / training.max_steps if training.max_steps else 0.0]
    shares += [last.get("minutes", 0.0) / training.max_minutes if training.max_minutes else 0.0]
    if max(shares) >= 1:
        return None
    rate = training.learning_rate * training.learning_rate_factor(max(shares), int(last["step"]))
    if rate <= 1.05 * last["learning_rate"]:
        return None
    return (
        f"the learning rate, which was down to {last['learning_rate']:.1e}, rises again to {rate:.1e}: "
        f"{max(shares):.0%} of the new budget are used; scores may be worse for a while"
    )
