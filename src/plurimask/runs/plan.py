"""What to train: a method, a preset, and settings on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from plurimask.errors import InputError, first_mistake, unknown_name
from plurimask.method import MethodConfig
from plurimask.methods import METHODS, find_method
from plurimask.methods.presets import DEFAULT_PRESET, find_preset
from plurimask.training.config import TrainingConfig
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
    known = _settings_of(plan.method) | set(TrainingConfig.model_fields)
    for name, value in plan.settings.items():
        if name not in known:
            raise unknown_name(f"setting of {plan.method} or its training", name, known)
        target = own if name in config.model_fields else training
        target[name] = merged(target.get(name), value)
    try:
        checked = config(**own)
        return {name: getattr(checked, name) for name in own}, TrainingConfig(**training)
    except ValidationError as error:
        raise InputError(first_mistake(error)) from error


def settings_for(method: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings that several methods share, those that one of them knows; an ensemble's members get theirs."""
    known = _settings_of(method) | set(TrainingConfig.model_fields)
    chosen = {name: value for name, value in common.items() if name in known}
    if "member_settings" in known:
        names = dict.fromkeys([*METHODS, *chosen.get("members", ())])
        members = {name: {key: common[key] for key in common if key in _settings_of(name)} for name in names}
        members = {name: settings for name, settings in members.items() if settings}
        if members:
            chosen["member_settings"] = merged(members, chosen.get("member_settings", {}))
    return chosen


def _settings_of(method: str) -> set[str]:
    return set(find_method(method).Config.model_fields) - set(MethodConfig.model_fields)


def merged(old: Any, new: Any) -> Any:
    """A nested table with the new values in place of the old ones; anything else is replaced whole."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
