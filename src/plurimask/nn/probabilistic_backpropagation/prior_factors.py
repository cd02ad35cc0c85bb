"""The prior of the weights, whose precision is learnt: one factor for each weight, refined by expectation propagation.

    p(w_j | x) = N(w_j | 0, 1 / (x d_j))        x ~ Gam(a_0, b_0) for all weights; d_j: the inputs of weight j's unit

A layer whose outputs are divided by sqrt(d) and whose weights are N(0, 1 / x) is the same as one with these weights:
all the updates of a mean and a variance agree too. Of each factor the belief keeps

    N(w_j | 0, 1 / t_j) Gam-like x^(a_j) exp(-b_j x)

To refine it, it is taken out of the belief, which leaves N(m, v) and Gam(a, b). Of what is then known the paper takes
Student's t, the factor's average over x, as the Gaussian of its variance p = b / (a - 1) / d_j: then

    Z = N(m | 0, v + p),    m' = m p / (v + p),    v' = v p / (v + p),    so that    t_j = 1 / p,

whatever m and v are; and x is matched by Z, Z1 and Z2 (`gamma.py`). Where what is left of the belief is no
distribution the factor stays as it was.

The paper refines one factor after the other; here all are taken out and refined at once. What stays the same under one
stays the same under the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from plurimask.nn.probabilistic_backpropagation.gamma import Array, Gamma, matched

SHAPE, RATE = 6.0, 6.0
"""Of the gamma before all data: the paper's."""


def fan_in(shapes: Sequence[Sequence[int]]) -> Array:
    """d of each weight and bias `(P,)`, side by side: the inputs of its unit, and one more for its bias.

    Args:
        shapes: of weights `(O, I, ...)`, each followed by that of its layer's bias `(O,)`, if it has one.
    """
    found, inputs = [], 1
    for shape in shapes:
        inputs = math.prod(shape[1:]) + 1 if len(shape) > 1 else inputs
        found.append(np.full(math.prod(shape), float(inputs)))
    return np.concatenate(found)


class PriorFactors:
    """Of P weights, and what is believed of their precision.

    Args:
        inputs: d of each weight, `(P,)`.
        precision: x, where it is known; not given, it is learnt.
    """

    def __init__(self, inputs: Array, precision: float | None = None) -> None:
        self.inputs, self.precision = inputs, precision
        self.gamma = Gamma(np.array(SHAPE), np.array(RATE))
        self.weight_precision = self._precision(self.gamma)  # (P,): t
        self.shape, self.rate = np.zeros_like(inputs), np.zeros_like(inputs)  # (P,): the a and b of each factor

    def refine(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """All factors anew. Mean and variance of the weights `(P,)` -> those after it."""
        precision = 1 / variance
        rest = precision - self.weight_precision
        without = Gamma(self.gamma.shape - self.shape, self.gamma.rate - self.rate)
        is_sound = (rest > 0) & (without.shape > 1) & (without.rate > 0)
        shift = mean * precision  # no factor has a shift: that of the prior's Gaussians is 0
        rest, without = np.where(is_sound, rest, 1), Gamma(*(np.where(is_sound, one, 2) for one in without))
        if self.precision is None:
            self._match(is_sound, without, shift / rest, 1 / rest)
        own = np.where(is_sound, self._precision(without), self.weight_precision)
        precision = precision - self.weight_precision + own
        self.weight_precision = own
        return shift / precision, 1 / precision

    def state(self) -> dict[str, Array]:
        """Arrays, for a checkpoint."""
        names = ("weight_precision", "shape", "rate")
        return {**{name: getattr(self, name) for name in names}, "gamma": np.array(self.gamma)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up what `state` gave."""
        vars(self).update({**state, "gamma": Gamma(*state["gamma"])})

    def _precision(self, gamma: Gamma) -> Array:
        """1 / p, `(P,)`."""
        return self.inputs * (1 / gamma.mean_variance if self.precision is None else self.precision)

    def _match(self, is_sound: NDArray[np.bool_], without: Gamma, mean: Array, variance: Array) -> None:
        """The factors of the precision's gamma, and the gamma that they make together."""

        def log_evidence(gamma: Gamma) -> Array:
            total = variance + 1 / self._precision(gamma)
            return -0.5 * (np.log(total) + mean**2 / total)

        after = matched(without, log_evidence)
        self.shape = np.where(is_sound, after.shape - without.shape, self.shape)
        self.rate = np.where(is_sound, after.rate - without.rate, self.rate)
        self.gamma = Gamma(SHAPE + self.shape.sum(), RATE + self.rate.sum())
