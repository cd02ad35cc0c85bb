"""What to train: a method, a preset, and settings on top of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from plurimask.data import DataSource
from plurimask.errors import InputError, first_mistake, unknown_name
from plurimask.method import MethodConfig
from plurimask.methods import METHODS, find_method, method_names
from plurimask.methods.presets import DEFAULT_PRESET, find_preset
from plurimask.runs.start import refuse_other_settings, settings_of_start
from plurimask.training.config import OF_OPTIMISER, TrainingConfig
from plurimask.training.plan import TrainingPlan

BUDGET = ("max_steps", "max_minutes")


@dataclass(frozen=True)
class Plan:
    """What to train: a method by name, a preset, settings that differ from it (of method or training), and a seed."""

    method: str
    preset: str = DEFAULT_PRESET
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    group: str | None = None
    made: TrainingPlan | None = None
    """Why some of the settings are as they are (`plurimask.runs.prepare`)."""
    spatial_dims: int = 2
    """Of the images that the method is given, 3 of volumes: a preset may have settings of its own for those."""
    start: str | None = None
    """The folder of the trained run that a method which is built on another (`swag`) goes on from."""


def resolve(plan: Plan) -> tuple[dict[str, Any], TrainingConfig]:
    """The method's settings and the training's: preset, those of a run to go on from, then the plan's own on top.

    A budget (`max_steps`, `max_minutes`) in the plan takes the place of the preset's whole budget.

    Raises:
        InputError: a setting is unknown (the nearest names are given) or its value is not allowed, or it is not that of
            the run to go on from.
    """
    config, preset = find_method(plan.method).Config, find_preset(plan.method, plan.preset)
    own, training = dict(preset.method), dict(preset.training)
    own |= preset.of_volumes if plan.spatial_dims == 3 else {}
    if any(plan.settings.get(name) is not None for name in BUDGET):
        training |= dict.fromkeys(BUDGET)
    start: dict[str, Any] = {}
    if plan.start is not None:
        of_method, of_training = settings_of_start(plan.method, plan.start)
        own, training, start = own | of_method, training | of_training, of_method | of_training
    known = _settings_of(plan.method) | set(TrainingConfig.model_fields)
    for name, value in plan.settings.items():
        if name not in known:
            raise unknown_name(f"setting of {plan.method} or its training", name, known)
        target = own if name in config.model_fields else training
        target[name] = merged(target.get(name), value)
    own = used(plan.method, own)
    if plan.start is not None:
        refuse_other_settings(plan.start, start, own | training)
    try:
        checked = config(**own)
        return {name: getattr(checked, name) for name in own}, TrainingConfig(**training)
    except ValidationError as error:
        raise InputError(first_mistake(error)) from error


def for_data(plan: Plan, source: DataSource) -> Plan:
    """The plan for images of as many dimensions as its method sees of the data: two of the slices of volumes."""
    _, training = resolve(plan)
    dimensions = 2 if training.slices is not None else source.description.spatial_dims
    return plan if plan.spatial_dims == dimensions else replace(plan, spatial_dims=dimensions)


def refuse_unused(plan: Plan) -> None:
    """InputError where the plan sets what its method makes no use of."""
    unused = sorted(OF_OPTIMISER & plan.settings.keys())
    if unused and not find_method(plan.method).has_optimiser:
        raise InputError(f"{plan.method} learns without an optimiser: leave out {', '.join(unused)}")


def settings_for(method: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings that several methods share, those that one of them uses; methods within it get theirs."""
    known = _settings_of(method) | set(TrainingConfig.model_fields)
    known -= set() if find_method(method).has_optimiser else OF_OPTIMISER
    chosen = {name: value for name, value in common.items() if name in known}
    for within in {"member_settings", "base_settings"} & known:
        names = dict.fromkeys([*METHODS, *chosen.get("members", ()), *filter(None, [chosen.get("base")])])
        theirs = {name: {key: common[key] for key in common if key in _settings_of(name)} for name in names}
        theirs = {name: settings for name, settings in theirs.items() if settings}
        if theirs:
            chosen[within] = merged(theirs, chosen.get(within, {}))
    return chosen


def used(method: str, settings: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings of a method without those of methods that it is not made of.

    Presets, and settings that methods share, give those of every method that could be a member or lie underneath.
    What is noted of a run names those alone that are, so that a method that is new to the package changes no older run.
    A name that is no method's stays, and is refused where the method is built.

    Args:
        method: its name.
        settings: of the method; others of the training may be among them.
        preset: its settings, which hold where `settings` leave the members or the base open.
    """
    fields, kept, known = find_method(method).Config.model_fields, dict(settings), method_names()
    for names, within in (("members", "member_settings"), ("base", "base_settings")):
        table = kept.get(within)
        if names not in fields or not isinstance(table, Mapping):
            continue
        chosen = {**(preset or {}), **kept}.get(names, fields[names].default)
        if not isinstance(chosen, str | Sequence):  # refused later
            continue
        inner = {chosen} if isinstance(chosen, str) else set(map(str, chosen))
        of_methods = {name: own for name, own in table.items() if name in inner or name not in known}
        # A numbered member may lie on another base than its method's other members: then all stays that these name.
        is_numbered = any(str(name).isdigit() for name in of_methods)
        kept[within] = {
            name: used(name, own) if name in METHODS and isinstance(own, Mapping) and not is_numbered else own
            for name, own in of_methods.items()
        }
    return kept


def used_by(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a plan, its own or what was noted of it, without those of methods that it is not made of."""
    return used(plan.method, settings, find_preset(plan.method, plan.preset).method)


def _settings_of(method: str) -> set[str]:
    return set(find_method(method).Config.model_fields) - set(MethodConfig.model_fields)


def merged(old: Any, new: Any) -> Any:
    """A nested table with the new values in place of the old ones; anything else is replaced whole."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
