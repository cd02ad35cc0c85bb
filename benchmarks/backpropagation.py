"""Probabilistic backpropagation on two regression sets, beside Hamiltonian Monte Carlo of the same network.

    python benchmarks/backpropagation.py [--splits 20] [--epochs 40] [--ways NAME ...] [--out FILE.json]

`--ways` measures some of them anew; what FILE.json has of the others stays.

Sets that scikit-learn carries (`pip install scikit-learn`): diabetes, 442 patients, the disease's progress from ten
measurements; and wine, 178 wines, their alcohol from the twelve other measurements: of its other sets linnerud has 20
rows, and iris and breast cancer have columns that are nearly functions of each other. Random splits, 90 % to learn
from, as in the paper; the root of the mean squared error (RMSE) and the mean log likelihood of the held-out tenth, in
the units of y. Mean over splits and its standard error.

The reference has the same model, priors and standardised data. It draws weights by Hamiltonian Monte Carlo and both
precisions, given the weights, from their gammas. Its prediction is the mixture of its draws. A straight line by least
squares, with the spread of its residuals, says how much there is to learn that is no line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import record
from numpy.typing import NDArray

from plurimask.nn.probabilistic_backpropagation import Regression
from plurimask.nn.probabilistic_backpropagation.prior_factors import RATE, SHAPE

Array: TypeAlias = NDArray[np.float64]
HIDDEN = 50
WARM_UP, DRAWS, LEAPFROGS = 200, 200, 20
ACCEPTED = 0.8


def data_sets() -> dict[str, tuple[Array, Array]]:
    """Inputs `(N, D)` and numbers `(N,)` of each set."""
    try:
        carried = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise SystemExit(f"the sets come with scikit-learn: pip install scikit-learn ({error})") from error
    wine = carried.load_wine().data
    diabetes = carried.load_diabetes(scaled=False)
    return {"diabetes": (diabetes.data, diabetes.target), "wine": (wine[:, 1:], wine[:, 0])}


class Split(NamedTuple):
    x: Array
    y: Array
    test_x: Array
    test_y: Array


def split_of(x: Array, y: Array, seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(len(y))
    cut = round(0.9 * len(y))
    return Split(x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]])


class Posterior:
    """Hamiltonian Monte Carlo of the network of the paper, on standardised data.

    The weights are those of layers whose outputs are divided by the root of their inputs, so that the prior gives all
    of them one variance.
    """

    def __init__(self, x: Array, y: Array, seed: int) -> None:
        self.inputs, self.y = np.column_stack([x, np.ones(len(x))]), y
        self.random = np.random.default_rng(seed)
        self.cut = HIDDEN * self.inputs.shape[1]
        self.weight_precision, self.noise_precision = 1.0, 1.0
        self.step = 0.01

    def values(self, weights: Array, inputs: Array) -> tuple[Array, Array]:
        """f, `(N,)`, and the hidden units before their ReLU, `(N, 50)`."""
        hidden = inputs @ weights[: self.cut].reshape(HIDDEN, -1).T / math.sqrt(inputs.shape[1])
        last = weights[self.cut :] / math.sqrt(HIDDEN + 1)
        return np.maximum(hidden, 0) @ last[:-1] + last[-1], hidden

    def energy(self, weights: Array) -> tuple[float, Array]:
        """- ln of the posterior's density, up to a constant, and its gradient."""
        f, hidden = self.values(weights, self.inputs)
        off = self.noise_precision * (f - self.y)
        last = weights[self.cut : -1] / math.sqrt(HIDDEN + 1)
        of_last = np.append(off @ np.maximum(hidden, 0), off.sum()) / math.sqrt(HIDDEN + 1)
        of_hidden = np.outer(off, last) * (hidden > 0)
        of_first = of_hidden.T @ self.inputs / math.sqrt(self.inputs.shape[1])
        gradient = np.concatenate([of_first.ravel(), of_last]) + self.weight_precision * weights
        squares = self.noise_precision * ((f - self.y) ** 2).sum() + self.weight_precision * (weights**2).sum()
        return 0.5 * float(squares), gradient

    def move(self, weights: Array, is_warming_up: bool) -> Array:
        """One trajectory, and new precisions."""
        momentum = self.random.standard_normal(len(weights))
        energy, gradient = self.energy(weights)
        start, new = energy + 0.5 * float(momentum @ momentum), weights
        for _ in range(self.random.integers(LEAPFROGS // 2, LEAPFROGS + 1)):
            momentum = momentum - 0.5 * self.step * gradient
            new = new + self.step * momentum
            energy, gradient = self.energy(new)
            momentum = momentum - 0.5 * self.step * gradient
        chance = math.exp(min(0.0, start - energy - 0.5 * float(momentum @ momentum)))
        if is_warming_up:
            self.step *= math.exp(0.05 * (chance - ACCEPTED))
        weights = new if self.random.random() < chance else weights
        self.weight_precision = self.random.gamma(SHAPE + len(weights) / 2, 1 / (RATE + 0.5 * (weights**2).sum()))
        squares = ((self.values(weights, self.inputs)[0] - self.y) ** 2).sum()
        self.noise_precision = self.random.gamma(SHAPE + len(self.y) / 2, 1 / (RATE + 0.5 * squares))
        return weights

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Means and noise variances of the draws, `(draws, N)` and `(draws, 1)`, of standardised y."""
        inputs = np.column_stack([x, np.ones(len(x))])
        weights = self.random.standard_normal(self.cut + HIDDEN + 1)
        found: list[Array] = []
        variances: list[float] = []
        for number in range(WARM_UP + DRAWS):
            weights = self.move(weights, number < WARM_UP)
            if number >= WARM_UP:
                found.append(self.values(weights, inputs)[0])
                variances.append(1 / self.noise_precision)
        return np.array(found), np.array(variances)[:, None]


def scores(means: Array, variances: Array, y: Array) -> tuple[float, float]:
    """RMSE and mean log likelihood of mixtures of Gaussians, `(M, N)`."""
    logs = -0.5 * (np.log(2 * math.pi * variances) + (y - means) ** 2 / variances)
    likelihood = np.logaddexp.reduce(logs, axis=0) - math.log(len(means))
    return float(np.sqrt(((means.mean(0) - y) ** 2).mean())), float(likelihood.mean())


def by_backpropagation(data: Split, seed: int, epochs: int) -> tuple[float, float]:
    mean, variance = Regression((HIDDEN,), seed).fit(data.x, data.y, epochs).predict(data.test_x)
    return scores(mean[None], variance[None], data.test_y)


def by_monte_carlo(data: Split, seed: int, epochs: int) -> tuple[float, float]:
    center, scale, y_center, y_scale = data.x.mean(0), data.x.std(0), data.y.mean(), data.y.std()
    posterior = Posterior((data.x - center) / scale, (data.y - y_center) / y_scale, seed)
    means, variances = posterior.predict((data.test_x - center) / scale)
    spread = np.broadcast_to(variances * y_scale**2, means.shape)
    return scores(means * y_scale + y_center, spread, data.test_y)


def by_line(data: Split, seed: int, epochs: int) -> tuple[float, float]:
    inputs, new = (np.column_stack([x, np.ones(len(x))]) for x in (data.x, data.test_x))
    line = np.linalg.lstsq(inputs, data.y, rcond=None)[0]
    variance = ((inputs @ line - data.y) ** 2).sum() / (len(data.y) - inputs.shape[1])
    return scores((new @ line)[None], np.full((1, len(new)), variance), data.test_y)


WAYS: dict[str, Callable[[Split, int, int], tuple[float, float]]] = {
    "line": by_line,
    "probabilistic-backpropagation": by_backpropagation,
    "hamiltonian-monte-carlo": by_monte_carlo,
}
"""Of a split, a seed and a number of epochs (which only one of them has): RMSE and mean log likelihood."""


def summary(found: list[tuple[float, float]], seconds: float) -> dict[str, float]:
    both = np.array(found)
    error = both.std(0, ddof=1) / math.sqrt(len(both))
    return {
        "rmse": round(float(both[:, 0].mean()), 4),
        "rmse_error": round(float(error[0]), 4),
        "log_likelihood": round(float(both[:, 1].mean()), 4),
        "log_likelihood_error": round(float(error[1]), 4),
        "splits": len(both),
        "seconds_per_split": round(seconds / len(both), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sets = data_sets()
    config = {
        "epochs": options.epochs,
        "hidden": HIDDEN,
        "warm_up": WARM_UP,
        "draws": DRAWS,
        "leapfrogs": LEAPFROGS,
        "rows": {name: len(y) for name, (_, y) in sets.items()},
    }
    results: dict[str, dict[str, dict[str, float]]] = {name: {} for name in sets}
    if options.out and options.out.exists():
        results |= json.loads(options.out.read_text())["results"]
    for way in options.ways:
        for name, (x, y) in sets.items():
            start = time.perf_counter()
            found = [WAYS[way](split_of(x, y, seed), seed, options.epochs) for seed in range(options.splits)]
            results[name][way] = summary(found, time.perf_counter() - start)
            print(name, way, results[name][way], flush=True)
            record.write(options.out, record.record("backpropagation", config, results))


if __name__ == "__main__":
    main()
