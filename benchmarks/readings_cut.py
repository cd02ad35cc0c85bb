"""Readings as groups of samples that a tree of their distances bears out: what representatives are held against.

Cuts of an average-linkage tree into two to five groups are tried; the one of the largest mean silhouette is taken, from
0.5 on (Rousseeuw 1987), where each group is set apart by twice its longest step, or where two samples are at more than
d = 0.5 in the mean. Empty samples are a group of their own.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

Numbers: TypeAlias = NDArray[np.float64]

MAX_GROUPS, AGREEMENT, MIN_SILHOUETTE, MIN_ISOLATION, MAX_SPREAD = 5, 0.1, 0.5, 2.0, 0.5


def cut_groups(distances: Numbers, is_empty: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Groups of N samples: their numbers, by distances `(N, N)` and whether a sample is empty `(N,)`."""
    empty, marked = np.flatnonzero(is_empty), np.flatnonzero(~is_empty)
    if not len(empty) or not len(marked):
        return _split(distances, np.arange(len(distances)), MAX_GROUPS)
    return [empty, *_split(distances, marked, MAX_GROUPS - 1)]


def _split(distances: Numbers, members: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
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
        if (score := _silhouette(own, cut)) >= best:
            best, labels = score + 1e-9, cut
    return [members[labels == label] for label in np.unique(labels)]


def _silhouette(distances: Numbers, labels: NDArray[np.int64]) -> float:
    """The mean of (b - a) / max(a, b): a is the distance to the others of its group, b that to the nearest group."""
    is_member = labels[:, None] == np.unique(labels)
    totals, sizes = distances @ is_member, is_member.sum(0)
    own = np.maximum(totals[is_member] / np.maximum(sizes[is_member.argmax(1)] - 1, 1), AGREEMENT)
    other = np.where(is_member, np.inf, totals / sizes).min(1)
    return float(((other - own) / np.maximum(own, other)).mean())


def _are_apart(distances: Numbers, labels: NDArray[np.int64]) -> bool:
    for label in np.unique(labels):
        inside = labels == label
        gap = distances[np.ix_(inside, ~inside)].min()
        own = distances[np.ix_(inside, inside)]
        step = hierarchy.linkage(squareform(own, checks=False), "single")[:, 2].max() if len(own) > 1 else 0.0
        if gap <= AGREEMENT or gap < MIN_ISOLATION * step:
            return False
    return True
