"""Distances to the modes of an image whose classes flip at random: the raters are 2^K modes of known probabilities.

All follow in closed form from the joint histogram of a sample's labels and the annotator's: no mode is ever drawn. Only
the classes that flip and their twins count (Kohl et al., A Probabilistic U-Net, 2018, section 4.2 and appendix): IoU is
the mean over those of them that are in at least one of the two maps, and pixels that the annotator did not judge count
for nobody. With Y known exactly, the squared generalised energy distance is

    GED^2 = 2 sum_m w_m mean_n d(S_n, Y_m) - mean_nn' d(S_n, S_n') - sum_mm' w_m w_m' d(Y_m, Y_m')

which is mu / n in expectation for n independent draws from the modes, mu = sum_mm' w_m w_m' d(Y_m, Y_m').
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.sparse import eye_array, kron, vstack
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import Flip, mode_index, mode_table, switchable_classes
from plurimask.metrics.distance import joint_distances, mean_of_pairs, mean_over_classes
from plurimask.metrics.energy_distance import EnergyDistance
from plurimask.metrics.maps import Maps, label_maps
from plurimask.metrics.overlap import Overlap


class ModeDistances(NamedTuple):
    """All distances within one image, float64 on the CPU, from 0 to 1; NaN if the annotator judged no pixel."""

    crossed: Tensor  # (N, 2^K): between samples and modes
    modes: Tensor  # (2^K, 2^K): between modes
    weights: Tensor  # (2^K,): the probabilities of the modes
    samples: Tensor  # (N, N): between samples


class _Counts(NamedTuple):
    """Pixels of K classes among those that the annotator judged, float64 on the CPU."""

    annotated: Tensor  # (K,): of the annotator's class
    shown: Tensor  # (N, K, 2): that a map calls the class, and its twin
    shared: Tensor  # (N, K, 2): that a map calls the class, and its twin, within the annotator's class


def mode_distances(samples: Maps, label: Maps, flips: Sequence[Flip]) -> ModeDistances:
    """d = 1 - IoU of all pairs among the samples and the modes of one image.

    Class indices, from torch or numpy: samples `(N, *spatial)`, and the annotator's map `label` `(*spatial)` in the
    classes before flipping, of which K flip.

    Raises:
        InputError: shapes or types do not fit, or the annotator marked a twin class.
    """
    samples, label = label_maps(samples, "samples"), label_maps(label, "label")
    counts, (happens, weights) = _count(samples, label, flips), mode_table(flips)
    crossed = 1 - _overlaps(counts, happens)[1]
    between = _between_modes(counts.annotated > 0, happens)
    if bool((label == IGNORE).all()):
        crossed, between = torch.full_like(crossed, math.nan), torch.full_like(between, math.nan)
    return ModeDistances(
        crossed, between, weights, joint_distances([samples], switchable_classes(flips), label != IGNORE)
    )


def weighted_energy_distance(distances: ModeDistances) -> EnergyDistance[float]:
    """One image's figures, where the raters' distribution is known exactly.

    `ged` counts the pairs of a sample with itself, `ged_unbiased` leaves them out; the modes' own mean distance is
    exact in both. `ged_oracle` = mu / n; `rater_diversity` = mu, the mean distance of two independent raters.
    """
    num_samples = len(distances.samples)
    if num_samples == 0:
        return EnergyDistance(*(math.nan,) * 5)
    cross = 2 * float(distances.crossed.mean(0) @ distances.weights)
    spread = float(distances.weights @ distances.modes @ distances.weights)
    diversity = mean_of_pairs(distances.samples)
    return EnergyDistance(
        cross - float(distances.samples.mean()) - spread,
        cross - diversity - spread,
        spread / num_samples,
        diversity,
        spread,
    )


def ged_of_weighted_with_modes(distances: ModeDistances, weights: Tensor) -> float:
    """One image's GED of samples with weights `(N,)` of sum 1, where the raters' distribution is known exactly."""
    spread = distances.weights @ distances.modes @ distances.weights
    cross = weights @ distances.crossed @ distances.weights
    return float(2 * cross - weights @ distances.samples @ weights - spread)


def weighted_hungarian_iou(distances: ModeDistances) -> float:
    """The mean IoU of the best matching of samples and modes, from 0 to 1: optimal transport.

    Samples have equal weights and modes their probabilities; with equal weights on both sides it is
    `hungarian_iou_balanced`. NaN if there are no samples or no distances.
    """
    cost = distances.crossed.numpy()
    num_samples, num_modes = cost.shape
    if cost.size == 0 or bool(np.isnan(cost).any()):
        return math.nan
    leaving = kron(eye_array(num_samples), np.ones((1, num_modes)))
    arriving = kron(np.ones((1, num_samples)), eye_array(num_modes))
    masses = np.concatenate([np.full(num_samples, 1 / num_samples), distances.weights.numpy()])
    plan = linprog(cost.ravel(), A_eq=vstack([leaving, arriving]).tocsr(), b_eq=masses, method="highs")
    assert plan.success, f"optimal transport always has a solution, but: {plan.message}"
    return min(1.0, max(0.0, 1 - float(plan.fun)))


def mode_spread(label: Maps, flips: Sequence[Flip]) -> float | None:
    """mu: the mean distance of two independent raters of one image, 0 to 1.

    None if the annotator's map `(*spatial)` has none of the classes that flip: such images are left out of all figures.

    One class that is there and flips half of the time is in another mode half of the time, and then at distance 1:

        >>> import numpy as np
        >>> mode_spread(np.array([3, 3, 0]), [Flip(source=3, target=4, probability=0.5)])
        0.5
    """
    label = label_maps(label, "label")
    present = torch.stack([(label == flip.source).any() for flip in flips]).cpu()
    if not bool(present.any()):
        return None
    happens, weights = mode_table(flips)
    return float(weights @ _between_modes(present, happens) @ weights)


def expected_overlap(label_map: Maps, label: Maps, flips: Sequence[Flip]) -> Overlap:
    """Dice and IoU of one label map `(*spatial)`, the expectation over the modes of the means over classes, 0 to 1."""
    dice, iou = expected_overlaps(label_maps(label_map, "the label map")[None], label, flips)
    return Overlap(float(dice[0]), float(iou[0]))


def expected_overlaps(maps: Maps, label: Maps, flips: Sequence[Flip]) -> tuple[Tensor, Tensor]:
    """The same of several label maps `(N, *spatial)`: Dice and IoU, `(N,)` each, float64 on the CPU."""
    happens, weights = mode_table(flips)
    dice, iou = _overlaps(_count(maps, label, flips), happens)
    return dice @ weights, iou @ weights


def flip_counts(samples: Maps, label: Maps, flips: Sequence[Flip]) -> Tensor:
    """Of the annotator's pixels of each class, how many all samples together call the class and its twin.

    Returns:
        `(K, 2)`, int64 on the CPU, class and twin: twin / (class + twin) estimates the flip's probability.
    """
    return _count(samples, label, flips).shared.sum(0).long()


def sample_modes(samples: Maps, label: Maps, flips: Sequence[Flip]) -> tuple[Tensor, Tensor]:
    """The mode that each sample shows: a class is flipped where more of the annotator's pixels are twin than class.

    Returns:
        Indices into `mode_table`, long `(N,)`, and which classes the annotator marked, bool `(K,)`, both on the CPU. A
        class that is absent cannot be seen to flip and counts as not flipped.
    """
    counts = _count(samples, label, flips)
    return mode_index(counts.shared[..., 1] > counts.shared[..., 0]), counts.annotated > 0


def _check(samples: Tensor, label: Tensor, flips: Sequence[Flip]) -> None:
    if samples.shape[1:] != label.shape:
        raise InputError(f"samples {tuple(samples.shape)} and label {tuple(label.shape)} differ in their spatial shape")
    if not flips:
        raise InputError("no class flips: evaluate such images by evaluate_image")
    for flip in flips:
        if bool((label == flip.target).any()):
            raise InputError(
                f"the annotator's map holds class {flip.target}, the twin of class {flip.source}: "
                "give the map before any flip"
            )


def _count(samples: Maps, label: Maps, flips: Sequence[Flip]) -> _Counts:
    maps, label = label_maps(samples, "samples"), label_maps(label, "label")
    _check(maps, label, flips)
    valid, num_columns = label != IGNORE, len(flips) + 1
    # Labels as columns of the histogram: k for the class of flip k, K for all others.
    table = torch.full((256,), len(flips), dtype=torch.long, device=label.device)
    sources, targets = (torch.tensor(indices) for indices in zip(*((f.source, f.target) for f in flips), strict=True))
    table[sources.to(label.device)] = torch.arange(len(flips), device=label.device)
    columns = table[label[valid].long()]
    joint = columns.new_zeros(len(maps), 256 * num_columns)
    for counts, one in zip(joint, maps, strict=True):
        counts += torch.bincount(one[valid].long() * num_columns + columns, minlength=256 * num_columns)
    joint = joint.view(len(maps), 256, num_columns).cpu().double()
    called = torch.stack([joint[:, sources], joint[:, targets]], dim=2)  # (N, K, 2, K + 1)
    own = torch.arange(len(flips))[None, :, None, None].expand(len(maps), -1, 2, 1)
    annotated = torch.bincount(columns, minlength=num_columns)[: len(flips)].cpu().double()
    return _Counts(annotated, called.sum(3), called.gather(3, own)[..., 0])


def _overlaps(counts: _Counts, happens: Tensor) -> tuple[Tensor, Tensor]:
    """Dice and IoU `(N, 2^K)` between maps and modes; 1 where neither has any of the classes."""
    # [..., flipped, id]: the mode has the annotator's pixels under the class if not flipped, else under its twin.
    has = torch.eye(2, dtype=torch.float64)
    both = counts.shared[:, :, None] * has
    areas = counts.shown[:, :, None] + counts.annotated[None, :, None, None] * has
    dice, iou, present = 2 * both / areas.clamp(min=1), both / (areas - both).clamp(min=1), (areas > 0).double()
    yes = happens.double()
    # Sums over the classes and their twins, each flipped as it is in the mode.
    dice, iou, number = (
        each.sum(3)[..., 0] @ (1 - yes).T + each.sum(3)[..., 1] @ yes.T for each in (dice, iou, present)
    )
    return mean_over_classes(dice, number), mean_over_classes(iou, number)


def _between_modes(present: Tensor, happens: Tensor) -> Tensor:
    """d between modes, of which only the present classes `(K,)` show anything: `(2^K, 2^K)`, float64.

    A class that agrees is one id with IoU 1, one that does not is two ids with IoU 0.
    """
    if not bool(present.any()):
        return torch.zeros(len(happens), len(happens), dtype=torch.float64)
    yes = happens[:, present].double()
    agreeing = yes @ yes.T + (1 - yes) @ (1 - yes).T
    return 1 - agreeing / (2 * int(present.sum()) - agreeing)
