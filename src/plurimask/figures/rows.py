"""Pages of images below each other, each a row of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from numpy.typing import NDArray

from plurimask.data.images.pixel_size import PixelSize
from plurimask.figures.colours import FAINT, Array
from plurimask.figures.page import LEGEND_COLUMN, MARGIN, Classes, Page, aspect, legend_height

_TITLE, _ROW_TITLE, _BAR, _BAR_GAP = 0.27, 0.23, 0.4, 0.08  # inches
_LONGEST_NAME = 60  # characters


@dataclass(frozen=True, eq=False)
class GridRow:
    """What is drawn of one image."""

    name: str
    image: NDArray[Any]
    """`(K, H, W)`, in any values; `(K, D, H, W)` of a volume, and maps to match."""
    raters: NDArray[Any] | None
    """`(R, H, W)`, label maps; a map of IGNORE is a rater who gave none. None where nobody labelled the image."""
    samples: NDArray[Any]
    """`(N, H, W)`, label maps."""
    mean: NDArray[Any]
    """`(C, H, W)`, mean class probabilities."""
    entropy: NDArray[Any]
    """`(H, W)`, nats."""
    caption: str = ""
    rater_names: tuple[str, ...] = field(default=(), kw_only=True)
    """Of the raters; they are numbered where there are none."""
    pixel_size: PixelSize | None = field(default=None, kw_only=True)


class Sizes(NamedTuple):
    """Widths in rows of panels, inches."""

    panel: float
    gap: float
    """Between two panels of a group."""
    group_gap: float
    bar: float
    """Of a colour bar: shorter than a panel where the numbers of neighbours would meet."""


class ImageRows:
    """A page of images below each other: headings, each image's name over its row of panels, and colour bars below.

    Args:
        classes: for the legend.
        images: `(K, H, W)`, at least one: their shapes are those of the panels.
        groups: headings, and the number of panels below each.
        sizes: of panels and gaps.
        first_bar: the first group with a colour bar. The classes' legend is at the left of it, or below without room.
    """

    def __init__(
        self,
        classes: Classes,
        images: Sequence[Array],
        groups: Sequence[tuple[str, int]],
        sizes: Sizes,
        first_bar: int,
    ) -> None:
        if not images:
            raise ValueError("no images to draw: give at least one row")
        self.sizes, self._heights = sizes, [sizes.panel * aspect(image) for image in images]
        self._starts, left = [], MARGIN
        for _, count in groups:
            self._starts.append(left)
            left += count * (sizes.panel + sizes.gap) - sizes.gap + sizes.group_gap if count else 0.0
        width = left - sizes.group_gap + MARGIN + 0.12  # room for the last number below the colour bar
        self._bars = _TITLE + sum(self._heights) + len(images) * _ROW_TITLE + _BAR_GAP
        room, bar = self._starts[first_bar], _BAR - _BAR_GAP
        is_beside = room > 2 * LEGEND_COLUMN
        legend = legend_height(classes, room := room if is_beside else width - 2 * MARGIN)
        self.page = Page(width, self._bars + (max(bar, legend) if is_beside else bar + legend))
        self.page.legend(classes, self._bars + (0.0 if is_beside else bar), room)
        for (title, count), left in zip(groups, self._starts, strict=True):
            if count:
                middle = left + (count * (sizes.panel + sizes.gap) - sizes.gap) / 2
                self.page.text(middle, _TITLE / 2, title, centred=True)
        self._row, self._top = -1, _TITLE

    def start(self, name: str, caption: str = "") -> None:
        """Begin the row of the next image, with its name over it."""
        self._top += self._heights[self._row] if self._row >= 0 else 0.0
        self._row += 1
        name = name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"
        self.page.text(MARGIN, self._top + _ROW_TITLE * 0.55, name)
        self.page.text(MARGIN + 0.075 * (len(name) + 2), self._top + _ROW_TITLE * 0.55, caption, FAINT)
        self._top += _ROW_TITLE

    def panel(self, group: int, number: int = 0) -> Axes:
        """A panel of this row."""
        left = self._starts[group] + number * (self.sizes.panel + self.sizes.gap)
        return self.page.panel(left, self._top, self.sizes.panel, self._heights[self._row])

    def bar(self, group: int, cmap: str | Colormap, top: float, label: str) -> None:
        """The colour bar of a group, for values from 0 to `top`."""
        self.page.bar((self._starts[group], self._bars, self.sizes.bar), cmap, top, label)
