"""Readings: the few different masks that many samples of one image amount to.

They begin with the representatives of the samples (`plurimask.sets.representatives`): as few as are within `ENOUGH` of
all samples by the squared energy distance, and five at most; of a method that has a few maps only, all that differ by
more than `AGREEMENT`. Each sample belongs to the representative that it is
nearest to, by d = 1 - IoU, and such a group is a reading. It is shown by its medoid, a map that was sampled, not by a
mean that nobody would draw. Nothing is drawn at random, and the order of the samples does not matter.

Why so, and not by a tree of the samples that is cut at gaps: docs/data.md and `benchmarks/readings.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.errors import InputError
from plurimask.sets.distance import joint_distances
from plurimask.sets.representatives import distinct, in_order_of_content, nearest, support

MAX_READINGS = 5
ENOUGH = 0.05
"""The squared energy distance between readings and samples from which on there are no more readings, where their number
was not asked for. The best single map is at less than the mean d of all pairs, in practice at about half of it."""

AGREEMENT = 0.1
"""Maps of a smaller d (IoU above 0.9) are not shown apart only because no others were drawn."""

_BLOCK_PIXELS = 2**20

Distances: TypeAlias = NDArray[np.float64]


class Reading(NamedTuple):
    """The samples of one image that are nearest to one of its representatives."""

    members: tuple[int, ...]
    """The numbers of its samples, in the order drawn."""
    medoid: int
    """The member that is nearest to the others."""
    share: float
    """Of all samples, 0 to 1."""
    mean_distance: float
    """The mean d between two different members, 0 to 1; 0 for a single one."""
    areas: tuple[tuple[int, int], ...]
    """By class: pixels in the member that has fewest of it, and in the one that has most."""


def rule(most: int | None = None) -> str:
    """How readings are found, in words; `most` as for `find_readings`."""
    number = (
        f"as few as are within a squared energy distance of {ENOUGH} of the samples, or all different ones if "
        f"they are at d above {AGREEMENT}, and {MAX_READINGS} at most"
        if most is None
        else f"{most} at most, as asked for"
    )
    return (
        f"representatives of the samples by the energy distance in d = 1 - IoU: {number}; a sample belongs to the "
        "nearest one, and a reading is shown by its medoid; empty maps are a reading of their own"
    )


def find_readings(
    samples: NDArray[np.uint8], counted_classes: Sequence[int], num_classes: int, most: int | None = None
) -> list[Reading]:
    """The readings among samples `(N, H, W)` of one image, the one of the largest share first.

    Args:
        samples: class indices, N at least 1.
        counted_classes: the class indices that count, without the background.
        num_classes: C, with the background.
        most: so many, or fewer where there are fewer different samples; None: one to five, by `ENOUGH`.

    Raises:
        InputError: no class is counted, or `most` is below 1.
    """
    areas = np.stack([class_areas(one, num_classes) for one in samples])
    # As a tensor: arrays of unknown types are widened to 64 bits on their way, which takes 8 bytes a pixel and sample.
    maps = torch.as_tensor(np.ascontiguousarray(samples))
    distances = joint_distances([maps], counted_classes).numpy()
    return readings_of(distances, areas, counted_classes, in_order_of_content(maps), most)


def readings_of(
    distances: Distances,
    areas: NDArray[np.int64],
    counted_classes: Sequence[int],
    order: Sequence[int],
    most: int | None,
) -> list[Reading]:
    """The same from the distances between samples `(N, N)`, their areas `(N, C)`, and the order in which equally good
    ones are taken."""
    is_empty = areas[:, list(counted_classes)].sum(1) == 0
    groups = group_samples(distances, is_empty, order, most)
    readings = [_reading(members, distances, areas) for members in groups]
    return sorted(readings, key=lambda reading: (-len(reading.members), reading.members))


def class_areas(labels: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Pixels of each class of a label map `(*spatial)`: `(C,)`. By blocks, since counting widens them to 64 bits."""
    flat = labels.reshape(-1)
    total = np.zeros(num_classes, np.int64)
    for start in range(0, flat.size, _BLOCK_PIXELS):
        total += np.bincount(flat[start : start + _BLOCK_PIXELS], minlength=num_classes)[:num_classes]
    return total


def group_samples(
    distances: Distances, is_empty: NDArray[np.bool_], order: Sequence[int], most: int | None = None
) -> list[NDArray[np.int64]]:
    """Groups of N samples: their numbers, by distances `(N, N)` and whether a sample is empty `(N,)`.

    Empty samples are a group, and the others are grouped without them, unless one group alone was asked for. Of samples
    that are equally good the one is taken that comes first in `order`.
    """
    if most is not None and most < 1:
        raise InputError(f"{most} readings were asked for: give 1 or more")
    ordered = np.array(order)
    empty, marked = np.flatnonzero(is_empty), ordered[~is_empty[ordered]]
    count = MAX_READINGS if most is None else most
    if not len(empty) or not len(marked) or count == 1:
        empty, marked = empty[:0], ordered
    else:
        count -= 1
    own = distances[np.ix_(marked, marked)]
    is_exact = most is not None or _are_few_and_apart(own, count)
    found = support(own, count, enough=0.0 if is_exact else ENOUGH)
    groups = nearest(own, found.members)
    parts = [empty, *(np.sort(marked[groups == number]) for number in range(len(found.members)))]
    return [part for part in parts if len(part)]


def _are_few_and_apart(distances: Distances, most: int) -> bool:
    """Whether there are no more different maps than that, each further than `AGREEMENT` from all others."""
    different = distinct(distances)
    others = distances[np.ix_(different, different)] + np.eye(len(different))
    return len(different) <= most and float(others.min()) > AGREEMENT


def same_maps(samples: NDArray[np.uint8]) -> list[list[int]]:
    """Equal maps among samples `(N, *spatial)`: the numbers of each, most frequent first, then in the order drawn.

    By a hash of each map's bytes: the time grows with their number, not with its square.
    """
    equal: dict[bytes, list[int]] = {}
    for number, one in enumerate(samples):
        equal.setdefault(hashlib.blake2b(np.ascontiguousarray(one).data, digest_size=16).digest(), []).append(number)
    return sorted(equal.values(), key=lambda members: (-len(members), members))


def _reading(members: NDArray[np.int64], distances: Distances, areas: NDArray[np.int64]) -> Reading:
    own, pairs = distances[np.ix_(members, members)], len(members) * (len(members) - 1)
    least, most = areas[members].min(0), areas[members].max(0)
    return Reading(
        members=tuple(members.tolist()),
        medoid=int(members[own.sum(1).round(9).argmin()]),  # of equals the first drawn
        share=len(members) / len(distances),
        mean_distance=float(own.sum()) / max(1, pairs),
        areas=tuple(zip(least.tolist(), most.tolist(), strict=True)),
    )
