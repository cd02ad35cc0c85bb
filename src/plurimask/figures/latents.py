"""A figure of two latents: what a method draws along them, and where the prior and the raters' posteriors lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from plurimask.figures.colours import INK, PALETTE, SAMPLE_COLOUR, Colours, display_image, over
from plurimask.figures.page import Classes, around, outline, patch
from plurimask.figures.style import SMALL, TEXT, canvas, legend_below, style

_FARTHEST = 1.8
"""Posteriors farther out than so many times the shown range are drawn at the edge."""
_LOW = 0.85  # height over width: there is no room for many words beside an axis


@dataclass(frozen=True, eq=False)
class LatentPlane:
    """What a method draws along two of its latents, and where the prior and the raters' posteriors lie."""

    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    grid: NDArray[Any]
    """`(G, G, H, W)`, label maps: `grid[row, column]` is decoded at `positions[column]` along the first axis and
    `positions[row]` along the second. Row 0 is drawn at the bottom."""
    positions: Sequence[float]
    """G of them, at least 2, evenly spaced and ascending, in sigmas of the prior from its mean: -2 ... 2."""
    axis_names: tuple[str, str]
    prior: tuple[NDArray[Any], NDArray[Any]]
    """Mean and sigma of the two latents, each `(2,)`."""
    posteriors: Sequence[tuple[NDArray[Any], NDArray[Any]]]
    """Mean and sigma `(2,)` of each rater's posterior, in the latents' own units; none of a method without."""
    class_names: Sequence[str]
    """Of all classes, in the order of their indices."""
    has_background: bool = True


def latent_walk(plane: LatentPlane) -> Figure:
    """Left, label maps decoded over the plane, each at its place; right, the same plane with the area that they mark.

    Both axes count the prior's sigmas. Over the area: the prior's ellipses of one and two sigmas, dashed, and each
    rater's posterior, its mean as a dot with the rater's number and its ellipse of one sigma. Without a background the
    area is that of pixels whose class differs from the map in the middle. Small things are enlarged: then all maps show
    the part of the image around them.
    """
    classes = Classes(tuple(plane.class_names), plane.has_background)
    ratio = min(1.6, max(0.5, plane.image.shape[-2] / plane.image.shape[-1]))
    figure = canvas(9.4, 4.1 * ratio + 0.8)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    enlarged = _draw_mosaic(left, plane, classes)
    along, up = (f"{name}, sigmas of the prior from its mean" for name in plane.axis_names)
    if ratio < _LOW:
        up = f"{plane.axis_names[1]}, sigmas"
    style(left, f"decoded maps{', enlarged' if enlarged else ''}", along, up)
    style(right, "area, prior and raters' posteriors" if plane.posteriors else "area and prior", along, up)
    heat = _draw_area(right, plane, classes)
    bar = figure.colorbar(heat, ax=right, shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    what = "% of the image's pixels" if plane.has_background else "% of pixels unlike the middle's map"
    bar.set_label(what, fontsize=SMALL, color=INK)
    _draw_posteriors(right, plane)
    for axes in (left, right):
        axes.grid(visible=False)
        axes.set_box_aspect(ratio)
    if not classes.is_binary:
        present = [index for index in classes.counted if bool((plane.grid == index).any())]
        legend_below(figure, [patch(classes.names[index], classes.colours[index]) for index in present], columns=7)
    return figure


def _draw_mosaic(axes: Axes, plane: LatentPlane, classes: Classes) -> bool:
    """Each map at its place; whether only a part of the image is shown."""
    places, half = np.asarray(plane.positions, np.float64), 0.47 * (plane.positions[1] - plane.positions[0])
    marked: NDArray[np.bool_] = np.any(np.isin(plane.grid, classes.counted), axis=(0, 1))
    rows, columns = around(marked) if classes.are_outlined else (slice(None), slice(None))
    picture = display_image(plane.image)[rows, columns]
    for row, column in np.ndindex(plane.grid.shape[:2]):
        x, y, labels = float(places[column]), float(places[row]), plane.grid[row, column]
        edges = (x - half, x + half, y - half, y + half)
        tile, cut = picture, labels[rows, columns]
        if not classes.are_outlined:
            tile = over(picture, classes.overlay(cut, SAMPLE_COLOUR, 0.8))
        axes.imshow(tile, extent=edges, aspect="auto", interpolation="antialiased")
        if classes.are_outlined:
            for index in classes.counted:
                outline(axes, cut == index, classes.colour(index, SAMPLE_COLOUR), edges=edges)
    step = places[1] - places[0]
    axes.set(xlim=(places[0] - step / 2, places[-1] + step / 2), ylim=(places[0] - step / 2, places[-1] + step / 2))
    return bool(picture.shape[:2] != plane.image.shape[-2:])


def _draw_area(axes: Axes, plane: LatentPlane, classes: Classes) -> AxesImage:
    """The share of pixels that each map marks, per cent."""
    middle = plane.grid[len(plane.grid) // 2, len(plane.grid) // 2]
    marks = np.isin(plane.grid, classes.counted) if classes.has_background else plane.grid != middle
    ends, half = (plane.positions[0], plane.positions[-1]), (plane.positions[1] - plane.positions[0]) / 2
    low, high = ends[0] - half, ends[1] + half
    # The darkest third is left out: black lines stay visible on the rest.
    blues = ListedColormap(colormaps["Blues"](np.linspace(0, 0.65, 256)))
    area = 100 * marks.mean((2, 3))
    return axes.imshow(area, cmap=blues, vmin=0, extent=(low, high, low, high), origin="lower", aspect="auto")


def _draw_posteriors(axes: Axes, plane: LatentPlane) -> None:
    """The prior's ellipses, circles in its own sigmas, and those of the raters; limits wide enough for all of them."""
    for radius in (1, 2):
        axes.add_patch(Ellipse((0, 0), 2 * radius, 2 * radius, fill=False, edgecolor="black", linestyle="--"))
        axes.text(0, radius, f"{radius}\u03c3", fontsize=SMALL, ha="center", va="bottom", color="black")
    mean, sigma = (np.asarray(part, np.float64) for part in plane.prior)
    centres = [(np.asarray(middle, np.float64) - mean) / sigma for middle, _ in plane.posteriors]
    radii = [np.asarray(spread, np.float64) / sigma for _, spread in plane.posteriors]
    shown = max(abs(plane.positions[0]), abs(plane.positions[-1]), 2.0) * 1.15
    reach = [float(np.max(np.abs(centre) + radius)) for centre, radius in zip(centres, radii, strict=True)]
    limit = min(max([shown, *(1.05 * far for far in reach)]), _FARTHEST * shown)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    colour = PALETTE[5]
    for numbers, centre in _grouped(centres, 0.03 * limit):
        for number in numbers:
            width, height = 2 * radii[number]
            axes.add_patch(Ellipse(tuple(centres[number]), width, height, fill=False, edgecolor=colour, linewidth=1.2))
        place = np.clip(centre, -0.97 * limit, 0.97 * limit)
        inside = bool((place == centre).all())
        axes.plot(*place, "o" if inside else "D", color=colour, mfc=colour if inside else "white", markersize=4.5)
        words = ", ".join(str(number + 1) for number in numbers)
        if not inside:
            words += f" (at {centre[0]:.1f}, {centre[1]:.1f})"
        right, high = place[0] > 0.6 * limit, place[1] > 0.9 * limit
        axes.annotate(
            words,
            (place.item(0), place.item(1)),
            xytext=(-5 if right else 5, -10 if high else 4),
            textcoords="offset points",
            fontsize=TEXT,
            color=INK,
            ha="right" if right else "left",
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def _grouped(centres: Sequence[Colours], near: float) -> list[tuple[list[int], Colours]]:
    """Raters whose posteriors have the same mean share a dot: their indices, and where it is."""
    groups: list[tuple[list[int], Colours]] = []
    for number, centre in enumerate(centres):
        for numbers, place in groups:
            if float(np.hypot(*(centre - place))) < near:
                numbers.append(number)
                break
        else:
            groups.append(([number], centre))
    return groups
