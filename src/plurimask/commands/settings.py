"""Settings of methods and trainings, from the command line and from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plurimask.commands.parsing import is_given
from plurimask.errors import InputError


def is_parsed(field: FieldInfo) -> bool:
    """Whether a setting can be an option: tables of settings (of an ensemble's members) come by --config alone."""
    return get_origin(field.annotation) is not dict


def given_settings(content: dict[str, Any], arguments: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """The settings that are among the arguments; of nested ones, only what is given."""
    given: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, BaseModel):
            nested = {inner: getattr(value, inner) for inner in type(value).model_fields}
            if inside := given_settings(nested, arguments, f"{prefix}{name}."):
                given[name] = inside
        elif is_given(arguments, prefix + name):
            given[name] = value
    return given


def read_settings(path: Path) -> dict[str, Any]:
    """The lines `setting: value` of a YAML file, names with _.

    Raises:
        InputError: the file is not readable, is no such table, or has a setting twice.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not readable as YAML ({reason}): give a file of lines `setting: value`") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected lines `setting: value`")
    settings: dict[str, Any] = {}
    for name, value in content.items():
        key = str(name).replace("-", "_")
        if key in settings:
            raise InputError(f"{path}: {key} is there twice, with - and with _: keep one of them")
        settings[key] = value
    return settings
