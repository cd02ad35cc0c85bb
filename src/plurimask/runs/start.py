"""A training that goes on from the weights of another run: a method that is built on a trained one, such as `swag`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plurimask.data import DataDescription
from plurimask.errors import InputError
from plurimask.method import MethodConfig, SegmentationMethod
from plurimask.methods import find_method
from plurimask.methods.swag import SWAG, SWAGConfig
from plurimask.prediction.slices import underneath
from plurimask.pretrained import is_pretrained
from plurimask.runs.load import load_run
from plurimask.runs.record import RunRecord, Start, read_record

_OWN = {"max_steps", "max_minutes", "early_stopping", "ema_decay"}
"""Settings of the training that are not taken over: when it ends, and averages, which the method makes itself."""
_SEEN = ("base", "base_settings", "center_crop", "resize", "spacing", "image_scaling", "slices")
"""Settings that the weights were trained with."""
_AS_STORED = {"layout", "class_values", "encoding"}
"""How images and masks are kept in files, which makes no other data of them."""


def settings_of_start(method: str, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a method and of its training that goes on from a run: those of the run, without a warm-up.

    Raises:
        InputError: there is no run, or the method is not built on another.
    """
    if not issubclass(find_method(method).Config, SWAGConfig):
        raise InputError(
            f"--from is for a method that goes on from a trained one, swag, not for {method}: leave it out"
        )
    record = read_record(Path(folder))
    settings = {name: value for name, value in record.config.items() if name not in MethodConfig.model_fields}
    own = {"base": record.method, "base_settings": {record.method: settings}, "warm_up": 0.0}
    return own, record.training.model_dump(exclude=_OWN)


def refuse_other_settings(folder: str, start: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Raise `InputError` if settings that the weights of the run were trained with are chosen otherwise."""
    for name in _SEEN:
        if name in start and json.dumps(chosen[name]) != json.dumps(start[name]):
            raise InputError(f"{name} would differ from that of {folder}, whose weights it goes on from: leave it out")


def start_of(folder: str, data: DataDescription, split: Mapping[str, list[str]] | None) -> tuple[RunRecord, Start]:
    """The record of the run that is gone on from, and what is told of it.

    Raises:
        InputError: there is no run, or it was trained on other data or another split.
    """
    record = read_record(Path(folder))
    own, given = (about.model_dump(exclude=_AS_STORED) for about in (record.data, data))
    for what, differs in (("data", own != given), ("split", record.split != split)):
        if differs:
            raise InputError(
                f"{folder} was trained on other {what}: what goes on from its weights must see the same images, with "
                "the same classes and split"
            )
    return record, Start(folder=lasting_name(folder), identity=record.identity, steps=record.steps)


def lasting_name(folder: str) -> str:
    """What a run that is gone on from is called in a record: where it lies, or which model of the package it is."""
    return folder if is_pretrained(folder) else str(Path(folder).resolve())


def give_start(method: SegmentationMethod, start: Start | None) -> None:
    """Give the method underneath its weights.

    Raises:
        InputError: the run is gone, another, or has no weights; or there is none, and no warm-up either.
    """
    if start is None:
        if any(isinstance(part, SWAG) and part.config.warm_up == 0 for part in method.parts()):
            raise InputError(
                "without a warm-up SGD needs weights to go on from: give --from RUN, or a --warm-up above 0"
            )
        return
    run = load_run(start.folder)
    if run.record.identity != start.identity:
        raise InputError(
            f"{start.folder} holds another run than that which was gone on from: start anew with --overwrite"
        )
    assert isinstance(method, SWAG)
    method.base.load_state_dict(underneath(run.method).state_dict())
