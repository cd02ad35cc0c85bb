"""Makes the pictures of docs/primer.md in docs/images/, and prints every number that the page quotes.

    python docs/figures/primer.py [PART ...] [--out FOLDER]

Parts: marginals, classes, divergence, evidence, bound, gradient, collapse. numpy, scipy and matplotlib; half a minute.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import norm

Array = NDArray[np.float64]

INK, FAINT = "#222222", "#767676"
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),  # Okabe and Ito, 2008
)
BLUES = LinearSegmentedColormap.from_list("blues", ["#FFFFFF", SKY, BLUE, "#00263D"])


def new_figure(width: float, height: float, columns: int = 1, **ratios: list[float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, gridspec_kw=dict(ratios))[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=7, colors=INK, length=2.5)
    return figure, list(axes)


def label(axes: Axes, title: str, xlabel: str = "", ylabel: str = "") -> None:
    axes.set_title(title, fontsize=8.5, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=8, color=INK)
    axes.set_ylabel(ylabel, fontsize=8, color=INK)


def quantiles(values: Array) -> str:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return f"median {middle:.4g}, 5 to 95 %: {low:.4g} to {high:.4g}"


# ---- a. marginals -------------------------------------------------------------------------------------------------

WORLDS = {
    "both or neither": (0.5, 0, 0, 0.5),
    "independent": (0.25, 0.25, 0.25, 0.25),
    "one of the two": (0, 0.5, 0.5, 0),
}
"""Probabilities of the maps: nothing, left object, right object, both."""


def marginals() -> Figure:
    """Three distributions over maps of two objects with one and the same table of pixel probabilities."""
    rows, columns = np.mgrid[:32, :64]
    left, right = (((rows - 16) ** 2 + (columns - centre) ** 2) <= 81 for centre in (16, 48))
    maps = np.stack([left & False, left, right, left | right]).astype(float)
    figure = Figure(figsize=(6.8, 2.7), facecolor="white", layout="constrained")
    grid = figure.subplots(3, 5)
    tables = []
    for (name, probabilities), row in zip(WORLDS.items(), grid, strict=True):
        table = np.tensordot(probabilities, maps, 1)
        tables.append(table)
        entropy = -sum(p * math.log(p) for p in probabilities if p)
        print(f"{name}: entropy {entropy:.3f} nats, P(both) = {probabilities[3]}")
        for axes, shown, p in zip(row, [*maps, table], [*probabilities, None], strict=True):
            axes.imshow(shown, cmap=BLUES, vmin=0, vmax=1.5, alpha=1 if p != 0 else 0.15)
            axes.set(xticks=[], yticks=[])
            axes.set_title("pixel probabilities" if p is None else f"{100 * p:g} %", fontsize=8, color=INK, pad=3)
        row[0].set_ylabel(name, fontsize=8, color=INK)
    same = all(np.array_equal(table, tables[0]) for table in tables)
    pixels = int(maps[3].sum())
    print(f"the three tables are equal: {same}")
    print(f"undecided pixels: {pixels}; entropy if they were independent: {pixels * math.log(2):.1f} nats")
    print(f"chance that independent pixels give one of the four maps: 10^{math.log10(4) - pixels * math.log10(2):.0f}")
    return figure


# ---- b. two classes -----------------------------------------------------------------------------------------------

RED, BLUE_CLASS = (0.02, np.array([2.0, 5.0]), 0.5 * np.eye(2)), (0.98, np.array([6.0, 0.0]), 1.0 * np.eye(2))
POINT, OUTLIER, PUBLISHED = np.array([4.0, 3.0]), np.array([1.0, 10.0]), 0.0165

Class = tuple[float, Array, Array]


def log_joint(x: Array, one: Class) -> Array:
    """log p(class) + log p(x | class) for points `(..., 2)`."""
    weight, mean, covariance = one
    scaled = np.einsum("...i,ij,...j", x - mean, np.linalg.inv(covariance), x - mean)
    joint: Array = math.log(weight) - 0.5 * (scaled + np.log(np.linalg.det(covariance)) + 2 * math.log(2 * math.pi))
    return joint


def posterior(x: Array, red: Class, blue: Class) -> Array:
    """p(R | x)."""
    red_share: Array = expit(log_joint(x, red) - log_joint(x, blue))
    return red_share


def draw_class(rng: np.random.Generator, one: Class, num_points: int) -> Array:
    return rng.multivariate_normal(one[1], one[2], num_points, method="cholesky")


def fitted(points: Array, weight: float, is_round: bool = False) -> Class:
    """Maximum likelihood: the mean, and the covariance divided by n, either free or a multiple of the identity."""
    covariance = np.cov(points.T, bias=True)
    return weight, points.mean(0), np.trace(covariance) / 2 * np.eye(2) if is_round else covariance


def linear_discriminant(red: Array, blue: Array) -> tuple[Array, float]:
    """w, b with log p(R | x) / p(B | x) = w x + b, for one covariance that the classes share."""
    total = len(red) + len(blue)
    shared = (len(red) * np.cov(red.T, bias=True) + len(blue) * np.cov(blue.T, bias=True)) / total
    w = np.linalg.solve(shared, red.mean(0) - blue.mean(0))
    return w, float(-0.5 * w @ (red.mean(0) + blue.mean(0)) + math.log(len(red) / len(blue)))


def linear_machine(red: Array, blue: Array) -> tuple[Array, float]:
    """The widest margin: minimise |w|^2 / 2 with +-(w x + b) >= 1 for every point (the classes must be separable)."""
    rows = np.r_[np.c_[red, np.ones(len(red))], -np.c_[blue, np.ones(len(blue))]]
    start = np.array([*(red.mean(0) - blue.mean(0)) / 10, 0.0])
    found = minimize(
        lambda v: 0.5 * v[:2] @ v[:2],
        start,
        jac=lambda v: np.array([v[0], v[1], 0.0]),
        constraints={"type": "ineq", "fun": lambda v: rows @ v - 1, "jac": lambda v: rows},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    margins = rows @ found.x
    assert found.success and margins.min() > 1 - 1e-6, found.message
    print(
        f"linear SVM: {np.count_nonzero(margins < 1 + 1e-5)} support vectors, margin {1 / np.hypot(*found.x[:2]):.2f}"
    )
    return found.x[:2], float(found.x[2])


def refits(num_points: int, what: str = "both", times: int = 1000) -> Array:
    """p(R | POINT) of as many fits, each to a new training set of which 2 % are red.

    `what` is fitted: "both" classes, "red" or "blue" with the other known, or both with "round" covariances.
    """
    rng, num_red = np.random.default_rng(1), round(RED[0] * num_points)
    values = []
    for _ in range(times):
        red = fitted(draw_class(rng, RED, num_red), RED[0], what == "round")
        blue = fitted(draw_class(rng, BLUE_CLASS, num_points - num_red), BLUE_CLASS[0], what == "round")
        values.append(posterior(POINT, RED if what == "blue" else red, BLUE_CLASS if what == "red" else blue))
    return np.array(values)


def classes() -> Figure:
    """The boundaries of three classifiers on one training set, and how far p(R | (4, 3)) moves from fit to fit."""
    rng = np.random.default_rng(2)
    red, blue = draw_class(rng, RED, 20), draw_class(rng, BLUE_CLASS, 980)
    fit = fitted(red, 0.02), fitted(blue, 0.98)
    print(f"true p(R | (4, 3)) = {posterior(POINT, RED, BLUE_CLASS):.4f}; of the fit to 1000 points: ", end="")
    print(f"{posterior(POINT, *fit):.2g}")
    scores = [float(log_joint(POINT, one)) + math.log(2 * math.pi) for one in (RED, BLUE_CLASS)]
    print(f"log scores of (4, 3) without -log 2 pi: red {scores[0]:.3f}, blue {scores[1]:.3f}, ", end="")
    print(
        f"difference {scores[1] - scores[0]:.3f}; quadratic form of red 16, {16 / 1.2:.1f} with 20 % more variance; ",
        end="",
    )
    print(f"relative standard error of a variance from 20 points {math.sqrt(2 / 20):.2f}")
    figure, (axes, histogram) = new_figure(6.8, 3.3, 2, width_ratios=[1.15, 1])
    draw_boundaries(axes, red, blue)
    for what in ("red", "blue"):
        print(f"1000 refits to 1000 points, {what} fitted, the other class known: {quantiles(refits(1000, what))}")
    print(f"1000 refits to 1000 points with round covariances: {quantiles(refits(1000, 'round'))}, ", end="")
    print(f"{100 * np.mean(refits(1000, 'round') < PUBLISHED):.0f} % below {PUBLISHED}")
    for num_points, colour in ((1000, ORANGE), (10_000, BLUE), (100_000, GREEN)):
        values = refits(num_points, times=1000 if num_points < 50_000 else 200)
        below = 100 * np.mean(values < PUBLISHED)
        print(f"{len(values)} refits to {num_points} points ({num_points // 50} red): {quantiles(values)}, ", end="")
        print(f"{below:.0f} % below {PUBLISHED}")
        bins = np.linspace(-5, -0.5, 46).tolist()
        text = f"{num_points} points, {num_points // 50} red"
        shares = np.ones(len(values)) / len(values)
        style: dict[str, Any] = {"histtype": "stepfilled", "alpha": 0.55, "weights": shares}
        histogram.hist(np.log10(values), bins, color=colour, label=text, **style)
    label(histogram, "p(R | (4, 3)) of refits", "", "share of the refits")
    truth = float(posterior(POINT, RED, BLUE_CLASS))
    histogram.axvline(math.log10(truth), color=INK, lw=1, label=f"true: {truth:.4f}")
    histogram.axvline(math.log10(PUBLISHED), color=VERMILION, lw=1, ls="--", label=f"a published fit: {PUBLISHED}")
    histogram.set_xticks(range(-5, 0), ["0.00001", "0.0001", "0.001", "0.01", "0.1"])
    histogram.legend(fontsize=6.5, frameon=False, loc="upper left")
    return figure


def draw_boundaries(axes: Axes, red: Array, blue: Array) -> None:
    """The points, log p(x) as rings, and where each rule changes from R to B; prints what they say of an outlier."""
    across, along = np.meshgrid(np.linspace(-1.5, 10.5, 400), np.linspace(-4.5, 15, 400))
    grid = np.stack([across, along], axis=-1)
    density = np.logaddexp(log_joint(grid, RED), log_joint(grid, BLUE_CLASS))
    axes.contourf(across, along, density, levels=[-30, -14, -10, -7, -4.5, 0], cmap="Greys", alpha=0.35)
    axes.scatter(blue[:, 0], blue[:, 1], s=2, color=BLUE, alpha=0.5, linewidths=0)
    axes.scatter(red[:, 0], red[:, 1], s=7, color=VERMILION, marker="s", linewidths=0)
    lda, svm = linear_discriminant(red, blue), linear_machine(red, blue)
    rules = {
        "Bayes": (log_joint(grid, RED) - log_joint(grid, BLUE_CLASS), INK, "-"),
        "LDA": (grid @ lda[0] + lda[1], PURPLE, "--"),
        "linear SVM": (grid @ svm[0] + svm[1], GREEN, "-."),
    }
    for name, (score, colour, style) in rules.items():
        axes.contour(across, along, score, levels=[0], colors=[colour], linestyles=[style], linewidths=1.3)
        axes.plot([], [], color=colour, ls=style, lw=1.3, label=name)
    axes.plot(*POINT, "X", color=ORANGE, markersize=7, markeredgecolor=INK, label="(4, 3)")
    axes.plot(*OUTLIER, "*", color=YELLOW, markersize=10, markeredgecolor=INK, label="outlier (1, 10)")
    axes.legend(fontsize=6.5, frameon=False, loc="upper right")
    label(axes, "1000 points, 20 of them red; grey: p(x)", "$x_1$", "$x_2$")
    tail = math.exp(-0.5 * float((OUTLIER - RED[1]) @ (OUTLIER - RED[1])) / 0.5)
    print(f"LDA: p(R | (4, 3)) = {expit(POINT @ lda[0] + lda[1]):.4f}; ", end="")
    print(f"of the outlier: 1 - p(R) = {expit(-OUTLIER @ lda[0] - lda[1]):.1e}")
    print(f"true 1 - p(R | outlier) = {1 - posterior(OUTLIER, RED, BLUE_CLASS):.1e}; ", end="")
    print(f"red points at least as far from their mean: {tail:.1e}")


# ---- c. divergence ------------------------------------------------------------------------------------------------


def gaussian_kl(mean: float, sigma: float, other_mean: float, other_sigma: float) -> float:
    """KL(N(mean, sigma^2) || N(other)) in nats."""
    ratio = sigma / other_sigma
    return 0.5 * (ratio**2 + ((mean - other_mean) / other_sigma) ** 2 - 1) - math.log(ratio)


def divergence() -> Figure:
    """KL as an area, closed form against a sum; the best Gaussian for two bumps in each direction."""
    z = np.linspace(-15, 15, 30_001)
    step = z[1] - z[0]
    log_p, log_q = norm.logpdf(z, 0, 1), norm.logpdf(z, 1, 2)
    area = np.exp(log_p) * (log_p - log_q)
    forward, reverse = area.sum() * step, (np.exp(log_q) * (log_q - log_p)).sum() * step
    print(f"KL(p||q): closed form {gaussian_kl(0, 1, 1, 2):.6f}, sum {forward:.6f}")
    print(f"KL(q||p): closed form {gaussian_kl(1, 2, 0, 1):.6f}, sum {reverse:.6f}")
    figure, (left, right) = new_figure(6.8, 2.5, 2)
    left.plot(z, np.exp(log_p), color=BLUE, label="p = N(0, 1)")
    left.plot(z, np.exp(log_q), color=VERMILION, ls="--", label="q = N(1, 4)")
    left.fill_between(z, area, color=SKY, alpha=0.6, lw=0, label="p ln(p/q)")
    left.axhline(0, color=FAINT, lw=0.6)
    left.set_xlim(-4, 6)
    label(left, f"KL(p || q) = {forward:.3f}: area above 0 minus area below", "z")

    mixture = np.logaddexp(norm.logpdf(z, -2, 0.6), norm.logpdf(z, 2, 0.6)) - math.log(2)

    def towards(v: Array) -> float:
        log_fit = norm.logpdf(z, v[0], math.exp(v[1]))
        return float((np.exp(log_fit) * (log_fit - mixture)).sum() * step)

    seeking = minimize(towards, [1.5, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}).x
    covering = (np.exp(mixture) * z).sum() * step, math.sqrt((np.exp(mixture) * z**2).sum() * step)
    print(
        f"two bumps at +-2, sigma 0.6: least KL(p||q) at mean {abs(covering[0]):.3f}, sigma {covering[1]:.3f}; ", end=""
    )
    print(f"least KL(q||p) at mean {seeking[0]:.3f}, sigma {math.exp(seeking[1]):.3f} (or its mirror image)")
    right.fill_between(z, np.exp(mixture), color=SKY, alpha=0.5, lw=0, label="p")
    right.plot(z, norm.pdf(z, *covering), color=ORANGE, label="q of least KL(p || q)")
    right.plot(
        z, norm.pdf(z, seeking[0], math.exp(seeking[1])), color=VERMILION, ls="--", label="q of least KL(q || p)"
    )
    right.set(xlim=(-6, 6), ylim=(0, 0.95))
    label(right, "the direction matters", "z")
    for axes in (left, right):
        axes.legend(fontsize=6.5, frameon=False, loc="upper right")
    return figure


# ---- d. evidence --------------------------------------------------------------------------------------------------


class Decoder(NamedTuple):
    """A small network with random weights, from 2 latents to the logits of a map of 32 x 32 pixels."""

    first: Array
    second: Array
    last: Array

    def logits(self, z: Array) -> Array:
        """`(n, 2)` -> `(n, 1024)`."""
        return np.tanh(np.tanh(z @ self.first) @ self.second) @ self.last - 1.0

    def log_likelihood(self, z: Array, y: Array) -> Array:
        """log p(y | z), summed over pixels: `(n,)`."""
        parts = [log_expit((2 * y - 1) * self.logits(chunk)).sum(1) for chunk in np.array_split(z, 1 + len(z) // 2000)]
        return np.concatenate(parts)


def random_decoder() -> Decoder:
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[-1:1:32j, -1:1:32j]
    centres = rng.uniform(-0.8, 0.8, (24, 2))
    bumps = [np.exp(-((rows - a) ** 2 + (columns - b) ** 2) / 0.12).ravel() for a, b in centres]
    return Decoder(rng.normal(0, 0.7, (2, 24)), rng.normal(0, 0.5, (24, 24)), 4 * np.array(bumps))


def evidence() -> Figure:
    """log p(y | z) over the latent plane, and how badly draws from the prior estimate its integral."""
    decoder, truth = random_decoder(), np.array([[0.7, -0.5]])
    y = (decoder.logits(truth)[0] > 0).astype(float)
    axis = np.linspace(-4.5, 4.5, 451)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_w, log_prior = decoder.log_likelihood(plane, y), norm.logpdf(plane).sum(1) + 2 * math.log(axis[1] - axis[0])
    exact, square = logsumexp(log_w + log_prior), logsumexp(2 * log_w + log_prior)
    needed = math.exp(square - 2 * exact)
    near = np.exp(log_prior)[log_w > log_w.max() - 5].sum()
    print(
        f"marked pixels {y.sum():.0f} of 1024; log evidence by a grid {exact:.2f}; largest log p(y|z) {log_w.max():.2f}"
    )
    print(f"prior's median log p(y|z): {weighted_median(log_w, np.exp(log_prior)):.0f}; ", end="")
    print(f"share of the prior within 5 nats of the largest: {100 * near:.3f} %")
    print(f"E w^2 / (E w)^2 = {needed:.0f}; draws for a relative error of 10 %: {100 * (needed - 1):.0f}, ", end="")
    print(f"and for three such planes, 6 latents: {100 * (needed**3 - 1):.1e}")
    print(f"points of such a grid in 6 dimensions: {len(axis) ** 6:.1e}; ", end="")
    print(f"label maps in 240,000 steps of 32: {240_000 * 32:,}")
    figure, (left, right) = new_figure(6.8, 2.9, 2)
    shown = left.imshow(log_w.reshape(451, 451), extent=(-4.5, 4.5) * 2, origin="lower", vmin=-1500, cmap="cividis")
    figure.colorbar(shown, ax=left, shrink=0.85).ax.tick_params(labelsize=7)
    left.contour(axis, axis, log_w.reshape(451, 451), levels=[log_w.max() - 5], colors=VERMILION, linestyles="-")
    for radius in (1, 2, 3):
        left.add_patch(Circle((0, 0), radius, fill=False, color="white", lw=0.8, ls=":"))
    inset = left.inset_axes((0.02, 0.72, 0.27, 0.27))
    inset.imshow(y.reshape(32, 32), cmap=BLUES, vmax=1.5)
    inset.set(xticks=[], yticks=[])
    left.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    label(left, "log p(y | z), y in the corner", "$z_1$", "$z_2$")
    posterior_weights = np.exp(log_w + log_prior - exact)
    draw_estimates(right, decoder, y, exact, (plane, posterior_weights))
    return figure


def weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())])


def draw_estimates(axes: Axes, decoder: Decoder, y: Array, exact: float, grid: tuple[Array, Array]) -> None:
    """Error of the log evidence's estimates: draws from the prior, and from a Gaussian near the posterior."""
    rng, (plane, weights) = np.random.default_rng(6), grid
    mean = weights @ plane
    covariance = 1.5 * (plane - mean).T @ (weights[:, None] * (plane - mean))
    pool = decoder.log_likelihood(rng.standard_normal((400_000, 2)), y)
    spreads, names = [], []
    for num_draws in (10, 100, 1000, 10_000):
        picked = (
            pool[: 40 * num_draws].reshape(40, -1) if num_draws == 10_000 else pool[: 400 * num_draws].reshape(400, -1)
        )
        spreads.append(logsumexp(picked, axis=1) - math.log(num_draws) - exact)
        names.append(f"prior\n{num_draws}")
        print(f"{num_draws} draws from the prior, {len(picked)} times: error of log p(y): {quantiles(spreads[-1])}")
    z = rng.multivariate_normal(mean, covariance, 4000, method="cholesky")
    log_q = log_joint(z, (1.0, mean, covariance))
    ratio = (decoder.log_likelihood(z, y) + norm.logpdf(z).sum(1) - log_q).reshape(400, 10)
    spreads.append(logsumexp(ratio, axis=1) - math.log(10) - exact)
    names.append("Gaussian\n10")
    print(f"10 draws from a Gaussian near the posterior, 400 times: error of log p(y): {quantiles(spreads[-1])}")
    for place, values in enumerate(spreads):
        colour = BLUE if place < 4 else VERMILION
        scatter = np.random.default_rng(place).uniform(-0.28, 0.28, len(values))
        axes.plot(place + scatter, values, "o", markersize=1.8, color=colour, alpha=0.4, markeredgewidth=0)
        axes.hlines(np.median(values), place - 0.35, place + 0.35, color=INK, lw=1.4)
    axes.axhline(0, color=FAINT, lw=0.8, ls="--")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xticks(range(len(names)), names)
    label(axes, "error of log p(y), nats", "drawn from, and number of draws")


# ---- e. bound -----------------------------------------------------------------------------------------------------

LINE = np.linspace(-8, 8, 16_001)
MARKED, OF = 6, 6
"""In the example of one latent, so many pixels of so many are marked; each is with probability sigmoid(4 z - 2)."""


def log_likelihood(z: Array) -> Array:
    logit = 4 * z - 2
    found: Array = MARKED * log_expit(logit) + (OF - MARKED) * log_expit(-logit)
    return found


def log_likelihood_slope(z: Array) -> Array:
    slope: Array = 4 * (MARKED - OF * expit(4 * z - 2))
    return slope


def bound_parts(mean: float, sigma: float) -> tuple[float, float, float]:
    """E_q log p(y|z), KL(q || prior) and KL(q || posterior) by quadrature."""
    step, log_q = LINE[1] - LINE[0], norm.logpdf(LINE, mean, sigma)
    q = np.exp(log_q) * step
    log_posterior = log_likelihood(LINE) + norm.logpdf(LINE) - log_evidence()
    fit = float(q @ log_likelihood(LINE))
    return fit, gaussian_kl(mean, sigma, 0, 1), float(q @ (log_q - log_posterior))


def log_evidence() -> float:
    return float(logsumexp(log_likelihood(LINE) + norm.logpdf(LINE)) + math.log(LINE[1] - LINE[0]))


def best_gaussian() -> tuple[float, float]:
    def loss(v: Array) -> float:
        fit, kl, _ = bound_parts(v[0], math.exp(v[1]))
        return kl - fit

    found = minimize(loss, [1.0, -0.5], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}).x
    return float(found[0]), math.exp(found[1])


def bound() -> Figure:
    """One latent: the ELBO and its gap add up to the log evidence for every q."""
    mean, sigma = best_gaussian()
    print(f"log p(y) = {log_evidence():.4f}; best q: mean {mean:.3f}, sigma {sigma:.3f}")
    for name, q in (("best q", (mean, sigma)), ("prior as q", (0.0, 1.0)), ("q = N(1, 0.2^2)", (1.0, 0.2))):
        fit, kl, gap = bound_parts(*q)
        print(f"{name}: E log p(y|z) {fit:.4f} - KL(q||prior) {kl:.4f} = ELBO {fit - kl:.4f}; ", end="")
        print(f"KL(q||posterior) {gap:.4f}; sum {fit - kl + gap:.4f}")
    figure, (left, right) = new_figure(6.8, 2.5, 2)
    exact = np.exp(log_likelihood(LINE) + norm.logpdf(LINE) - log_evidence())
    left.plot(LINE, norm.pdf(LINE), color=FAINT, ls=":", label="prior p(z)")
    left.plot(LINE, np.exp(log_likelihood(LINE)), color=GREEN, ls="-.", label="likelihood p(y | z)")
    left.fill_between(LINE, exact, color=SKY, alpha=0.5, lw=0, label="posterior p(z | y)")
    left.plot(LINE, norm.pdf(LINE, mean, sigma), color=VERMILION, ls="--", label="best Gaussian q")
    left.set(xlim=(-2.5, 3.5), ylim=(0, 1.3))
    label(left, "six of six pixels are marked", "z")
    left.legend(fontsize=6.5, frameon=False, loc="upper left")
    means = np.linspace(-0.4, 2.6, 61)
    elbo = np.array([fit - kl for fit, kl, _ in (bound_parts(m, sigma) for m in means)])
    right.axhline(log_evidence(), color=INK, lw=1.2, label="log p(y)")
    right.plot(means, elbo, color=VERMILION, ls="--", label="ELBO")
    right.fill_between(means, elbo, log_evidence(), color=ORANGE, alpha=0.35, lw=0, label="KL(q || posterior)")
    right.set_ylim(-7, -1)
    label(right, f"q = N(m, {sigma:.2f}$^2$)", "m", "nats")
    right.legend(fontsize=6.5, frameon=False, loc="lower right")
    return figure


# ---- f. gradient --------------------------------------------------------------------------------------------------


def gradient_estimates(mean: float, sigma: float) -> dict[str, Array]:
    """A million one-draw estimates of d/dmean E_q log p(y | z), each by three estimators without bias."""
    epsilon = np.random.default_rng(7).standard_normal(1_000_000)
    z = mean + sigma * epsilon
    baseline = float((epsilon**2 * log_likelihood(z)).mean())  # of the constants the one of least variance: E eps^2 = 1
    return {
        "score function": log_likelihood(z) * epsilon / sigma,
        "score function, best baseline": (log_likelihood(z) - baseline) * epsilon / sigma,
        "reparameterised": log_likelihood_slope(z),
    }


def gradient() -> Figure:
    """How much the estimators of a gradient scatter, for wide and narrow q; the picture is of the middle one."""
    figure, (axes,) = new_figure(6.8, 2.4)
    for mean, sigma in ((0.6, 0.6), (0.6, 0.2), (0.6, 0.05)):
        q = norm.pdf(LINE, mean, sigma) * (LINE[1] - LINE[0])
        exact = float(q @ log_likelihood_slope(LINE))
        print(f"q = N({mean}, {sigma}^2): exact gradient {exact:.4f}")
        estimates = gradient_estimates(mean, sigma)
        smallest = estimates["reparameterised"].std()
        for (name, values), colour in zip(estimates.items(), (BLUE, SKY, VERMILION), strict=True):
            more = (values.std() / smallest) ** 2
            print(
                f"  {name}: mean {values.mean():.2f}, standard deviation {values.std():.2f}, draws needed x {more:.1f}"
            )
            if sigma == 0.2:
                text = f"{name}: standard deviation {values.std():.2f}"
                style: dict[str, Any] = {"histtype": "stepfilled", "alpha": 0.55, "density": True}
                axes.hist(values[:200_000], np.linspace(-20, 80, 101).tolist(), color=colour, label=text, **style)
                axes.axvline(exact, color=INK, lw=0.8, ls="--", label=None)
    axes.set_yscale("log")
    axes.set_ylim(1e-5, 3)
    label(axes, "gradient from one draw, q = N(0.6, 0.2$^2$); dashed: exact", "d/dm E log p(y | z)", "density")
    axes.legend(fontsize=6.5, frameon=False, loc="upper right")
    return figure


# ---- g. collapse --------------------------------------------------------------------------------------------------

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


def one_bit(beta: float, pixels: int) -> tuple[float, float]:
    """Cross entropy and KL, nats per map, where CE + beta KL is least; a lesion is marked whole or not at all.

    q(z | y) = N(+-m, s^2), prior N(0, 1), every pixel's logit u z. Found from several starts.
    """

    def parts(v: Array) -> tuple[float, float]:
        m, s, u = v[0], math.exp(v[1]), v[2]
        return -pixels * float(NODE_WEIGHTS @ log_expit(u * (m + s * NODES))), gaussian_kl(m, s, 0, 1)

    def loss(v: Array) -> float:
        entropy, kl = parts(v)
        return (entropy + beta * kl) / pixels

    starts = ([0.05, 0.0, 0.05], [0.9, -1.0, 3.0], [1.0, -2.0, 20.0], [0.5, -0.3, 1.0])
    fits = [minimize(loss, start, method="L-BFGS-B", bounds=[(0, 5), (-5, 1), (0, 200)]) for start in starts]
    return parts(min(fits, key=lambda fit: float(fit.fun)).x)


def collapse() -> Figure:
    """How much the latent says about the map, against the weight of the KL term."""
    pixels, whole = 300, 64 * 64
    betas = np.sort(np.r_[np.geomspace(0.3, 10_000, 60), np.linspace(200, 310, 23)])
    results = np.array([one_bit(beta, pixels) for beta in betas])
    for beta, text in (
        (1.0, "sum over pixels, beta 1"),
        (10.0, "sum, beta 10"),
        (float(whole), "mean over pixels, beta 1"),
    ):
        entropy, kl = one_bit(beta, pixels)
        print(f"{text} (weight {beta:.0f}): cross entropy {entropy:.2f}, KL {kl:.3f} nats")
    print(f"no latent at all: cross entropy {pixels * math.log(2):.1f}")
    kls = {beta: one_bit(beta, pixels)[1] for beta in (250.0, 299.0, 301.0)}
    print("KL at weight " + ", ".join(f"{beta:.0f}: {kl:.3f}" for beta, kl in kls.items()))
    figure, (axes,) = new_figure(6.8, 2.5)
    axes.plot(betas, results[:, 1], color=BLUE, label="KL of the best fit (nats)")
    axes.plot(betas, results[:, 0] / pixels, color=VERMILION, ls="--", label="cross entropy per pixel in question")
    axes.axhline(math.log(2), color=FAINT, lw=0.8, ls=":", label="ln 2: one bit")
    for beta, text in ((1, "sum, $\\beta = 1$"), (whole, "mean, $\\beta = 1$")):
        axes.axvline(beta, color=INK, lw=0.8)
        axes.text(beta * 1.06, 1.75, text, fontsize=7.5, color=INK)
    axes.axvspan(pixels, betas[-1], color=ORANGE, alpha=0.2, lw=0, label="collapsed: z is ignored")
    axes.set_xscale("log")
    axes.set_ylim(-0.05, 2.6)
    label(axes, "one lesion of 300 pixels in 64 x 64, marked or not", "weight of the KL term per summed cross entropy")
    axes.legend(fontsize=6.5, frameon=False, loc="upper center")
    return figure


PARTS: dict[str, Callable[[], Figure]] = {
    "marginals": marginals,
    "classes": classes,
    "divergence": divergence,
    "evidence": evidence,
    "bound": bound,
    "gradient": gradient,
    "collapse": collapse,
}


def main() -> None:
    """Makes the named parts, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "images", help="folder")
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.parts} - {*PARTS}):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts or PARTS:
        print(f"== {name}")
        path = arguments.out / f"primer-{name}.png"
        PARTS[name]().savefig(path, dpi=150)
        print(f"-> {path.name}\n")


if __name__ == "__main__":
    main()
