"""Makes docs/images/spread-draws.png: independent and spread draws of latents side by side.

    python docs/figures/spread.py [--out FOLDER]

The third panel's numbers are printed: the root mean square error, over 400 scramblings, of the share of n draws of six
latents whose sum is above 2, against the known share.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.stats import norm
from torch import Tensor

from plurimask.noise import NoisePart, draw_noise

INK, FAINT, BLUE, VERMILION = "#222222", "#767676", "#0072B2", "#D55E00"
LATENTS, SUM, IMAGES = 6, 2.0, 400
NUMBERS = (4, 8, 16, 32, 64, 128, 256)


def draws(num: int, latents: int, images: int, spread: bool, seed: int = 0) -> Tensor:
    """Of some images, `(num, images, latents)`."""
    part = NoisePart("image", "normal", (latents,))
    return draw_noise([part], num, images, torch.Generator().manual_seed(seed), spread=spread)[0]


def errors(spread: bool) -> list[float]:
    """Of each number of draws."""
    truth = float(norm.sf(SUM / math.sqrt(LATENTS)))
    shares = [(draws(n, LATENTS, IMAGES, spread).sum(2) > SUM).double().mean(0) for n in NUMBERS]
    return [float((share - truth).square().mean().sqrt()) for share in shares]


def plane(axes: Axes, spread: bool, colour: str) -> None:
    """16 draws of two latents, with the circles inside which a quarter, half and three quarters of the prior lie."""
    for share in (0.25, 0.5, 0.75):
        axes.add_patch(Circle((0, 0), math.sqrt(-2 * math.log(1 - share)), fill=False, color="#cccccc", linewidth=0.8))
    points = draws(16, 2, 1, spread, seed=1)[:, 0].numpy()
    axes.plot(*points.T, "o", color=colour, markersize=5)
    for edge in norm.ppf(np.arange(1, 4) / 4):
        axes.axvline(edge, color="#e6e6e6", linewidth=0.8, zorder=0)
        axes.axhline(edge, color="#e6e6e6", linewidth=0.8, zorder=0)
    axes.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xlabel="latent 1", ylabel="latent 2")
    axes.set_title(f"16 {'spread' if spread else 'independent'} draws", fontsize=8.5, color=INK, loc="left")


def picture() -> Figure:
    figure = Figure(figsize=(7.4, 2.6), facecolor="white", layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    plane(left, False, VERMILION)
    plane(middle, True, BLUE)
    for spread, colour, name in ((False, VERMILION, "independent"), (True, BLUE, "spread")):
        found = errors(spread)
        right.plot(NUMBERS, found, "o-", color=colour, markersize=3.5, linewidth=1.3, label=name)
        print(f"{name}: " + ", ".join(f"{n}: {error:.4f}" for n, error in zip(NUMBERS, found, strict=True)))
    right.set(xscale="log", yscale="log", xlabel="draws", ylabel="error of a share")
    right.set_xticks(NUMBERS, [str(n) for n in NUMBERS], minor=False)
    right.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2], ["0.01", "0.02", "0.05", "0.1", "0.2"])
    right.minorticks_off()
    right.legend(frameon=False, fontsize=7.5)
    right.set_title("six latents", fontsize=8.5, color=INK, loc="left")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, colors=INK, length=2.5)
        axes.xaxis.label.set(size=8, color=INK)
        axes.yaxis.label.set(size=8, color=INK)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images")
    picture().savefig(parser.parse_args().out / "spread-draws.png", dpi=200)


if __name__ == "__main__":
    main()
