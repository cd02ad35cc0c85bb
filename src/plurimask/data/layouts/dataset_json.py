"""`dataset.json`: what a data set says about itself, with the keys of nnU-Net (`channel_names`, `labels`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plurimask.distribution import IGNORE
from plurimask.errors import InputError

FILE_NAME = "dataset.json"
MAX_CLASSES = IGNORE
"""Class indices are 0..254: 255 is kept for unjudged pixels."""
MAX_VALUE = 65535


@dataclass(frozen=True)
class DatasetFile:
    """The two keys that matter here; None where the file does not have them."""

    channel_names: tuple[str, ...] | None = None
    """In the order of their numbers."""
    labels: dict[str, int] | None = None
    """Class name to value in the masks, ordered by value, without `ignore`."""
    ignore_value: int | None = None


def read_dataset_file(folder: Path) -> DatasetFile:
    """`folder/dataset.json`; an empty `DatasetFile` if there is none.

    Raises:
        InputError: the file is no JSON object, or one of the two keys is malformed.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return DatasetFile()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}): correct it or remove it") from error
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object such as {{"labels": {{"background": 0, "cell": 1}}}}')
    channels = _channel_names(path, content["channel_names"]) if "channel_names" in content else None
    if "labels" not in content:
        return DatasetFile(channels)
    labels, ignore_value = _labels(path, content["labels"])
    return DatasetFile(channels, labels, ignore_value)


def _channel_names(path: Path, content: Any) -> tuple[str, ...]:
    example = 'expected {"0": "brightfield", "1": "gfp"}'
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content.values()):
        raise InputError(f"{path}: channel_names is {json.dumps(content)}, {example}")
    if sorted(content) != sorted(str(index) for index in range(len(content))):
        raise InputError(f"{path}: channel_names has the keys {', '.join(content)}, {example}: number them from 0")
    names = tuple(content[str(index)] for index in range(len(content)))
    if len(set(names)) < len(names):
        raise InputError(f"{path}: channel_names has a name twice in {', '.join(names)}: give each its own name")
    return names


def _labels(path: Path, content: Any) -> tuple[dict[str, int], int | None]:
    example = 'expected {"background": 0, "cell": 1}'
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: labels is {json.dumps(content)}, {example}")
    for name, value in content.items():
        if isinstance(value, list):
            raise InputError(
                f"{path}: the label {name!r} is a region, {json.dumps(value)}; regions (lists of values) are not "
                f"supported, {example}: give each class one value"
            )
        if isinstance(value, str) and name.isdigit():
            raise InputError(
                f"{path}: labels maps the value {name} to the name {value!r}: write the name first, {example}"
            )
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_VALUE:
            raise InputError(
                f"{path}: the label {name!r} has the value {json.dumps(value)}, {example}: 0 to {MAX_VALUE}"
            )
    values = list(content.values())
    repeated = next((value for value in values if values.count(value) > 1), None)
    if repeated is not None:
        names = [name for name, value in content.items() if value == repeated]
        raise InputError(
            f"{path}: the labels {' and '.join(names)} share the value {repeated}: give each its own value"
        )
    ignored = [value for name, value in content.items() if name.lower() == "ignore"]
    ordered = sorted(content.items(), key=lambda label: label[1])
    labels = {name: value for name, value in ordered if name.lower() != "ignore"}
    if len(ignored) > 1 or not 2 <= len(labels) <= MAX_CLASSES:
        raise InputError(
            f"{path}: labels has {len(labels)} classes and {len(ignored)} ignore values, expected 2 to {MAX_CLASSES} "
            f"classes and at most one ignore value: {example}"
        )
    return labels, ignored[0] if ignored else None
