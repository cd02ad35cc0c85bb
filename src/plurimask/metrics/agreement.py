"""What a method's figures are held against: samples and raters in pairs, and masks that mark nothing.

A rater's map is as good a prediction as there can be of another rater's, so the Dice between two raters is what a
sample can reach; a map that marks nothing is what anybody can give. Between both lies how much a method has learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from plurimask.metrics.distance import mean_of_pairs
from plurimask.metrics.energy_distance import ImageDistances, energy_distance
from plurimask.metrics.maps import is_counted


class Agreement(NamedTuple):
    """Of one image; Dice and shares from 0 to 1. NaN where a figure does not exist."""

    sample_dice: float
    """Mean over all pairs of a sample and a present rater."""
    rater_dice: float
    """Mean over pairs of different raters; NaN for one rater."""
    empty_dice: float
    """Of a map that marks nothing with each rater, their mean."""
    empty_ged: float
    """Of samples that all mark nothing."""
    empty_samples: float
    """The share of the samples that mark nothing."""
    empty_raters: float
    """The share of the raters' maps that do."""


def empty_map(votes: Tensor, counted_classes: Sequence[int]) -> Tensor:
    """A label map `(*spatial)`, uint8, that marks nothing: one class everywhere, of those that do not count, such as
    the background, the one that raters chose most. Where all classes count it is the most chosen of all.

    `votes` `(C, *spatial)`: how many raters chose each class.
    """
    counts = votes.flatten(1).sum(1).double()
    others = [index for index in range(len(counts)) if index not in counted_classes] or [*range(len(counts))]
    chosen = others[int(counts[others].argmax())]
    return votes.new_full(votes.shape[1:], chosen).byte()


def agreement(dice: Tensor, distances: Tensor, marks: Tensor, num_samples: int) -> Agreement:
    """One image's figures.

    Args:
        dice, distances: of all pairs among the n samples, the m present raters and an empty map, in this order,
            `(n + m + 1, n + m + 1)`.
        marks: which of the samples and raters mark a counted class in a pixel that counts, bool `(n + m,)`.
        num_samples: n.
    """
    if len(dice) < num_samples + 2 or bool(dice.isnan().any()):  # nobody judged the image
        return Agreement(*(math.nan,) * 6)
    samples, raters, empty = slice(num_samples), slice(num_samples, -1), slice(-1, None)
    of_empty = ImageDistances(*(distances[pair] for pair in ((empty, empty), (empty, raters), (raters, raters))))
    return Agreement(
        float(dice[samples, raters].mean()),
        mean_of_pairs(dice[raters, raters]),
        float(dice[empty, raters].mean()),
        energy_distance(of_empty).ged,
        1 - float(marks[:num_samples].double().mean()),
        1 - float(marks[num_samples:].double().mean()),
    )


def marks_anything(maps: Tensor, counted_classes: Sequence[int], valid: Tensor) -> Tensor:
    """Which of the label maps `(N, *spatial)` have a counted class in a valid pixel, bool `(N,)` on the CPU."""
    return (is_counted(maps, counted_classes) & valid).flatten(1).any(1).cpu()
