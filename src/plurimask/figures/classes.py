"""Figures of the uncertainty of classes: where the draws differ in a class's probability, beside the errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask.figures.colours import SAMPLE_COLOUR, Colours, display_image, rgb, stripes, thinned
from plurimask.figures.errors import ErrorRow, disagreement
from plurimask.figures.page import MARGIN, Classes, Page, draw_map, legend_height, show

_PANEL, _GAP = 1.75, 0.07  # inches
_TITLE, _ROW_TITLE, _BAR, _BAR_GAP = 0.27, 0.23, 0.4, 0.08  # inches
_NUMBER = 0.25  # inches: bars are so much shorter than panels that the numbers of neighbours do not meet
_TALLEST = 1.6  # height of a panel over its width, at most
_LEAST_PEAK = 1e-3  # below that a map is rounding
_LONGEST_NAME, _LONGEST_CLASS = 60, 15  # characters
_WRONG = "#D7191C"
_FADED = 0.3  # how much of the image's contrast is left below the errors
_SHARE = LinearSegmentedColormap.from_list("wrong", ["white", _WRONG])


class _Column(NamedTuple):
    title: str
    maps: list[NDArray[np.float64]]
    """Standard deviations of each row, `(H, W)`."""

    @property
    def peak(self) -> float:
        return max(_LEAST_PEAK, *(float(np.nanmax(one, initial=0.0)) for one in self.maps))


def class_uncertainty(
    rows: Sequence[ErrorRow], class_names: Sequence[str], has_background: bool = True, class_index: int = 0
) -> Figure:
    """Images below each other, each with the prediction over it, the misclassified pixels, and maps of uncertainty.

    A misclassified pixel is red, the fainter the fewer of the raters disagree with its most likely class; grey stripes
    are where nobody judged. Uncertainty is the standard deviation of a class's probability over the draws: its mean
    over all classes, and that of one class. Of two classes both are the same, so that there is one map.

    Args:
        rows: at least one; images may differ in size, and in their numbers of raters.
        class_names: of all C classes, in the order of their indices.
        has_background: whether class 0 is background.
        class_index: whose uncertainty is shown by itself.

    Raises:
        ValueError: if there are no rows, or no such class.
    """
    if not rows:
        raise ValueError("no images to draw: give at least one ErrorRow")
    if not 0 <= class_index < len(class_names):
        raise ValueError(f"class_index {class_index} must be an index of the {len(class_names)} classes")
    classes = Classes(tuple(class_names), has_background)
    columns = _columns(rows, class_names, class_index)
    lefts = [MARGIN + number * (_PANEL + _GAP) for number in range(2 + len(columns))]
    heights = [_PANEL * min(_TALLEST, np.shape(row.image)[-2] / np.shape(row.image)[-1]) for row in rows]
    bottom = _TITLE + sum(heights) + len(rows) * _ROW_TITLE + _BAR
    width = lefts[-1] + _PANEL + MARGIN + 0.12  # room for the last number below the colour bar
    page = Page(width, bottom + legend_height(classes, width - 2 * MARGIN))
    for left, title in zip(lefts, ("prediction", "misclassified", *(one.title for one in columns)), strict=True):
        page.text(left + _PANEL / 2, _TITLE / 2, title, centred=True)
    top = _TITLE
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        name = row.name if len(row.name) <= _LONGEST_NAME else f"...{row.name[3 - _LONGEST_NAME :]}"
        page.text(MARGIN, top + _ROW_TITLE * 0.55, name)
        panels = [page.panel(left, top + _ROW_TITLE, _PANEL, height) for left in lefts]
        _draw_prediction(panels, row, classes)
        for axes, column in zip(panels[2:], columns, strict=True):
            show(axes, column.maps[number], "magma", column.peak)
        top += _ROW_TITLE + height
    if not classes.is_binary:
        page.legend(classes, bottom, width - 2 * MARGIN)
    if max(len(row.raters) for row in rows) > 1:
        page.bar((lefts[1], top + _BAR_GAP, _PANEL - _NUMBER), _SHARE, 1.0, "of the raters")
    for left, column in zip(lefts[2:], columns, strict=True):
        page.bar((left, top + _BAR_GAP, _PANEL - _NUMBER), "magma", column.peak, "std. dev.")
    return page.figure


def _columns(rows: Sequence[ErrorRow], class_names: Sequence[str], class_index: int) -> list[_Column]:
    deviations = [np.sqrt(np.asarray(thinned(row.variance), np.float64)) for row in rows]
    if len(class_names) == 2:
        return [_Column("uncertainty of both classes", [one.mean(0) for one in deviations])]
    name = class_names[class_index]
    name = name if len(name) <= _LONGEST_CLASS else f"{name[: _LONGEST_CLASS - 3].rstrip()}..."
    return [
        _Column("mean uncertainty", [one.mean(0) for one in deviations]),
        _Column(f"uncertainty of {name}", [one[class_index] for one in deviations]),
    ]


def _draw_prediction(panels: Sequence[Axes], row: ErrorRow, classes: Classes) -> None:
    picture, prediction = display_image(thinned(row.image)), thinned(row.mean).argmax(0).astype(np.uint8)
    show(panels[0], picture)
    draw_map(panels[0], prediction, classes, SAMPLE_COLOUR)
    faded = 1 - _FADED * (1 - picture.mean(-1, keepdims=True).repeat(3, -1))
    show(panels[1], faded)
    panels[1].imshow(misclassified(thinned(row.raters), prediction), interpolation="nearest")


def misclassified(raters: NDArray[Any], prediction: NDArray[Any]) -> Colours:
    """RGBA `(H, W, 4)`, 0 to 1: red where raters disagree with the prediction, as opaque as the share of them.

    Args:
        raters: label maps `(R, H, W)`. Pixels that nobody judged are in grey stripes.
        prediction: the label map `(H, W)`.
    """
    share = disagreement(raters, prediction)
    colours = np.empty((*share.shape, 4))
    colours[..., :3], colours[..., 3] = rgb(_WRONG), np.nan_to_num(share)
    unjudged = np.isnan(share)
    colours[unjudged] = stripes(share.shape)[unjudged]
    return colours
