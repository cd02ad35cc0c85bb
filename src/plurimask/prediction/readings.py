"""Readings: the few different masks that many samples of one image amount to.

Samples are grouped by d = 1 - IoU. Cuts of an average-linkage tree into two to five groups are tried, and one is taken
only where the distances bear it out (`MIN_SILHOUETTE`, `MIN_ISOLATION`, `MAX_SPREAD`); else the samples are one
reading. Nothing is drawn at random. Each reading is shown by its medoid, a map that was sampled, not by a mean that
nobody would draw.

Silhouette: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", J.
Comput. Appl. Math. 20, 1987; from 0.5 on a grouping is held to be reasonable (Kaufman and Rousseeuw, 1990).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from plurimask.metrics.distance import joint_distances

MAX_READINGS = 5
AGREEMENT = 0.1
"""Maps of a smaller d (IoU above 0.9) are one reading; it is also the least extent that a group is taken to have."""
MIN_SILHOUETTE = 0.5
"""Mean over samples of how much nearer a sample is to its own group than to the next, from -1 to 1."""
MIN_ISOLATION = 2.0
"""From a group to the nearest other sample it is so many times as far as the longest step inside the group."""
MAX_SPREAD = 0.5
"""Where two samples are further apart in the mean, no single map can stand for all: isolation is not asked then."""
RULE = (
    f"samples are grouped by d = 1 - IoU into at most {MAX_READINGS} readings: several only where groups are further "
    f"apart than d = {AGREEMENT}, their mean silhouette is at least {MIN_SILHOUETTE}, and each is set apart by "
    f"{MIN_ISOLATION} times its own longest step or the mean d of all is above {MAX_SPREAD}; empty maps are a reading "
    "of their own; a reading's map is its medoid"
)

_BLOCK_PIXELS = 2**20

Distances: TypeAlias = NDArray[np.float64]


class Reading(NamedTuple):
    """A group of samples of one image that show the same thing."""

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


def find_readings(samples: NDArray[np.uint8], counted_classes: Sequence[int], num_classes: int) -> list[Reading]:
    """The readings among samples `(N, H, W)` of one image, the one of the largest share first: one to five.

    Args:
        samples: class indices, N at least 1.
        counted_classes: the class indices that count, without the background.
        num_classes: C, with the background.

    Raises:
        InputError: no class is counted.
    """
    areas = np.stack([class_areas(one, num_classes) for one in samples])
    # As a tensor: arrays of unknown types are widened to 64 bits on their way, which takes 8 bytes a pixel and sample.
    distances = joint_distances([torch.as_tensor(np.ascontiguousarray(samples))], counted_classes).numpy()
    is_empty = areas[:, list(counted_classes)].sum(1) == 0
    readings = [_reading(members, distances, areas) for members in group_samples(distances, is_empty)]
    return sorted(readings, key=lambda reading: (-len(reading.members), reading.members))


def class_areas(labels: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Pixels of each class of a label map `(*spatial)`: `(C,)`. By blocks, since counting widens them to 64 bits."""
    flat = labels.reshape(-1)
    total = np.zeros(num_classes, np.int64)
    for start in range(0, flat.size, _BLOCK_PIXELS):
        total += np.bincount(flat[start : start + _BLOCK_PIXELS], minlength=num_classes)[:num_classes]
    return total


def group_samples(distances: Distances, is_empty: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Groups of N samples: their numbers, by distances `(N, N)` and whether a sample is empty `(N,)`.

    Empty samples are a group, and the others are grouped without them.
    """
    empty, marked = np.flatnonzero(is_empty), np.flatnonzero(~is_empty)
    if not len(empty) or not len(marked):
        return _split(distances, np.arange(len(distances)), MAX_READINGS)
    return [empty, *_split(distances, marked, MAX_READINGS - 1)]


def same_maps(samples: NDArray[np.uint8]) -> list[list[int]]:
    """Equal maps among samples `(N, *spatial)`: the numbers of each, most frequent first, then in the order drawn.

    By a hash of each map's bytes: the time grows with their number, not with its square.
    """
    equal: dict[bytes, list[int]] = {}
    for number, one in enumerate(samples):
        equal.setdefault(hashlib.blake2b(np.ascontiguousarray(one).data, digest_size=16).digest(), []).append(number)
    return sorted(equal.values(), key=lambda members: (-len(members), members))


def _split(distances: Distances, members: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """The members in the groups of the best cut that is borne out; all of them together if none is."""
    own = distances[np.ix_(members, members)]
    if own.max() <= AGREEMENT:
        return [members]
    is_wide = own.sum() > MAX_SPREAD * len(own) * (len(own) - 1)
    tree = hierarchy.linkage(squareform(own, checks=False), "average")
    best, labels = MIN_SILHOUETTE, np.ones(len(members), np.int64)
    for count in range(2, min(most, len(members)) + 1):
        cut = hierarchy.fcluster(tree, count, "maxclust")
        if cut.max() < count or not (is_wide or _are_apart(own, cut)):
            continue
        if (score := silhouette(own, cut)) >= best:
            # of equals the first, with the fewest groups: a tiny step up, since sums round differently
            best, labels = score + 1e-9, cut
    return [members[labels == label] for label in np.unique(labels)]


def silhouette(distances: Distances, labels: NDArray[np.int64]) -> float:
    """The mean silhouette of N samples in groups 1 to k, at least two: (b - a) / max(a, b), from -1 to 1.

    a is a sample's mean distance to the others of its group, at least `AGREEMENT`; b that to the nearest other group.
    So, other than by Rousseeuw, one that is alone counts as a group of small extent, not as 0.
    """
    groups = np.unique(labels)
    is_member = labels[:, None] == groups  # (N, k)
    totals, sizes = distances @ is_member, is_member.sum(0)
    own = totals[is_member] / np.maximum(sizes[is_member.argmax(1)] - 1, 1)
    own = np.maximum(own, AGREEMENT)
    other = np.where(is_member, np.inf, totals / sizes).min(1)
    return float(((other - own) / np.maximum(own, other)).mean())


def _are_apart(distances: Distances, labels: NDArray[np.int64]) -> bool:
    """Whether each group is further from the nearest other sample than its own members are from each other."""
    for label in np.unique(labels):
        inside = labels == label
        nearest = distances[np.ix_(inside, ~inside)].min()
        own, longest_step = distances[np.ix_(inside, inside)], 0.0
        if len(own) > 1:
            longest_step = hierarchy.linkage(squareform(own, checks=False), "single")[:, 2].max()
        if nearest <= AGREEMENT or nearest < MIN_ISOLATION * longest_step:
            return False
    return True


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
