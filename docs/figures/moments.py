"""Makes the pictures of docs/methods/lightweight-probabilistic.md in docs/images/, and prints the numbers it quotes.

    python docs/figures/moments.py [PART ...] [--out FOLDER]

Parts: relu, precision, dirichlet. plurimask, scipy and matplotlib, and mpmath, which comes with torch; seconds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from plurimask.nn.dirichlet import Dirichlet
from plurimask.nn.moments.gaussian import leaky_moments

Array = NDArray[np.float64]

INK, FAINT = "#222222", "#767676"
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),  # Okabe and Ito, 2008
)
BLUES = LinearSegmentedColormap.from_list("blues", ["#FFFFFF", SKY, BLUE, "#00263D"])


def new_figure(height: float, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(6.8, height), facecolor="white", layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=7, colors=INK, length=2.5)
    return figure, list(axes)


def label(axes: Axes, title: str, xlabel: str = "", ylabel: str = "") -> None:
    axes.set_title(title, fontsize=8.5, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=8, color=INK)
    axes.set_ylabel(ylabel, fontsize=8, color=INK)


# ---- a. a Gaussian through a ReLU ---------------------------------------------------------------------------------

BIN, NUM_DRAWS = 0.1, 1_000_000


def relu() -> Figure:
    """Draws of N(mu, 1) after a ReLU beside the Gaussian of the propagated mean and variance."""
    figure, columns = new_figure(2.6, 3)
    edges, z = np.arange(0.0, 6.0, BIN), np.linspace(-5, 6, 1101)
    for axes, mu, where in zip(columns, (-2.0, 0.0, 2.0), ("far below zero", "at zero", "above zero"), strict=True):
        draws = np.maximum(mu + np.random.default_rng(0).standard_normal(NUM_DRAWS), 0)
        zeros, inputs = float(np.mean(draws == 0)), torch.tensor([mu, 1.0]).double()
        mean, variance = (float(part) for part in leaky_moments(inputs[0], inputs[1], 0.0))
        print(f"mu = {mu}: mean {mean:.4f}, variance {variance:.4f}; of {NUM_DRAWS} draws {draws.mean():.4f}, ", end="")
        print(f"{draws.var():.4f}; share of zeros {zeros:.4f}")
        axes.bar(-BIN / 2, zeros, BIN, color=BLUE, label="draws that become 0")
        positive = draws[draws > 0]
        axes.hist(
            positive, edges.tolist(), weights=np.full(len(positive), 1 / NUM_DRAWS), color=SKY, label="other draws"
        )
        for law, colour, line, width, text in (
            (norm(mu, 1), FAINT, ":", 1.3, "before the ReLU"),
            (norm(mean, math.sqrt(variance)), VERMILION, "-", 1.5, "the Gaussian that goes on"),
        ):
            probabilities = law.cdf(z + BIN / 2) - law.cdf(z - BIN / 2)
            axes.plot(z, probabilities, label=text, color=colour, linestyle=line, linewidth=width)
        axes.set_xlim(-3, 5)
        axes.set_ylim(0)
        label(axes, f"{where}: $\\mu = {mu:g}$", "value")
    columns[0].set_ylabel(f"share in a width of {BIN}", fontsize=8, color=INK)
    handles = columns[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    return figure


# ---- b. the published form in float32 -----------------------------------------------------------------------------

VARIANCE = 1e-3


def published(mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Variance after a ReLU as in the released code: the second moment minus the squared mean."""
    sigma = variance.sqrt()
    a = mean / sigma
    above, density = 0.5 * (1 + torch.erf(a / math.sqrt(2))), torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    first = mean * above + sigma * density
    return (mean * mean + variance) * above + mean * sigma * density - first * first


def exact(means: torch.Tensor) -> Array:
    """The same with sixty digits, of the float32 numbers that the others get."""
    values = []
    with mpmath.workdps(60):
        variance = mpmath.mpf(float(torch.tensor(VARIANCE)))
        for mean in map(mpmath.mpf, means.tolist()):
            a = mean / mpmath.sqrt(variance)
            above, density = mpmath.ncdf(a), mpmath.npdf(a)
            first = mean * above + mpmath.sqrt(variance) * density
            second = (mean**2 + variance) * above + mean * mpmath.sqrt(variance) * density
            values.append(float((second - first**2) / variance))
    return np.array(values)


def without_cancellation(mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    return leaky_moments(mean, variance, 0.0)[1]


FORMS = {
    "second moment minus squared mean": (published, ORANGE, "o"),
    "without cancellation": (without_cancellation, BLUE, "s"),
}


def precision() -> Figure:
    """Error of the variance after a ReLU in float32, over the mean, and how often it comes out below zero."""
    figure, (left, right) = new_figure(2.8, 2)
    means = torch.logspace(-2, 3, 401)
    variances = torch.full_like(means, VARIANCE)
    truth = exact(means)
    for name, (form, colour, marker) in FORMS.items():
        found = form(means, variances).double().numpy() / float(variances[0])
        errors = np.abs(found - truth)
        shown = np.maximum(errors, 1e-9)  # exact ones lie at the lower edge
        left.loglog(means, shown, marker, color=colour, markersize=2, markeredgewidth=0, label=name, clip_on=False)
        print(f"{name}: largest error / v {errors.max():.2g}; ", end="")
        wrong = means[found == 0]
        print(f"a variance of 0 from mu = {float(wrong.min()):.3g}" if len(wrong) else "never 0")
    left.axhline(1, color=INK, lw=0.8, ls="--")
    left.text(0.0105, 1.6, "as large as the variance itself", fontsize=6.5, color=INK)
    left.set_ylim(1e-9, 1e4)
    left.legend(fontsize=6.5, frameon=False, loc="upper left", markerscale=2)
    label(left, f"error of the variance after a ReLU, $v$ = {VARIANCE}", "mean $\\mu$", "error / $v$")
    scales = np.logspace(-2, 3, 26)
    units = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    spread = torch.full_like(units, VARIANCE)
    for name, (form, colour, marker) in FORMS.items():
        results = [form(units * scale, spread) for scale in scales]
        shares = [100 * float((values < 0).float().mean()) for values in results]
        right.semilogx(scales, shares, f"{marker}-", color=colour, markersize=2.5, lw=1, label=name, clip_on=False)
        print(f"{name}: below zero, percent: ", end="")
        print(", ".join(f"{share:.3g} at {scale:.3g}" for scale, share in list(zip(scales, shares, strict=True))[::5]))
        print(f"  most {max(shares):.3g} %; lowest value {min(float(values.min()) for values in results):.2g}")
        low = units[results[10] < 0]
        if len(low):
            print(f"  at 1: their means lie {-float(low.max()):.2g} to {-float(low.min()):.2g} below zero")
    right.set_ylim(0, 27)
    right.legend(fontsize=6.5, frameon=False, loc="upper right")
    label(right, "units with a variance below zero", "standard deviation of the means", "% of a million units")
    return figure


# ---- c. Dirichlets on a triangle ----------------------------------------------------------------------------------

SHARES = (0.6, 0.3, 0.1)
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])


def dirichlet() -> Figure:
    """The Dirichlet of one mean at three scales: density, draws, and how its entropy divides."""
    figure, columns = new_figure(2.8, 3)
    for axes, scale in zip(columns, (0.02, 0.1, 1.0), strict=True):
        draw_triangle(axes, scale)
        law = Dirichlet(torch.tensor(SHARES).double().log().view(1, 3, 1), torch.tensor([[scale]]).double().log())
        total, inside = float(law.entropy()), float(law.expected_entropy())
        spread = ", ".join(f"{math.sqrt(part):.3f}" for part in law.variance().flatten().tolist())
        print(f"s = {scale}: entropy {total:.3f} = expected {inside:.3f} + mutual information ", end="")
        print(f"{total - inside:.3f}; standard deviations {spread}")
        axes.text(0.5, 1.07, f"$s$ = {scale:g}", fontsize=8.5, color=INK, ha="center")
        text = f"expected entropy {inside:.2f}\nmutual information {total - inside:.2f}"
        axes.text(0.5, -0.14, text, fontsize=7.5, color=INK, ha="center", va="top", linespacing=1.3)
    return figure


def draw_triangle(axes: Axes, scale: float) -> None:
    """The log density as colour, 400 draws as dots, the mean as a cross."""
    alpha = np.array(SHARES) / scale
    steps = np.linspace(0.003, 0.994, 200)
    grid = np.array([(p, q, 1 - p - q) for p in steps for q in steps if 1 - p - q > 0.002])
    log_density = ((alpha - 1) * np.log(grid)).sum(1) + math.lgamma(alpha.sum()) - sum(map(math.lgamma, alpha))
    x, y = (grid @ CORNERS).T
    axes.tricontourf(x, y, log_density, levels=np.linspace(-1.5, 6, 16), cmap=BLUES, extend="both")
    draws = np.random.default_rng(0).dirichlet(alpha, 400)
    axes.plot(*(draws @ CORNERS).T, "o", color=ORANGE, markersize=2.2, markeredgecolor=INK, markeredgewidth=0.15)
    axes.plot(*(np.array(SHARES) @ CORNERS), "X", color="white", markersize=7, markeredgecolor=INK)
    axes.plot(*CORNERS[[0, 1, 2, 0]].T, color=INK, lw=0.9)
    for name, place in zip("ABC", ((-0.07, 0.0), (1.07, 0.0), (0.5, 0.94)), strict=True):
        axes.text(*place, name, fontsize=8, color=INK, ha="center", va="center")
    axes.set(xlim=(-0.13, 1.13), ylim=(-0.42, 1.18), aspect="equal")
    axes.axis("off")


PARTS: dict[str, Callable[[], Figure]] = {"relu": relu, "precision": precision, "dirichlet": dirichlet}


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
        path = arguments.out / f"moments-{name}.png"
        PARTS[name]().savefig(path, dpi=150)
        print(f"-> {path.name}\n")


if __name__ == "__main__":
    main()
