"""What the masks of a data set hold - values, palette indices, colours or one map per class - decided for all of them.

Palettes are orders of colours that programs choose as they like. Where all masks agree on the colour of every index,
and none has black elsewhere than at 0, the indices are the values; otherwise the colours are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plurimask.data.example import DataDescription
from plurimask.data.images.masks import MaskKind, StoredMask
from plurimask.data.images.stored import Array
from plurimask.data.layouts.dataset_json import FOREGROUND, DatasetFile
from plurimask.errors import InputError

FormKind = Literal["values", "gray", "colours", "stack"]
_GRAY = 0x010101
_NEARLY_ALL, _MANY = 0.9, 8


@dataclass(frozen=True)
class MaskSummary:
    """What one mask holds, without its pixels."""

    kind: MaskKind
    values: frozenset[int]
    colours: tuple[tuple[int, int], ...] = ()
    """Index and colour of what the mask uses of its palette."""
    num_maps: int = 1
    numbered_objects: int = 0
    """n if the values are 1 to n (with some gaps, if they are many), nearly each one connected piece; else 0."""


@dataclass(frozen=True)
class MaskForm:
    """How the content of mask files becomes values, the same for all files of a data set."""

    kind: FormKind = "values"
    first: int = 0
    """Of a stack: what the pixels of its first map are, 1 where there are pixels in no map, else 0."""
    num_maps: int = 0
    """Of a stack."""

    @property
    def sentence(self) -> str:
        """What was decided, if it is not the plain case."""
        return {
            "values": "",
            "gray": "Palettes differ between files, so colours count: values are gray levels. ",
            "colours": "Masks are in colours. ",
            "stack": f"Masks hold one map per class, the first of class {self.first}. ",
        }[self.kind]

    @property
    def known_values(self) -> frozenset[int]:
        """The values that a stack can have, also where a map is always empty."""
        return frozenset(range(self.num_maps + self.first))

    def values(self, mask: StoredMask) -> Array:
        """The values of `mask`, `(*spatial)`, unsigned integers; colours as 0xRRGGBB."""
        if self.kind == "stack":
            return mask.values if self.first or mask.kind != "stack" else mask.values - 1
        if self.kind == "values" or mask.kind == "colours":
            return mask.values
        if mask.kind == "palette":
            table = np.zeros(max(len(mask.palette), int(mask.values.max(initial=0)) + 1), np.uint32)
            table[: len(mask.palette)] = mask.palette
            return table[mask.values] if self.kind == "colours" else (table & 255).astype(np.uint8)[mask.values]
        return mask.values.astype(np.uint32) * _GRAY if self.kind == "colours" else mask.values

    def values_of(self, summary: MaskSummary) -> frozenset[int]:
        """The same for the set of values of a mask."""
        if self.kind == "stack":
            return summary.values if self.first else frozenset(value - 1 for value in summary.values)
        if self.kind == "values" or summary.kind == "colours":
            return summary.values
        colours = _colours(summary)
        return colours if self.kind == "colours" else frozenset(colour & 255 for colour in colours)


def summarise(mask: StoredMask) -> MaskSummary:
    """What `mask` holds."""
    found = values_in(mask.values)
    colours = tuple((index, mask.palette[index]) for index in sorted(found) if index < len(mask.palette))
    objects = _numbered_objects(mask.values, found) if mask.kind == "values" else 0
    return MaskSummary(mask.kind, found, colours, mask.num_maps, objects)


def values_in(mask: Array) -> frozenset[int]:
    """The different values in `mask` (unsigned integers)."""
    if mask.dtype == np.uint8:
        return frozenset(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist())
    return frozenset(np.unique(mask).tolist())


def decide_form(
    summaries: Mapping[MaskSummary, str], declared: DatasetFile, expected: DataDescription | None
) -> MaskForm:
    """How the masks of a data set are read.

    Args:
        summaries: each with the name of the first mask that has it.
        declared: what the data say of themselves.
        expected: the description that a run was trained with, where the data are read in its sense.

    Raises:
        InputError: masks of kinds that do not go together.
    """
    kinds = {summary.kind: where for summary, where in summaries.items()}
    if "stack" in kinds:
        if FOREGROUND in (declared.masks, expected.masks if expected else None):
            return MaskForm("stack", first=1)  # one map per object, or per class
        return _stack(summaries, kinds, expected.num_classes if expected else None)
    palettes = [summary for summary in summaries if summary.kind == "palette"]
    if declared.colours is not None and ("colours" in kinds or palettes):
        return MaskForm("colours")
    if "colours" not in kinds and not _indices_mislead(palettes, list(summaries)):
        return MaskForm()
    wide = next(
        (where for each, where in summaries.items() if each.kind == "values" and max(each.values, default=0) > 255),
        None,
    )
    if wide is not None:
        raise InputError(f"{wide}: values over 255, while other masks are in colours: save all masks in the same way")
    everything = frozenset().union(*(_colours(summary) for summary in summaries))
    return MaskForm("gray" if all(colour % _GRAY == 0 for colour in everything) else "colours")


def _stack(summaries: Mapping[MaskSummary, str], kinds: Mapping[MaskKind, str], num_classes: int | None) -> MaskForm:
    counts = {summary.num_maps: where for summary, where in summaries.items()}
    if len(kinds) > 1 or len(counts) > 1:
        (first, one), (second, other) = list((counts if len(counts) > 1 else kinds).items())[:2]
        raise InputError(
            f"{one} holds {first} maps, {other} {second}: save all masks with one map per class, or all with one class "
            'index per pixel (maps of single objects: "masks": "foreground" in dataset.json)'
        )
    num_maps = next(iter(counts))
    unmarked = any(0 in summary.values for summary in summaries) if num_classes is None else num_maps != num_classes
    return MaskForm("stack", int(unmarked), num_maps)


def _indices_mislead(palettes: list[MaskSummary], everything: list[MaskSummary]) -> bool:
    """Whether an index means different colours in different masks, or the ground is not at index 0."""
    meaning: dict[int, int] = {}
    for summary in palettes:
        for index, colour in summary.colours:
            if meaning.setdefault(index, colour) != colour:
                return True
    if any(index and not colour for index, colour in meaning.items()) and meaning.get(0, 1):
        return True
    # Some masks were saved as gray, others of the same with a palette of gray levels.
    plain = frozenset().union(*(summary.values for summary in everything if summary.kind == "values"))
    levels = {colour & 255 for colour in meaning.values() if colour % _GRAY == 0}
    return len(levels) == len(meaning) > 2 and len(plain) > 1 and plain <= levels and not plain <= set(meaning)


def _colours(summary: MaskSummary) -> frozenset[int]:
    if summary.kind == "palette":
        return frozenset(colour for _, colour in summary.colours)
    return summary.values if summary.kind == "colours" else frozenset(value * _GRAY for value in summary.values)


def note_own_values(raters: Sequence[str], marks: Sequence[frozenset[int]]) -> list[str]:
    """A note where each rater marks with one value, and not all with the same: then these may be no classes."""
    if any(len(own) > 1 for own in marks) or len(frozenset().union(*marks)) < 2:
        return []
    listed = ", ".join(f"{rater} with {min(own)}" for rater, own in zip(raters, marks, strict=True) if own)
    return [
        f"each rater marks with one value ({listed}): they are read as classes; if all of them mean the foreground, "
        "give --foreground"
    ]


def most_objects(summaries: Iterable[MaskSummary]) -> int:
    """The largest number of objects in a mask, if nearly all masks number theirs, and not all the same; else 0."""
    marking = [summary for summary in summaries if summary.values - {0}]
    counts = [summary.numbered_objects for summary in marking if summary.numbered_objects]
    numbered = len(counts) >= _NEARLY_ALL * len(marking) and len(set(counts)) > 1
    return max(counts) if numbered else 0


def _numbered_objects(values: Array, found: frozenset[int]) -> int:
    count, largest = len(found - {0}), max(found, default=0)
    if 0 not in found or not (largest == count or _MANY <= count <= largest <= 2 * count):
        return 0
    if count < 2:
        return count
    from scipy import ndimage

    boxes = [box for box in ndimage.find_objects(values.astype(np.int32)) if box is not None]
    marks = sorted(found - {0})
    whole = sum(
        ndimage.label(values[box] == mark, np.ones((3,) * values.ndim))[1] == 1
        for mark, box in zip(marks, boxes, strict=True)
    )
    return count if whole >= _NEARLY_ALL * count else 0
