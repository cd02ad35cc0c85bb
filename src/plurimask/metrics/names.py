"""Figures by the names that they have now, in what earlier versions wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {"hungarian_iou": "hungarian_iou_balanced"}
"""The keys of figures in files that earlier versions wrote, and what they are called now."""


def current_names(record: Any) -> Any:
    """What an evaluation, a comparison or a benchmark wrote as JSON, with figures by the names that they have now.

    Keys of mappings are renamed, at any depth, also behind the `val_` of a training's log; all else is as it was.

    >>> current_names({"split": "val", "subset_b": {"ged": 0.25, "hungarian_iou": 0.5}})
    {'split': 'val', 'subset_b': {'ged': 0.25, 'hungarian_iou_balanced': 0.5}}
    """
    if isinstance(record, Mapping):
        return {_current_name(key): current_names(value) for key, value in record.items()}
    return [current_names(one) for one in record] if isinstance(record, list) else record


def _current_name(key: str) -> str:
    bare = key.removeprefix("val_")
    return key.removesuffix(bare) + RENAMED.get(bare, bare)
