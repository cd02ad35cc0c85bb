"""The few label maps with weights that stand best for many: support points.

Of n draws with masses p (1/n each) and their distances d = 1 - IoU, a subset with weights w is at the squared energy
distance

    D^2(w) = 2 sum_ij w_i p_j d_ij - sum_ij w_i w_j d_ij - sum_ij p_i p_j d_ij = (w - p)' K (w - p),     K = 1 - d

from all of them: the distance that GED squared takes from the raters. `support` looks for the subset of at most k with
the least, from the matrix of distances alone: greedily, then by exchanging one at a time, as long as that helps, from
several starts. The weights of each subset are exact (`plurimask.sets.simplex`): K is positive semidefinite, for one
class as the kernel of Jaccard, for several as the product of two such kernels, sum_c IoU_c and 1 / |classes in either|.

What one more map j brings to a subset is known for all j at once, but for the signs of the weights: with
x = (w, m) of the linear system of the subset's face, M its matrix and c = (K_j, 1), the minimum falls by

    (a_j - c' x)^2 / (K_jj - c' M^-1 c),     a = K p

which is exact where the new weights are not negative and a bound where they are; only there the program is solved.

Support points: Mak and Joseph, Annals of Statistics 46, 2018. The kernel: Bouchard, Jousselme and Dore, International
Journal of Approximate Reasoning 54, 2013.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.errors import InputError
from plurimask.sets.distance import joint_distances
from plurimask.sets.simplex import RIDGE, Numbers, face_system, simplex_weights

EQUAL = 1e-12
"""Maps at no larger d are one."""
GAIN = 1e-10
"""An exchange that brings less is not made."""
STARTS, MANY = 4, 16
"""The search begins so often anew; less often where more than MANY / STARTS maps are sought, each taking its time."""
_FLAT = 1e-8
"""A map whose row of K depends on those of a subset to that extent adds nothing to it."""


class Support(NamedTuple):
    """Some of n draws, with weights."""

    members: tuple[int, ...]
    """Their numbers, the one of the largest weight first; of equal weights the lower number."""
    weights: tuple[float, ...]
    """Positive, of sum 1."""
    distance: float
    """The squared energy distance between them and all n, 0 to 1."""


class Representatives(NamedTuple):
    """Of each of B images the maps that stand best for its draws, the one of the largest weight first.

    An image that needs fewer than the others has its first map again, with weight 0.
    """

    maps: Tensor
    """`(k, B, *spatial)`, uint8."""
    weights: Tensor
    """`(k, B)`, float64 on the CPU: from 0 to 1, of sum 1 over the k. They are what makes the distance small, and more
    even than the shares: a map counts for less where the draws around it differ."""
    shares: Tensor
    """`(k, B)`, so too: the share of the draws that are nearest to each map. It is what to tell people."""
    draws: Tensor
    """`(k, B)`, whole numbers on the CPU: which of the draws they are."""
    distance: Tensor
    """`(B,)`, float64 on the CPU: the squared energy distance that is left between them and all draws, 0 to 1."""


class _Subset(NamedTuple):
    members: list[int]
    weights: Numbers
    value: float
    """w' K w - 2 a' w."""


def support(distances: Numbers, most: int, masses: Numbers | None = None, enough: float = 0.0) -> Support:
    """The at most k of n draws that stand best for all of them.

    Args:
        distances: d between the draws, `(n, n)`, symmetric, 0 on the diagonal, of negative type as 1 - IoU is.
        most: k, at least 1. Fewer come back where further ones would have no weight, and all distinct draws with their
            shares where they are no more than k.
        masses: of the draws, `(n,)`, positive; equal if not given.
        enough: no more are sought where so many are at no larger distance from all draws.

    Raises:
        InputError: k is less than 1.

    Two draws of three are equal, so they are one:

        >>> support(np.array([[0.0, 0.8, 0.0], [0.8, 0.0, 0.8], [0.0, 0.8, 0.0]]), 2)
        Support(members=(0, 1), weights=(0.6666666666666666, 0.3333333333333333), distance=0.0)
    """
    if most < 1:
        raise InputError(f"{most} representatives were asked for: give 1 or more")
    shares = np.full(len(distances), 1.0) if masses is None else np.asarray(masses, np.float64)
    shares = shares / shares.sum()
    different = distinct(distances)
    mass = np.bincount(nearest(distances, different), shares).astype(np.float64)
    kernel = 1 - distances[np.ix_(different, different)]
    pull = kernel @ mass
    most = min(most, len(different))
    for count in range(1 if enough > 0 else most, most + 1):
        found = _best_subset(kernel, pull, count) if count < len(mass) else _all_of_them(mass, pull)
        distance = max(0.0, found.value + float(mass @ pull))
        if distance <= enough:
            break
    weighed = zip(found.members, found.weights.tolist(), strict=True)
    kept = sorted((-round(weight, 9), member, weight) for member, weight in weighed if weight > 0)
    members = tuple(int(different[member]) for _, member, _ in kept)
    return Support(members, tuple(weight for *_, weight in kept), distance)


def in_order_of_content(maps: Tensor) -> list[int]:
    """The numbers of label maps `(N, *spatial)` in an order that depends on each map alone, not on their order."""
    digests = [hashlib.blake2b(one.contiguous().cpu().numpy().data, digest_size=16).digest() for one in maps]
    return sorted(range(len(digests)), key=digests.__getitem__)


def representative_maps(
    maps: Tensor, counted_classes: Sequence[int], most: int, masses: Numbers | None = None
) -> Support:
    """The at most k of the label maps `(N, *spatial)`, uint8, of one image that stand best for all of them.

    Which these are depends on neither chance nor the order of the maps. Of several that differ in classes only that do
    not count, one is taken. The further arguments and errors are as for `support` and `joint_distances`.
    """
    return _in_order(maps, joint_distances([maps], counted_classes).numpy(), most, masses)


def representatives_of_batch(
    maps: Tensor, counted_classes: Sequence[int], most: int, masses: Tensor
) -> Representatives:
    """The same for label maps `(N, B, *spatial)` of B images, of masses `(N,)` that are common to all."""
    mass, found, shares = masses.double().cpu().numpy(), [], []
    for own in maps.unbind(1):
        distances = joint_distances([own], counted_classes).numpy()
        found.append(one := _in_order(own, distances, most, mass))
        shares.append(np.bincount(nearest(distances, one.members), mass / mass.sum(), len(one.members)).tolist())
    count = max(len(one.members) for one in found)
    draws = torch.tensor([[*one.members, *one.members[:1] * (count - len(one.members))] for one in found]).T
    shown = [own[index.to(own.device)] for own, index in zip(maps.unbind(1), draws.unbind(1), strict=True)]
    return Representatives(
        torch.stack(shown, 1),
        _columns([one.weights for one in found], count),
        _columns(shares, count),
        draws,
        torch.tensor([one.distance for one in found], dtype=torch.float64),
    )


def distinct(distances: Numbers) -> NDArray[np.int64]:
    """The first of each of the different maps among n draws, by distances `(n, n)`."""
    return np.unique((distances <= EQUAL).argmax(1))


def nearest(distances: Numbers, members: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of some of n draws each is nearest to, `(n,)`, by distances `(n, n)`; of equals the first of them."""
    found: NDArray[np.int64] = distances[:, list(members)].argmin(1)
    return found


def _in_order(maps: Tensor, distances: Numbers, most: int, masses: Numbers | None) -> Support:
    """`support`, of the maps in an order that does not depend on theirs."""
    order = in_order_of_content(maps)
    found = support(distances[np.ix_(order, order)], most, None if masses is None else masses[order])
    return found._replace(members=tuple(order[member] for member in found.members))


def _columns(rows: Sequence[Sequence[float]], count: int) -> Tensor:
    """Rows of different lengths as the columns `(count, B)` of a matrix, with zeros at their ends."""
    return torch.tensor([[*row, *[0.0] * (count - len(row))] for row in rows], dtype=torch.float64).T


def _all_of_them(mass: Numbers, pull: Numbers) -> _Subset:
    return _Subset([*range(len(mass))], mass, -float(mass @ pull))


def _best_subset(kernel: Numbers, pull: Numbers, most: int) -> _Subset:
    """The best of some that begin differently: with the best single map, the worst, and some in between."""
    ranking = np.argsort(-pull.round(12), kind="stable")
    places = np.linspace(0, len(ranking) - 1, min(STARTS, max(1, MANY // most))).astype(int)
    firsts = [int(ranking[place]) for place in np.unique(places)]
    found = [_exchanged(_greedy(first, kernel, pull, most), kernel, pull) for first in firsts]
    return min(found, key=lambda subset: round(subset.value, 12))


def _greedy(first: int, kernel: Numbers, pull: Numbers, most: int) -> _Subset:
    """A subset that begins with a map, and takes the best one more until nothing helps or it has k."""
    subset = _Subset([first], np.ones(1), float(1 - 2 * pull[first]))
    while len(subset.members) < most:
        larger = _with_one_more([subset.members], kernel, pull, subset.value)
        if larger is None:
            break
        subset = larger
    return subset


def _exchanged(subset: _Subset, kernel: Numbers, pull: Numbers) -> _Subset:
    """The subset after all exchanges of one member that help, the best first."""
    while True:
        members = subset.members
        rest = [[*members[:place], *members[place + 1 :]] for place in range(len(members))]
        better = _with_one_more(rest, kernel, pull, subset.value)
        if better is None:
            return subset
        subset = better


def _with_one_more(bases: list[list[int]], kernel: Numbers, pull: Numbers, least: float) -> _Subset | None:
    """The best of all subsets that are one of the bases, which are of one size, and one more map; None if its value is
    not below `least`. Programs are solved while a bound promises more."""
    index = np.array(bases, np.int64)
    bounds = np.stack([_bounds(kernel[np.ix_(base, base)], kernel[base], pull[base], pull) for base in index])
    np.put_along_axis(bounds, index, np.inf, axis=1)
    best, least = None, least - GAIN
    for place in np.argsort(bounds.round(12), axis=None, kind="stable"):
        row, column = divmod(int(place), len(kernel))
        if bounds[row, column] >= least:
            break
        members = sorted([*bases[row], column])
        own_kernel, own_pull = kernel[np.ix_(members, members)], pull[members]
        weights = simplex_weights(own_kernel, own_pull)
        value = float(weights @ own_kernel @ weights - 2 * own_pull @ weights)
        if value < least:
            best, least = _Subset(members, weights, value), value
    return best


def _bounds(own_kernel: Numbers, rows: Numbers, own_pull: Numbers, pull: Numbers) -> Numbers:
    """For each of n maps a bound of the least value of a subset of m and that map, `(n,)`: the minimum where weights
    may be negative."""
    if not len(rows):
        return 1 - 2 * pull
    inverse = np.linalg.inv(face_system(own_kernel))
    targets, columns = np.append(own_pull, 1.0), np.vstack([rows, np.ones(len(pull))])
    at_base = inverse @ targets
    slopes = pull - at_base @ columns
    curvature = 1 + RIDGE - (columns * (inverse @ columns)).sum(0)
    gains = np.where(curvature > _FLAT, slopes**2 / np.maximum(curvature, _FLAT), 0)
    bounds: Numbers = -(at_base @ targets) - gains
    return bounds
