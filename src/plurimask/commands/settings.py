"""Settings of methods and trainings, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plurimask.errors import InputError
from plurimask.files.reading import read_yaml


def read_settings(path: Path) -> dict[str, Any]:
    """The lines `setting: value` of a YAML file, names with _.

    Raises:
        InputError: the file is not readable, is no such table, or has a setting twice.
    """
    content = read_yaml(path, "give a file of lines `setting: value`")
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
