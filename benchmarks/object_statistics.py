"""Objects that a reader counts one by one: how often samples show each, whether together or each on its own.

An image holds k objects; a sample shows object j if more than half of the object's pixels are foreground in it. Where
the objects are known to be present independently of each other with probabilities p_j, samples of the right
distribution show each with frequency p_j, no two of them correlated, and in as many different combinations as
independent draws have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics.maps import Maps, label_maps, numbers

MAX_OBJECTS = 20
"""All 2^k combinations of more objects are too many to enumerate."""

_MAX_CHUNK_PIXELS = 2**24


class ObjectStatistics(NamedTuple):
    """How N samples of one image show its k objects."""

    frequencies: Tensor
    """`(k,)` float64: the share of the samples that show each object."""
    frequency_error: float
    """Mean over the objects of the absolute difference between frequency and probability, 0 to 1."""
    correlations: Tensor
    """`(k, k)` float64: Pearson's, between -1 and 1. NaN in the row and column of an object that is in all samples or
    in none of them, on the diagonal too: it has no correlation, which is not the same as being independent."""
    mean_absolute_correlation: float
    """Over the pairs of different objects that have a correlation, 0 to 1; NaN if there is no such pair."""
    num_constant: int
    """How many objects are in all samples or in none. Where this is not 0, the mean above is of the others alone."""
    distinct_modes: int
    """How many different combinations of objects the samples show, 1 to min(N, 2^k)."""


def object_coverage(samples: Maps, regions: Maps) -> Tensor:
    """The share of each object's pixels that is foreground (not of class 0) in each sample, `(N, k)` float64, 0 to 1.

    Args:
        samples: `(N, *spatial)`, class indices or bool, from torch or numpy, every pixel judged.
        regions: `(k, *spatial)`, bool: the pixels of each object, at least one of each.

    Raises:
        InputError: shapes or types do not fit, an object has no pixel, or a sample holds IGNORE.
    """
    samples, regions = label_maps(samples, "samples"), numbers(regions)
    if regions.dtype != torch.bool:
        raise InputError(f"regions must be bool, not {regions.dtype}")
    if samples.ndim < 2 or samples.shape[1:] != regions.shape[1:]:
        raise InputError(
            f"samples must be (N, *spatial) and regions (k, *spatial) of the same image, "
            f"not {tuple(samples.shape)} and {tuple(regions.shape)}"
        )
    pixels = regions.flatten(1).to(samples.device)
    sizes = pixels.sum(1)
    if not bool((sizes > 0).all()):
        empty = (sizes == 0).nonzero()[:, 0].tolist()
        raise InputError(f"regions {empty} have no pixel: leave out objects that are not in the image")
    if bool((samples == IGNORE).any()):
        raise InputError(f"samples hold {IGNORE}, pixels that nobody judged: leave out such maps, as absent raters")
    weights = pixels.float().T  # (P, k); counts below 2^24 are exact in float32
    step = max(1, _MAX_CHUNK_PIXELS // len(weights))
    starts = range(0, max(1, len(samples)), step)
    counts = [(samples[start : start + step].flatten(1) != 0).float() @ weights for start in starts]
    return torch.cat(counts).double() / sizes


def object_presence(samples: Maps, regions: Maps) -> Tensor:
    """Whether each sample shows each object: more than half of its pixels are foreground. `(N, k)` bool.

    Args:
        samples: `(N, *spatial)`, class indices or bool, from torch or numpy, every pixel judged.
        regions: `(k, *spatial)`, bool: the pixels of each object, at least one of each.

    Raises:
        InputError: as `object_coverage`.

        >>> import numpy as np
        >>> regions = np.array([[True, True, False, False], [False, False, True, True]])
        >>> object_presence(np.array([[1, 1, 0, 0], [1, 0, 1, 1]]), regions)
        tensor([[ True, False],
                [False,  True]])
    """
    return object_coverage(samples, regions) > 0.5


def object_statistics(presence: Tensor, probabilities: Tensor) -> ObjectStatistics:
    """Frequencies, correlations and combinations of the objects in the samples of one image.

    Args:
        presence: `(N, k)` bool, as `object_presence` gives it; at least one sample and one object.
        probabilities: `(k,)`: the true probability of each object, 0 to 1.

    Raises:
        InputError: shapes or types do not fit, or a probability is not from 0 to 1.
    """
    if presence.dtype != torch.bool or presence.ndim != 2 or 0 in presence.shape:
        raise InputError(f"presence must be (N, k) bool, not {tuple(presence.shape)} {presence.dtype}")
    expected = _checked(probabilities)
    if len(expected) != presence.shape[1]:
        raise InputError(f"{len(expected)} probabilities for {presence.shape[1]} objects: give one for each")
    seen = presence.detach().cpu()
    frequencies = seen.double().mean(0)
    constant = (seen == seen[0]).all(0)
    deviations = seen.double() - frequencies
    lengths = deviations.square().sum(0).sqrt().masked_fill(constant, math.nan)
    correlations = ((deviations.T @ deviations) / lengths / lengths[:, None]).clamp(-1, 1)
    varying = correlations[~constant][:, ~constant]
    above = varying.triu(1).abs()  # each pair once
    num = len(varying)
    return ObjectStatistics(
        frequencies,
        float((frequencies - expected).abs().mean()),
        correlations,
        float(above.sum()) / (num * (num - 1) / 2) if num > 1 else math.nan,
        int(constant.sum()),
        len(torch.unique(seen, dim=0)),
    )


def chance_correlation(num_samples: int) -> float:
    """The expected absolute correlation of two independent objects in N samples, about sqrt(2 / (pi (N - 1))).

    Pearson's correlation of independent draws is nearly normal around 0 with variance 1 / (N - 1).

    Raises:
        InputError: for fewer than 2 samples.
    """
    if num_samples < 2:
        raise InputError(f"{num_samples} samples have no correlation: give at least 2")
    return math.sqrt(2 / (math.pi * (num_samples - 1)))


def distinct_modes_curve(presence: Tensor, numbers: Sequence[int]) -> list[int]:
    """How many different combinations of objects are among the first n samples, for each n of `numbers`.

    Args:
        presence: `(N, k)` bool.
        numbers: each from 1 to N.

    Raises:
        InputError: a number is out of its range.
    """
    if any(not 1 <= number <= len(presence) for number in numbers):
        raise InputError(f"numbers of samples must be from 1 to the {len(presence)} that there are, not {numbers}")
    _, mode = torch.unique(presence.detach().cpu(), dim=0, return_inverse=True)
    order = torch.arange(len(mode))
    first = torch.full((int(mode.max()) + 1,), len(mode)).scatter_reduce(0, mode, order, "amin")
    return [int((first < number).sum()) for number in numbers]


def expected_distinct_modes(probabilities: Tensor, numbers: Sequence[int]) -> list[float]:
    """How many different combinations n draws of independent objects hold on average, for each n of `numbers`.

    Exact: the sum over all 2^k combinations of the probability 1 - (1 - P)^n that a draw is one of them.

    Args:
        probabilities: `(k,)`, 0 to 1, of at most 20 objects.
        numbers: each at least 1.

    Raises:
        InputError: a value is out of its range.
    """
    objects = _checked(probabilities)
    if len(objects) > MAX_OBJECTS:
        raise InputError(f"{len(objects)} objects have 2^{len(objects)} combinations: at most {MAX_OBJECTS} objects")
    if any(number < 1 for number in numbers):
        raise InputError(f"numbers of draws must be at least 1, not {numbers}")
    modes = torch.ones(1, dtype=torch.float64)
    for probability in objects:
        modes = torch.cat([modes * (1 - probability), modes * probability])
    # expm1 and log1p: in 1 - (1 - P)^n the smallest P would be lost.
    return [float(-torch.expm1(number * torch.log1p(-modes)).sum()) for number in numbers]


def _checked(probabilities: Tensor) -> Tensor:
    values = probabilities.detach().cpu().double()
    if values.ndim != 1 or not bool(((values >= 0) & (values <= 1)).all()):
        raise InputError(f"probabilities must be a vector of values from 0 to 1, not {probabilities}")
    return values
