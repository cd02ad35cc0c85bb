"""Sparsification: how the errors that are left become fewer as the most uncertain pixels are removed.

Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV 2018. There the error of a pixel
is a length; here it is 0 or 1, whether a label is wrong, so that the mean error is the share of wrong labels. The
oracle removes the wrong ones first. The area between the curve and the oracle's (AUSE) says how far an uncertainty is
from ranking the errors as well as can be, for the errors that this prediction makes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plurimask.metrics.error_detection import ErrorHistogram

NUM_SHARES = 100
"""Points of a curve: 0, 1, ... 99 % removed."""


class Sparsification(NamedTuple):
    """A curve `(100,)`, float64, and the oracle's for the same errors."""

    removed: NDArray[np.float64]
    """The share of the pairs of a judged pixel and a rater that is removed, the most uncertain first: 0 to 0.99."""
    error: NDArray[np.float64]
    """The share of wrong pairs among those that are left, 0 to 1. NaN if there are no pairs."""
    oracle: NDArray[np.float64]
    """The same where wrong pairs are removed before right ones."""

    def ause(self) -> float:
        """The area between both curves, each divided by the error where nothing is removed.

        0 is the oracle; a random order scores below 1 by about half the share of errors, and one that misleads above
        that. NaN without errors.
        """
        if not self.error[0] > 0:
            return math.nan
        gap = (self.error - self.oracle) / self.error[0]
        return float(((gap[1:] + gap[:-1]) / 2 * np.diff(self.removed)).sum())


def sparsification(histogram: ErrorHistogram) -> Sparsification:
    """The curve of an uncertainty from its counts of right and wrong pairs.

    Pairs in one bin are removed in random order: the curve is the expectation.
    """
    right, wrong = (counts.cpu().double().numpy() for counts in histogram)
    total, errors = float((right + wrong).sum()), float(wrong.sum())
    removed = np.arange(NUM_SHARES) / NUM_SHARES
    if not total > 0:
        nothing = np.full(NUM_SHARES, math.nan)
        return Sparsification(removed, nothing, nothing.copy())
    kept = (1 - removed) * total
    # Among the least uncertain `kept` pairs; within a bin wrong pairs grow in proportion.
    wrong_kept = np.interp(kept, np.cumsum([0.0, *(right + wrong)]), np.cumsum([0.0, *wrong]))
    return Sparsification(removed, wrong_kept / kept, np.maximum(errors - removed * total, 0.0) / kept)
