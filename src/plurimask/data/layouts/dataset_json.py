"""What a data set says about itself.

`dataset.json` has the keys of nnU-Net (`channel_names`, `labels`) and `masks`, which is "foreground" where every value
but 0 is the foreground. Colours of classes stand in `labels` ("#ff0000"), or in CVAT's `labelmap.txt`
(`name:R,G,B::`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plurimask.errors import InputError, shown
from plurimask.files.reading import is_there, read_json, read_text
from plurimask.sets.unjudged import IGNORE

FILE_NAME, COLOURS_NAME = "dataset.json", "labelmap.txt"
MAX_CLASSES = IGNORE
"""Class indices are 0..254: 255 is kept for unjudged pixels."""
MAX_VALUE = 65535
MAX_NAME = 200
_REMEDY = "correct it or remove it"
FOREGROUND = "foreground"
"""How masks are read: every value but 0 is the foreground."""
MASKS = ("values", FOREGROUND)


@dataclass(frozen=True)
class DatasetFile:
    """What matters here; None where nothing is said of it."""

    channel_names: tuple[str, ...] | None = None
    """In the order of their numbers."""
    labels: dict[str, int] | None = None
    """Class name to value in the masks, ordered by value, without `ignore`."""
    ignore_value: int | None = None
    masks: str | None = None
    """"values" or "foreground"."""
    colours: dict[str, int] | None = None
    """Class name to colour 0xRRGGBB, "ignore" among them, black first."""


def read_dataset_file(folder: Path) -> DatasetFile:
    """`folder/dataset.json` and `folder/labelmap.txt`; an empty `DatasetFile` if there is neither.

    Raises:
        InputError: the file is no JSON object, or a key or line is malformed.
    """
    declared = _read_json(folder / FILE_NAME)
    table = folder / COLOURS_NAME
    if declared.labels is None and declared.colours is None and is_there(table):
        return replace(declared, colours=_read_colours(table))
    return declared


def _read_json(path: Path) -> DatasetFile:
    if not is_there(path):
        return DatasetFile()
    content = read_json(path, _REMEDY)
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object such as {{"labels": {{"background": 0, "cell": 1}}}}')
    channels = _channel_names(path, content["channel_names"]) if "channel_names" in content else None
    masks = content.get("masks")
    if masks is not None and masks not in list(MASKS):
        raise InputError(f"{path}: masks is {shown(masks)}, expected {' or '.join(map(json.dumps, MASKS))}")
    labels = content.get("labels")
    if "labels" not in content or masks == "foreground":
        return DatasetFile(channels, masks=masks)
    if isinstance(labels, dict) and labels and all(_is_colour(value) for value in labels.values()):
        colours = {name: int(value[1:], 16) for name, value in labels.items()}
        return DatasetFile(channels, masks=masks, colours=_ordered(path, colours))
    labels, ignore_value = _labels(path, labels)
    return DatasetFile(channels, labels, ignore_value, masks)


def _is_colour(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("#[0-9a-fA-F]{6}", value))


def _read_colours(path: Path) -> dict[str, int]:
    """The colours in CVAT's `labelmap.txt`: a line `name:R,G,B:parts:actions` for each class."""
    colours: dict[str, int] = {}
    for line in read_text(path, _REMEDY).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(.+?):\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*(:.*)?", line.strip())
        parts = [int(part) for part in match.groups()[1:4]] if match else [256]
        if match is None or max(parts) > 255 or match[1] in colours:
            raise InputError(
                f"{path}: the line {shown(line)}, expected a class and its colour, each once, as in cell:255,0,0"
            )
        colours[match[1]] = (parts[0] << 16) | (parts[1] << 8) | parts[2]
    return _ordered(path, colours)


def _refuse_odd(path: Path, names: Iterable[str]) -> None:
    """Raise `InputError` if a name cannot be shown in a line."""
    for name in names:
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            raise InputError(f"{path}: the name {shown(name)}, expected 1 to {MAX_NAME} printed characters: correct it")


def _ordered(path: Path, colours: dict[str, int]) -> dict[str, int]:
    """`colours` in their order, black first."""
    _refuse_odd(path, colours)
    classes = [name for name in colours if name.lower() != "ignore"]
    repeated = [name for name, colour in colours.items() if list(colours.values()).count(colour) > 1]
    if not 2 <= len(classes) <= MAX_CLASSES or len(colours) - len(classes) > 1 or repeated:
        raise InputError(
            f"{path}: {len(colours)} colours{f', {repeated[0]} and {repeated[1]} the same' if repeated else ''}, "
            f"expected 2 to {MAX_CLASSES} classes, each with a colour of its own, and at most one named ignore"
        )
    return dict(sorted(colours.items(), key=lambda each: each[1] != 0))


def _channel_names(path: Path, content: Any) -> tuple[str, ...]:
    example = 'expected {"0": "brightfield", "1": "gfp"}'
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content.values()):
        raise InputError(f"{path}: channel_names is {shown(content)}, {example}")
    if sorted(content) != sorted(str(index) for index in range(len(content))):
        raise InputError(f"{path}: channel_names has the keys {', '.join(content)}, {example}: number them from 0")
    names = tuple(content[str(index)] for index in range(len(content)))
    _refuse_odd(path, names)
    if len(set(names)) < len(names):
        raise InputError(f"{path}: channel_names has a name twice in {', '.join(names)}: give each its own name")
    return names


def _labels(path: Path, content: Any) -> tuple[dict[str, int], int | None]:
    example = 'expected {"background": 0, "cell": 1}'
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: labels is {shown(content)}, {example}")
    _refuse_odd(path, content)
    for name, value in content.items():
        if isinstance(value, list):
            raise InputError(
                f"{path}: the label {shown(name)} is a region, {shown(value)}; regions (lists of values) are not "
                f"supported, {example}: give each class one value"
            )
        if isinstance(value, str) and name.isdigit():
            raise InputError(
                f"{path}: labels maps the value {name} to the name {shown(value)}: write the name first, {example}"
            )
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_VALUE:
            raise InputError(
                f"{path}: the label {shown(name)} has the value {shown(value)}, {example}: 0 to {MAX_VALUE}"
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
