"""The panels that figures of images are made of: a page laid out in inches, and label maps drawn over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.colours import (
    FAINT,
    INK,
    Array,
    Colours,
    boundary_share,
    class_colours,
    colour_labels,
    rgb,
    stripes,
)
from plurimask.figures.ruler import Ruler
from plurimask.figures.style import SMALL, TEXT, without_formulas

MARGIN = 0.08
"""Around a page, inches."""

OUTLINED_CLASSES = 3
"""Up to so many counted classes are outlined; more would be a tangle."""

LEGEND_COLUMN = 1.25
"""Width of a name in a legend, inches."""

NOT_JUDGED = "#858585"
"""Of IGNORE in legends."""

_LEGEND_ROW = 0.2  # inches
_TALLEST = 1.6  # height of a panel over its width, at most
_LONGEST_LABEL = 18  # characters
_LOW = 0.45  # inches


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, and how each is drawn."""

    names: tuple[str, ...]
    has_background: bool

    @property
    def is_binary(self) -> bool:
        """Whether there is a background and one other class."""
        return self.has_background and len(self.names) == 2

    @property
    def counted(self) -> range:
        """The indices of all classes but the background."""
        return range(int(self.has_background), len(self.names))

    @property
    def are_outlined(self) -> bool:
        """Whether outlines of the classes can be told apart in one panel."""
        return self.has_background and len(self.counted) <= OUTLINED_CLASSES

    @cached_property
    def colours(self) -> Colours:
        """RGB `(C, 3)`."""
        return class_colours(len(self.names), self.has_background)

    def overlay(self, labels: Array, own: str, opacity: float) -> Colours:
        """RGBA `(H, W, 4)` of a label map; the one class of binary data in the colour `own`."""
        picture = colour_labels(labels, len(self.names), self.has_background)
        if self.is_binary:
            picture[np.asarray(labels) == 1, :3] = rgb(own)
        picture[..., 3] *= opacity
        return picture

    def colour(self, index: int, own: str) -> Any:
        """The colour of one class; `own` for the one class of binary data."""
        return own if self.is_binary else tuple(self.colours[index])

    def legend(self) -> list[tuple[str, Any]]:
        """Names and colours; none where there is one class."""
        if self.is_binary:
            return []
        return [*((self.names[index], self.colours[index]) for index in self.counted), ("not judged", NOT_JUDGED)]


class Page:
    """A figure of a fixed size whose panels are placed in inches from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), facecolor="white")

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Empty axes without ticks."""
        axes = self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=FAINT, linewidth=0.4)
        return axes

    def text(self, left: float, top: float, words: str, colour: str = INK, centred: bool = False) -> None:
        """One line, its middle at `top`; nothing without words."""
        if not words:
            return
        self.figure.text(
            left / self.width,
            1 - top / self.height,
            words,
            ha="center" if centred else "left",
            va="center",
            fontsize=TEXT,
            color=colour,
            parse_math=False,
        )

    def bar(self, place: tuple[float, float, float], cmap: str | Colormap, top: float, label: str) -> None:
        """A horizontal colour bar for values from 0 to `top`; `place`: left, top and width."""
        axes = self.panel(*place, 0.07)
        bar = self.figure.colorbar(ScalarMappable(Normalize(0, top), cmap), cax=axes, orientation="horizontal")
        bar.set_ticks([0, top], labels=["0", f"{top:.2g}"])
        axes.tick_params(labelsize=SMALL, length=2, colors=INK, pad=1.5)
        axes.set_xlabel(label, fontsize=SMALL, color=INK, labelpad=-7)

    def marks(self, handles: Sequence[Patch], top: float, columns: int = 0, handle: float = 1.2) -> None:
        """A legend at the left; `columns`: all in one line by default; `handle`: length of a patch in letters."""
        legend = self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(MARGIN / self.width, 1 - top / self.height),
            ncols=columns or len(handles),
            frameon=False,
            fontsize=SMALL,
            borderpad=0,
            borderaxespad=0,
            handlelength=handle,
            columnspacing=1.2,
        )
        without_formulas(legend)

    def legend(self, classes: Classes, top: float, room: float) -> None:
        """Names and colours of the classes in lines of at most `room` inches, if there are several."""
        if not classes.is_binary:
            handles = [patch(name, colour) for name, colour in classes.legend()]
            self.marks(handles, top, _legend_columns(room), 1.0)


def patch(name: str, colour: Any) -> Patch:
    """A class in a legend."""
    return Patch(facecolor=colour, label=f" {name[:_LONGEST_LABEL]}")


def aspect(image: Array) -> float:
    """Height of a panel over its width, at most 1.6, for an image `(..., H, W)`."""
    height, width = image.shape[-2:]
    return float(min(_TALLEST, height / width))


def legend_height(classes: Classes, room: float) -> float:
    """What a legend in lines of at most `room` inches needs, inches."""
    return _LEGEND_ROW * math.ceil(len(classes.legend()) / _legend_columns(room))


def _legend_columns(room: float) -> int:
    return max(1, int(room / LEGEND_COLUMN))


def show(axes: Axes, picture: NDArray[Any], cmap: str | None = None, top: float | None = None) -> AxesImage:
    """An image `(H, W, 3)`, or a map `(H, W)` of values from 0 to `top`."""
    return axes.imshow(picture, cmap=cmap, vmin=0 if cmap else None, vmax=top, interpolation="antialiased")


def show_share(axes: Axes, share: NDArray[Any], top: float = 1.0) -> None:
    """A map of shares `(H, W)` from 0 to `top`; stripes where it is NaN."""
    show(axes, np.nan_to_num(share), "viridis", top)
    if np.isnan(share).any():
        axes.imshow(np.where(np.isnan(share)[..., None], stripes(share.shape), 0.0), interpolation="nearest")


def likely(mean: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities `(C, H, W)` -> the most likely class of each pixel, `(H, W)`."""
    labels: NDArray[np.uint8] = mean.argmax(0).astype(np.uint8)
    return labels


def counted(shown: int, count: int, what: str) -> str:
    """How many there are, and how many of them are shown: "4 of 9 raters", "1 rater"."""
    plural = what if count == 1 else f"{what}s"
    return f"{shown} of {count} {plural}" if shown < count else f"{count} {plural}"


def draw_map(axes: Axes, labels: NDArray[Any], classes: Classes, own: str, nothing: str = "empty") -> None:
    """A label map over the image in `axes`; words where there is nothing to see: `nothing` where nothing is marked."""
    axes.imshow(classes.overlay(labels, own, 0.35 if classes.is_binary else 0.7), interpolation="nearest")
    if classes.are_outlined:
        for index in classes.counted:
            outline(axes, labels == index, classes.colour(index, own))
    if np.isin(labels, classes.counted).any():
        return
    label(axes, "no map" if (labels == IGNORE).all() else nothing, 0.5, 0.5 if is_low(axes) else 0.09)


def is_low(axes: Axes) -> bool:
    """Whether a panel has no room for two words below each other, as those of thin volumes."""
    figure = axes.get_figure(root=True)
    return figure is not None and bool(axes.get_window_extent().height < _LOW * figure.dpi)


def label(axes: Axes, words: str, left: float, top: float) -> None:
    """Words on a panel, white on dark: their middle at `left` and `top`, shares of the panel from its lower left."""
    box = {"facecolor": INK, "alpha": 0.65, "edgecolor": "none", "pad": 1.2}
    given: dict[str, Any] = {"color": "white", "fontsize": SMALL, "ha": "center", "va": "center", "parse_math": False}
    axes.text(left, top, words, bbox=box, transform=axes.transAxes, **given)


def draw_ruler(axes: Axes, bar: Ruler | None) -> None:
    """A scale bar with its length, at the lower left of a panel; nothing where there is none."""
    if bar is None:
        return
    axes.plot([0.05, 0.05 + bar.share], [0.05, 0.05], color="white", linewidth=2.5, transform=axes.transAxes)
    label(axes, bar.words, 0.05 + bar.share / 2, 0.15)


def draw_together(axes: Axes, maps: NDArray[Any], classes: Classes, own: str) -> None:
    """Many label maps `(N, H, W)` in one panel: their outlines, or how often a boundary runs where."""
    if not classes.are_outlined:
        show(axes, boundary_share(maps), "viridis", 1.0)
        return
    opacity = max(0.45, min(1.0, 4 / len(maps)))
    for one in maps:
        for index in classes.counted:
            outline(axes, one == index, classes.colour(index, own), opacity)


def outline(
    axes: Axes,
    mask: NDArray[np.bool_],
    colour: Any,
    opacity: float = 1.0,
    edges: tuple[float, float, float, float] | None = None,
) -> None:
    """The outline of a mask `(H, W)`, closed where it meets the border of the image.

    It is drawn over the pixels of an image, or between `edges`: left, right, bottom and top.
    """
    if not mask.any():
        return
    height, width = mask.shape
    left, right, bottom, top = edges or (-0.5, width - 0.5, height - 0.5, -0.5)
    columns = left + (np.arange(-1, width + 1) + 0.5) / width * (right - left)
    rows = top - (np.arange(-1, height + 1) + 0.5) / height * (top - bottom)
    axes.contour(columns, rows, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=0.9, alpha=opacity)
    if edges is None:
        axes.set(xlim=(left, right), ylim=(bottom, top))


def around(marked: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the part of an image around what is marked, in its shape; all of it if that is big."""
    if not marked.any():
        return slice(None), slice(None)
    places = [np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))]
    share = max((np.ptp(some) + 1) / length for some, length in zip(places, marked.shape, strict=True)) * 1.3
    if (share := max(share, 0.25)) > 0.75:
        return slice(None), slice(None)
    sides = [math.ceil(share * length) for length in marked.shape]
    starts = [
        int(min(max(0, (some[0] + some[-1] + 1 - side) // 2), length - side))
        for some, side, length in zip(places, sides, marked.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + sides[0]), slice(starts[1], starts[1] + sides[1])


def frame(axes: Axes, part: tuple[slice, slice], scale: float = 1.0) -> None:
    """A white frame around rows and columns of an image that is drawn `scale` times as large."""
    rows, columns = part
    if rows.start is None:
        return
    width, height = ((each.stop - each.start) * scale for each in (columns, rows))
    corner = (columns.start * scale - 0.5, rows.start * scale - 0.5)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=0.9))
