"""The panels that figures of images are made of: a page laid out in inches, and label maps drawn over images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.charts import SMALL, TEXT
from plurimask.figures.colours import FAINT, INK, Array, Colours, boundary_share, class_colours, colour_labels, rgb

MARGIN = 0.08
"""Around a page, inches."""

OUTLINED_CLASSES = 3
"""Up to so many counted classes are outlined; more would be a tangle."""

_LEGEND_ROW, _LEGEND_COLUMN = 0.2, 1.25  # inches


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
        return [*((self.names[index], self.colours[index]) for index in self.counted), ("not judged", "#858585")]


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
        """One line, its middle at `top`."""
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

    def legend(self, classes: Classes, top: float, room: float) -> None:
        """Names and colours of the classes in lines of at most `room` inches; see `legend_height`."""
        legend = self.figure.legend(
            handles=[Patch(facecolor=colour, label=f" {name[:18]}") for name, colour in classes.legend()],
            loc="upper left",
            bbox_to_anchor=(MARGIN / self.width, 1 - top / self.height),
            ncols=_legend_columns(room),
            frameon=False,
            fontsize=SMALL,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.0,
            columnspacing=1.2,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def legend_height(classes: Classes, room: float) -> float:
    """What a legend in lines of at most `room` inches needs, inches."""
    return _LEGEND_ROW * math.ceil(len(classes.legend()) / _legend_columns(room))


def _legend_columns(room: float) -> int:
    return max(1, int(room / _LEGEND_COLUMN))


def show(axes: Axes, picture: NDArray[Any], cmap: str | None = None, top: float | None = None) -> AxesImage:
    """An image `(H, W, 3)`, or a map `(H, W)` of values from 0 to `top`."""
    return axes.imshow(picture, cmap=cmap, vmin=0 if cmap else None, vmax=top, interpolation="antialiased")


def draw_map(axes: Axes, labels: NDArray[Any], classes: Classes, own: str) -> None:
    """A label map over the image in `axes`; words where there is nothing to see."""
    axes.imshow(classes.overlay(labels, own, 0.35 if classes.is_binary else 0.7), interpolation="nearest")
    if classes.are_outlined:
        for index in classes.counted:
            outline(axes, labels == index, classes.colour(index, own))
    if np.isin(labels, classes.counted).any():
        return
    axes.text(
        0.5,
        0.09,
        "no map" if (labels == IGNORE).all() else "empty",
        color="white",
        fontsize=SMALL,
        ha="center",
        va="center",
        bbox={"facecolor": INK, "alpha": 0.65, "edgecolor": "none", "pad": 1.2},
        transform=axes.transAxes,
    )


def draw_together(axes: Axes, maps: NDArray[Any], classes: Classes, own: str) -> None:
    """Many label maps `(N, H, W)` in one panel: their outlines, or how often a boundary runs where."""
    if not classes.are_outlined:
        show(axes, boundary_share(maps), "viridis", 1.0)
        return
    opacity = max(0.45, min(1.0, 4 / len(maps)))
    for one in maps:
        for index in classes.counted:
            outline(axes, one == index, classes.colour(index, own), opacity)


def outline(axes: Axes, mask: NDArray[np.bool_], colour: Any, opacity: float = 1.0) -> None:
    """The outline of a mask `(H, W)`, closed where it meets the border of the image."""
    if not mask.any():
        return
    height, width = mask.shape
    columns, rows = np.arange(-1, width + 1), np.arange(-1, height + 1)
    axes.contour(columns, rows, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=0.9, alpha=opacity)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


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
