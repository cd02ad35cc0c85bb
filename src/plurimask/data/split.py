"""Splits: drawn by group from a seed, or taken from a stored list of names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from plurimask.data.example import Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.errors import InputError


class Selection(ExampleSet):
    """Some of the examples of another set, with other groups if given."""

    def __init__(self, base: ExampleSet, indices: Sequence[int], groups: Sequence[str] | None = None) -> None:
        """`groups` has one entry for each of `indices`."""
        self.base, self.indices = base, tuple(indices)
        self.names = tuple(base.names[index] for index in self.indices)
        self.groups = tuple(base.groups[index] for index in self.indices) if groups is None else tuple(groups)

    def __getitem__(self, index: int) -> Example:
        return self.base[self.indices[index]]

    def shape(self, index: int) -> tuple[int, ...]:
        return self.base.shape(self.indices[index])

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.base.pixel_size(self.indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(self.indices[index])


def draw_split(groups: Sequence[str], seed: int, val_share: float = 0.2) -> dict[str, list[int]]:
    """Indices of "train" and "val", no group in both; `val_share` of the groups, at least one, go to "val".

    Groups are ordered by a hash of seed and name: the split is the same on every machine and in every order of the
    examples, and adding examples moves few of the others.

    Raises:
        InputError: there is one group only.
    """
    distinct = sorted(set(groups))
    if len(groups) < 2:
        raise InputError(
            f"the data set has {'one image only' if len(groups) else 'no images'}, and a split into train and val "
            "needs two: add images"
        )
    if len(distinct) < 2:
        raise InputError(
            f"all {len(groups)} images are in one group ({distinct[0]!r}), and a split into train and val needs two: "
            "add data, or choose smaller groups"
        )
    distinct.sort(key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    num_val = min(max(round(val_share * len(distinct)), 1), len(distinct) - 1)
    chosen = set(distinct[:num_val])
    return {
        "train": [index for index, group in enumerate(groups) if group not in chosen],
        "val": [index for index, group in enumerate(groups) if group in chosen],
    }


def apply_split(names: Sequence[str], stored: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Indices of each split of `stored` (names by split); examples that it does not name are in no split.

    Names of `stored` that are not among `names` are passed over, as a part of the data may have been moved; splits that
    become empty are left out.

    Raises:
        InputError: none of the stored names is among `names`.
    """
    position = {name: index for index, name in enumerate(names)}
    splits = {split: [position[name] for name in members if name in position] for split, members in stored.items()}
    splits = {split: indices for split, indices in splits.items() if indices}
    if not splits:
        examples = [name for members in stored.values() for name in members][:3]
        raise InputError(
            f"none of the images of the stored split ({', '.join(examples)}, ...) is in this data set "
            f"({', '.join(names[:3])}, ...): give the data that the run was trained on"
        )
    return splits


def group_names(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each name: the first capture group of the regular expression, or its whole match.

    Raises:
        InputError: the expression is malformed, or a name does not match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"the group expression {pattern!r} is malformed ({error}): correct it") from error
    groups = []
    for name in names:
        match = expression.search(name)
        group = match and (match.group(1) if expression.groups else match.group(0))
        if not group:
            raise InputError(
                f"the group expression {pattern!r} finds nothing in the name {name!r}: "
                r"write one that matches every name, such as '^[^_]+' for all up to the first underscore"
            )
        groups.append(group)
    return groups
