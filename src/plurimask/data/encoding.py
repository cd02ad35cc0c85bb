"""What the values of masks mean: decided once for a whole data set, from the values of all its masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from plurimask.data.example import DataDescription
from plurimask.data.layouts.dataset_json import MAX_VALUE, DatasetFile
from plurimask.distribution import IGNORE
from plurimask.errors import InputError

Array = npt.NDArray[Any]
Values = Mapping[frozenset[int], str]
"""The sets of values that occur together in one mask, each with the name of the first mask that has it."""

BINARY_NAMES = ("background", "foreground")
MAX_UNNAMED_CLASSES = 64
_LABELS_EXAMPLE = '"labels": {"background": 0, "cell": 1, "ignore": 255}'


@dataclass(frozen=True)
class MaskEncoding:
    """How the values of mask files become class indices."""

    class_names: tuple[str, ...]
    class_values: tuple[int, ...]
    """The value of each class; of several values of a binary foreground, the largest."""
    ignore_value: int | None
    has_background: bool
    sentence: str
    """What was decided and why, for people."""
    is_binary: bool = False
    """Whether every value other than 0 (and the ignore value) is the foreground."""

    def encode(self, values: Array, where: str) -> npt.NDArray[np.uint8]:
        """Class indices of `values` (unsigned integers of any shape), IGNORE where not judged.

        Raises:
            InputError: a value has no class; `where` names the mask.
        """
        if self.is_binary:
            labels: npt.NDArray[np.uint8] = (values != 0).astype(np.uint8)
            if self.ignore_value is not None:
                labels[values == self.ignore_value] = IGNORE
            return labels
        known = dict(zip(self.class_values, range(len(self.class_values)), strict=True))
        if self.ignore_value is not None:
            known[self.ignore_value] = IGNORE
        size = max(*known, int(values.max()) if values.size else 0) + 1
        if size > MAX_VALUE + 1:
            self.refuse(size - 1, where)
        table = np.full(size, -1, dtype=np.int16)
        table[list(known)] = list(known.values())
        indices = table[values]
        if indices.size and indices.min() < 0:
            self.refuse(int(values[indices < 0].flat[0]), where)
        return np.asarray(indices, dtype=np.uint8)

    def check(self, values: Values) -> None:
        """Raise InputError if one of `values` has no class."""
        if self.is_binary:
            return
        known = {*self.class_values, *(() if self.ignore_value is None else (self.ignore_value,))}
        for together, where in values.items():
            if not together <= known:
                self.refuse(min(together - known), where)

    def refuse(self, value: int, where: str) -> None:
        known = [f"{each} ({name})" for name, each in zip(self.class_names, self.class_values, strict=True)]
        known += [] if self.ignore_value is None else [f"{self.ignore_value} (ignore)"]
        raise InputError(
            f"{where}: the mask holds the value {value}, known are {', '.join(known)}: "
            "correct the mask, or declare the value under labels in dataset.json"
        )


def decide_encoding(values: Values, declared: DatasetFile, expected: DataDescription | None = None) -> MaskEncoding:
    """The encoding of a data set whose masks hold `values`.

    Names in dataset.json win; without them the values decide. `expected` is the description that a run was trained
    with: a further folder is read in its sense, even where it lacks some of the classes.

    Raises:
        InputError: a value has no class, or the classes are others than expected.
    """
    if declared.labels is not None:
        encoding = _declared(declared, declared.labels)
        if expected is not None and encoding.class_names != expected.class_names:
            raise InputError(
                f"dataset.json has the classes {', '.join(encoding.class_names)}, "
                f"expected {', '.join(expected.class_names)}: use data with the classes that the run was trained on"
            )
    elif expected is not None and expected.class_names != BINARY_NAMES:
        encoding = _expected(expected)
    else:
        encoding = _inferred(values)
        if expected is not None:
            encoding = _expected_binary(encoding)
    encoding.check(values)
    return encoding


def _declared(declared: DatasetFile, labels: dict[str, int]) -> MaskEncoding:
    names, class_values = tuple(labels), tuple(labels.values())
    listed = ", ".join(f"{name} = {value}" for name, value in labels.items())
    ignored = "" if declared.ignore_value is None else f"; {declared.ignore_value} = not judged"
    has_background = names[0].lower() == "background"
    return MaskEncoding(
        names, class_values, declared.ignore_value, has_background, f"As dataset.json declares: {listed}{ignored}."
    )


def _expected(expected: DataDescription) -> MaskEncoding:
    ignore_value = expected.ignore_value
    if ignore_value is None and IGNORE not in expected.class_values:
        ignore_value = IGNORE
    sentence = f"As the run was trained: {expected.encoding}"
    return MaskEncoding(expected.class_names, expected.class_values, ignore_value, expected.has_background, sentence)


def _expected_binary(encoding: MaskEncoding) -> MaskEncoding:
    if len(encoding.class_names) > 2:
        raise InputError(
            f"the masks hold {len(encoding.class_names)} classes, the run was trained on background and foreground: "
            "use binary masks (0/1 or 0/255)"
        )
    return replace(encoding, class_names=BINARY_NAMES, has_background=True)


def _inferred(values: Values) -> MaskEncoding:
    found = frozenset().union(*values)
    marks = found - {0}
    if not marks:
        return _binary((0, 1), "every mask is 0 throughout, so 1 is taken for the foreground")
    if len(marks) == 1:
        mark = next(iter(marks))
        return _binary((0, mark), f"the only values in all masks are {_listed(found)}")
    if marks == {1, IGNORE}:
        with_both = next((where for together, where in values.items() if together >= marks), None)
        if with_both is None and any(together >= {0, IGNORE} for together in values):
            return _binary((0, IGNORE), "some masks are 0/1 and others 0/255, never both in one mask")
        where = "some are 255 throughout" if with_both is None else "255 stands beside 1 in one mask"
        return _binary((0, 1), f"masks are 0/1, and {where}, which is taken for not judged", ignore_value=IGNORE)
    return _class_indices(values, found)


def _binary(class_values: tuple[int, int], reason: str, ignore_value: int | None = None) -> MaskEncoding:
    ignored = "" if ignore_value is None else f", {ignore_value} not judged"
    sentence = f"Binary: {reason}; 0 is background, every other value foreground{ignored}."
    return MaskEncoding(BINARY_NAMES, class_values, ignore_value, True, sentence, is_binary=True)


def _class_indices(values: Values, found: frozenset[int]) -> MaskEncoding:
    classes = found - {IGNORE}
    largest = max(classes)
    where = next(name for together, name in values.items() if largest in together)
    if largest >= MAX_UNNAMED_CLASSES:
        raise InputError(
            f"{where}: the mask holds the value {largest} and the data set {len(found)} different values "
            f"({_listed(found)}): too many to be unnamed class indices (0 to {MAX_UNNAMED_CLASSES - 1}, 255 = ignore); "
            f"write a dataset.json beside the data with {_LABELS_EXAMPLE}"
        )
    ignored = " and 255 as not judged" if IGNORE in found else ""
    sentence = (
        f"Class indices 0 to {largest}{ignored}: the masks hold {_listed(found)} and there is no dataset.json with "
        "labels to name them."
    )
    names = tuple(f"class {index}" for index in range(largest + 1))
    return MaskEncoding(names, tuple(range(largest + 1)), IGNORE if IGNORE in found else None, False, sentence)


def _listed(values: frozenset[int]) -> str:
    ordered = [str(value) for value in sorted(values)]
    return ", ".join(ordered if len(ordered) <= 8 else [*ordered[:6], "...", ordered[-1]])


def values_in(mask: Array) -> frozenset[int]:
    """The different values in `mask` (unsigned integers)."""
    if mask.dtype == np.uint8:
        return frozenset(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist())
    return frozenset(np.unique(mask).tolist())
