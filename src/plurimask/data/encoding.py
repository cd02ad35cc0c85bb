"""What the values of masks mean: decided once for a whole data set, from the values of all its masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from plurimask.data.example import DataDescription
from plurimask.data.layouts.dataset_json import FOREGROUND, MAX_VALUE, DatasetFile
from plurimask.errors import InputError
from plurimask.sets.unjudged import IGNORE

Array = npt.NDArray[Any]
Values = Mapping[frozenset[int], str]
"""The sets of values that occur together in one mask, each with the name of the first mask that has it."""

BINARY_NAMES = ("background", "foreground")
MAX_UNNAMED_CLASSES = 64
_MANY_OBJECTS = 5
_FOREGROUND = '--foreground (or {"masks": "foreground"} in dataset.json)'
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
    colours: tuple[int, ...] = ()
    """The colour of each class in the files, 0xRRGGBB, and of unjudged pixels if there is one more; empty: values."""
    masks: Literal["values", "foreground"] = "values"
    """As in the description of the data."""

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
        known = self._known()
        if values.dtype.itemsize <= 2:
            table = np.full(2 ** (8 * values.dtype.itemsize), -1, dtype=np.int16)
            for value, index in known.items():
                table[value : value + 1] = index  # nothing, for a value that this type cannot hold
            indices = table[values]
        else:
            stored = np.array(sorted(known))
            place = np.searchsorted(stored, values).clip(max=len(stored) - 1)
            indices = np.where(stored[place] == values, np.array([known[each] for each in stored])[place], -1)
        if indices.size and indices.min() < 0:
            self.refuse(int(values[indices < 0].flat[0]), where)
        return indices.astype(np.uint8)

    def check(self, values: Values) -> None:
        """Raise InputError if one of `values` has no class."""
        if self.is_binary:
            return
        known = self._known().keys()
        for together, where in values.items():
            if not together <= known:
                self.refuse(min(together - known), where)

    def _known(self) -> dict[int, int]:
        """What stands in the files to class index."""
        ignored = () if self.ignore_value is None else (self.ignore_value,)
        indices = [*range(len(self.class_values)), IGNORE]
        return dict(zip(self.colours or (*self.class_values, *ignored), indices, strict=False))

    def refuse(self, value: int, where: str) -> None:
        names = [*self.class_names, "ignore"]
        known = [f"{self._shown(each)} ({names[min(index, len(names) - 1)]})" for each, index in self._known().items()]
        where_to_declare = "labelmap.txt or dataset.json" if self.colours else "dataset.json"
        raise InputError(
            f"{where}: the mask holds the {'colour' if self.colours else 'value'} {self._shown(value)}, known are "
            f"{', '.join(known)}: correct the mask, or declare it under labels in {where_to_declare}"
        )

    def _shown(self, value: int) -> str:
        return colour_name(value) if self.colours else str(value)


def colour_name(colour: int) -> str:
    """0xRRGGBB as "#rrggbb"."""
    return f"#{colour:06x}"


def decide_encoding(
    values: Values,
    declared: DatasetFile,
    expected: DataDescription | None = None,
    *,
    in_colour: bool = False,
    num_objects: int = 0,
) -> MaskEncoding:
    """The encoding of a data set whose masks hold `values`.

    Names in dataset.json win; without them the values decide.

    Args:
        values: of all masks.
        declared: what the data say of themselves.
        expected: the description that a run was trained with: a further folder is read in its sense, even where it
            lacks some of the classes.
        in_colour: whether values are colours, 0xRRGGBB.
        num_objects: if every mask holds the numbers of objects, 1 to n, each in one piece: the largest n; else 0.

    Raises:
        InputError: a value has no class, the classes are others than expected, or values are the numbers of objects.
    """
    if declared.masks == FOREGROUND or (expected is not None and expected.masks == FOREGROUND):
        encoding = replace(_binary((0, 1), "all objects are one class, as was asked for"), masks="foreground")
    elif in_colour:
        encoding = _in_colour(values, declared.colours, expected)
    elif declared.labels is not None:
        encoding = _declared(declared, declared.labels)
    elif expected is not None and expected.class_names != BINARY_NAMES:
        encoding = _expected(expected)
    else:
        encoding = _inferred(values, num_objects)
        if expected is not None:
            encoding = _expected_binary(encoding)
    if expected is not None and encoding.class_names != expected.class_names:
        raise InputError(
            f"{'the masks have' if declared.labels is None else 'dataset.json has'} the classes "
            f"{', '.join(encoding.class_names)}, expected {', '.join(expected.class_names)}: use data with the classes "
            "that the run was trained on"
        )
    encoding.check(values)
    return encoding


def _in_colour(values: Values, table: Mapping[str, int] | None, expected: DataDescription | None) -> MaskEncoding:
    """Classes are the colours of a table, or else those that occur, black first."""
    found = sorted(frozenset().union(*values))
    ignored = [] if table is None else [colour for name, colour in table.items() if name.lower() == "ignore"]
    if table is not None:
        names = tuple(name for name in table if name.lower() != "ignore")
        colours = tuple(table[name] for name in names)
        reason = "as the table of colours declares"
    else:
        if expected is not None:
            names = expected.class_names
            known = {_class_of(colour): colour for colour in found} | {"background": 0}
            colours = tuple(int(name[1:], 16) if name.startswith("#") else known.get(name, -1) for name in names)
        if expected is None or expected.class_names == BINARY_NAMES:
            colours = tuple(found)
            names = tuple(_class_of(colour) for colour in colours)
        if len(colours) > MAX_UNNAMED_CLASSES:
            where = next(name for together, name in values.items() if found[-1] in together)
            raise InputError(
                f"{where}: the masks hold {len(found)} colours, too many to be classes (blurred edges?): "
                "save them without smoothing, or list the colours of the classes in labelmap.txt"
            )
        if len(colours) <= 2 and (0 in colours or len(colours) == 1):
            shown = ", ".join(colour_name(colour) for colour in colours)
            return _binary((0, 255), f"the only colours in all masks are {shown}; black is background")
        reason = "each colour that occurs is a class; name them in labelmap.txt (name:R,G,B)"
    listed = ", ".join(f"{name} = {colour_name(colour)}" for name, colour in zip(names, colours, strict=True))
    return MaskEncoding(
        names,
        tuple(range(len(names))),
        IGNORE if ignored else None,
        names[0].lower() == "background",
        f"Colours, {reason}: {listed}. Predictions hold the numbers of the classes, from 0.",
        colours=(*colours, *ignored),
    )


def _class_of(colour: int) -> str:
    return colour_name(colour) if colour else "background"


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


def _inferred(values: Values, num_objects: int) -> MaskEncoding:
    found = frozenset().union(*values)
    marks = found - {0}
    if max(found, default=0) > MAX_VALUE:
        where = next(name for together, name in values.items() if max(together, default=0) > MAX_VALUE)
        raise InputError(
            f"{where}: the mask holds the value {max(found)}, and predictions can hold at most {MAX_VALUE}: save the "
            f"object as 1, or give {_FOREGROUND}, which reads all values but 0 as one class"
        )
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
    return _class_indices(values, found, num_objects)


def _binary(class_values: tuple[int, int], reason: str, ignore_value: int | None = None) -> MaskEncoding:
    ignored = "" if ignore_value is None else f", {ignore_value} not judged"
    sentence = f"Binary: {reason}; 0 is background, every other value foreground{ignored}."
    return MaskEncoding(BINARY_NAMES, class_values, ignore_value, True, sentence, is_binary=True)


def _class_indices(values: Values, found: frozenset[int], num_objects: int) -> MaskEncoding:
    classes = found - {IGNORE}
    largest = max(classes)
    where = next(name for together, name in values.items() if largest in together)
    if num_objects >= _MANY_OBJECTS or (num_objects and largest >= MAX_UNNAMED_CLASSES):
        raise InputError(
            f"{where}: instance masks: each mask numbers its objects, here 1 to {num_objects}, and plurimask does not "
            f"tell objects apart: {_FOREGROUND} takes all of them for one class; if the values are classes, name them "
            "in dataset.json under labels"
        )
    if largest >= MAX_UNNAMED_CLASSES:
        raise InputError(
            f"{where}: the mask holds the value {largest} and the data set {len(found)} different values "
            f"({_listed(found)}): too many to be unnamed class indices (0 to {MAX_UNNAMED_CLASSES - 1}, 255 = ignore): "
            f"if they are the numbers of objects (instance masks), {_FOREGROUND} takes all of them for one class; if "
            "edges were smoothed, or the masks were JPEGs once, save them without grays between (threshold them); if "
            f"they are classes, write a dataset.json with {_LABELS_EXAMPLE}"
        )
    ignored = " and 255 as not judged" if IGNORE in found else ""
    sentence = (
        f"Class indices 0 to {largest}{ignored}: the masks hold {_listed(found)} and there is no dataset.json with "
        "labels to name them."
    )
    if num_objects:
        sentence += f" If they are the numbers of objects, give {_FOREGROUND}: they are read as classes now."
    names = tuple(f"class {index}" for index in range(largest + 1))
    return MaskEncoding(names, tuple(range(largest + 1)), IGNORE if IGNORE in found else None, False, sentence)


def _listed(values: frozenset[int]) -> str:
    ordered = [str(value) for value in sorted(values)]
    return ", ".join(ordered if len(ordered) <= 8 else [*ordered[:6], "...", ordered[-1]])
