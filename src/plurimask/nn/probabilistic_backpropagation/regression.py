"""Regression by probabilistic backpropagation, in the setting of its paper.

    y = f(x; w) + e,   e ~ N(0, 1 / g),   g ~ Gam(6, 6)         a ReLU network with one hidden layer of 50 units
    w_j ~ N(0, 1 / (l d_j)),   l ~ Gam(6, 6)                    d_j: inputs of the unit, its bias counted
    q = prod_j N(w_j | m_j, v_j) Gam(g) Gam(l)

    for each epoch
        for each datum (x, y), in random order
            (mu, s) = moments of f(x)                           through uncertain weights and ReLUs: `layers.py`
            ln Z    = ln N(y | mu, s + E[1 / g])
            m, v    by the gradients of ln Z                    `updates.py`
            Gam(g)  by Z, Z1, Z2                                `gamma.py`
        the prior's factors and Gam(l) by expectation propagation      `prior_factors.py`

    p(y | x) = N(y | mu, s + E[1 / g])

Every epoch takes each datum in once more, as in the paper: after many the variances stand for as many times the data.

Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable Learning of Bayesian Neural Networks", ICML
2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from plurimask.errors import InputError
from plurimask.nn.probabilistic_backpropagation.gamma import Array, Gamma, matched
from plurimask.nn.probabilistic_backpropagation.layers import Layer, backward, forward
from plurimask.nn.probabilistic_backpropagation.prior_factors import RATE, SHAPE, PriorFactors
from plurimask.nn.probabilistic_backpropagation.updates import after_one


class Prediction(NamedTuple):
    """Of y, in its own units, each `(N,)`."""

    mean: Array
    variance: Array
    """Of a new y, its noise included."""


class Regression:
    """A network with Gaussian weights for a real number y.

        from plurimask.nn.probabilistic_backpropagation import Regression

        mean, variance = Regression().fit(x, y, epochs=40).predict(new_x)

    Inputs and y are brought to mean 0 and variance 1 by those of the training data; what does not vary stays.

    Args:
        hidden: units of each hidden layer; () is a linear model.
        seed: of the initial means and of the order of the data.
        noise_variance: of y given x, in the units of y squared, where it is known; not given, it is learnt.
        weight_precision: l, of standardised data, where it is known; not given, it is learnt.

    Attributes:
        layers: means and variances of the weights, of standardised data, once it is fitted.

    Raises:
        InputError: what is said to be known is not above 0.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (50,),
        seed: int = 0,
        noise_variance: float | None = None,
        weight_precision: float | None = None,
    ) -> None:
        for name, value in (("noise_variance", noise_variance), ("weight_precision", weight_precision)):
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0, not {value}")
        self.hidden, self.seed = tuple(hidden), seed
        self.known_noise, self.known_precision = noise_variance, weight_precision
        self.layers: list[Layer] = []

    def fit(self, x: ArrayLike, y: ArrayLike, epochs: int = 40) -> Regression:
        """Learn from N inputs `(N, D)` and numbers `(N,)`, from the start. Returns itself.

        Raises:
            InputError: x and y are not of these shapes, or hold NaN or infinity.
        """
        inputs, outputs = _checked(x, y)
        self.center, self.scale = inputs.mean(0), _spread(inputs)
        self.y_center, self.y_scale = float(outputs.mean()), float(_spread(outputs))
        inputs, outputs = (inputs - self.center) / self.scale, (outputs - self.y_center) / self.y_scale
        random = np.random.default_rng(self.seed)
        self._begin(inputs.shape[1], random)
        for _ in range(epochs):
            for index in random.permutation(len(outputs)):
                self._learn(inputs[index], outputs[index])
            self._take(*self._prior.refine(*self._in_a_row()))
        return self

    def predict(self, x: ArrayLike) -> Prediction:
        """Mean and variance of y at inputs `(N, D)`. The variance of f(x) alone is that less `noise_variance`.

        Raises:
            InputError: nothing was fitted yet, or x has not the D inputs of what was.
        """
        inputs = np.asarray(x, np.float64)
        if not self.layers or inputs.shape[1:] != self.center.shape:
            found = f"x of {inputs.shape}: expected (N, {len(self.center)})" if self.layers else "nothing is fitted"
            raise InputError(f"{found}; call fit(x, y) first, with the same inputs")
        moments = np.array([forward(self.layers, row)[:2] for row in (inputs - self.center) / self.scale])
        mean, variance = moments.reshape(-1, 2).T
        return Prediction(mean * self.y_scale + self.y_center, variance * self.y_scale**2 + self.noise_variance)

    @property
    def noise_variance(self) -> float:
        """E[1 / g], in the units of y squared."""
        return float(self._noise(self.noise)) * self.y_scale**2

    def _begin(self, num_inputs: int, random: np.random.Generator) -> None:
        """All weights as the prior has them, their means moved a little: at 0 all units are alike."""
        widths = [num_inputs, *self.hidden, 1]
        self._shapes = [(after, before + 1) for before, after in pairwise(widths)]
        inputs = np.concatenate([np.full(after * before, float(before)) for after, before in self._shapes])
        self.noise, self._prior = Gamma(np.array(SHAPE), np.array(RATE)), PriorFactors(inputs, self.known_precision)
        moved = random.standard_normal(len(inputs)) / inputs
        self._take(moved if self.hidden else 0 * moved, 1 / self._prior.weight_precision)

    def _take(self, mean: Array, variance: Array) -> None:
        """All weights, side by side, `(P,)`."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        parts = zip(np.split(mean, ends), np.split(variance, ends), self._shapes, strict=True)
        self.layers = [Layer(own.reshape(shape), spread.reshape(shape)) for own, spread, shape in parts]

    def _in_a_row(self) -> tuple[Array, Array]:
        mean, variance = (
            np.concatenate([part.ravel() for part in of_all]) for of_all in zip(*self.layers, strict=True)
        )
        return mean, variance

    def _noise(self, noise: Gamma) -> Array:
        """Of standardised y."""
        return noise.mean_variance if self.known_noise is None else np.array(self.known_noise / self.y_scale**2)

    def _learn(self, x: Array, y: float) -> None:
        """Take one datum in, `(D,)` and its y."""
        mean, variance, passed = forward(self.layers, x)

        def log_evidence(noise: Gamma) -> Array:
            total = variance + self._noise(noise)
            return np.asarray(-0.5 * (np.log(2 * math.pi * total) + (y - mean) ** 2 / total))

        total = variance + float(self._noise(self.noise))
        of_mean = (y - mean) / total
        gradients = backward(self.layers, passed, of_mean, 0.5 * (of_mean**2 - 1 / total))
        if self.known_noise is None:
            self.noise = matched(self.noise, log_evidence)
        self.layers = [Layer(*after_one(*own, *g)) for own, g in zip(self.layers, gradients, strict=True)]


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    inputs, outputs = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if inputs.ndim != 2 or outputs.shape != inputs.shape[:1] or len(outputs) < 2:
        raise InputError(f"x of {inputs.shape} and y of {outputs.shape}: expected (N, D) and (N,), with N at least 2")
    if not (np.isfinite(inputs).all() and np.isfinite(outputs).all()):
        raise InputError("x or y holds NaN or infinity: leave those rows out")
    return inputs, outputs


def _spread(values: Array) -> Array:
    """The standard deviation along the first dimension, and 1 where it is 0."""
    spread = values.std(0)
    return np.where(spread > 0, spread, 1.0)
