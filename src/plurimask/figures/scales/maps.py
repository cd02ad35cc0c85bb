"""Figures of a method whose latents live at several scales: what each scale decides, and what rebuilds a rater's map.

Scales are counted from coarse to fine, as in Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale
Ambiguities" (arXiv:1905.13077). Each function draws arrays and returns a matplotlib Figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.colours import FAINT, INK, RATER_COLOUR, SAMPLE_COLOUR, peak
from plurimask.figures.page import MARGIN, Classes, Page, counted, legend_height, outline, show, show_share
from plurimask.figures.scales.view import View, check_shape, disagreement_of

MAX_COLUMNS, MAX_DRAWS = 8, 6
"""Maps in a row of `scale_samples`, and draws in `coarse_to_fine`; of more, the first are shown."""

_PANEL, _GAP, _GROUP_GAP = 1.25, 0.05, 0.16  # inches
_TITLE, _BAR, _BAR_GAP, _LINE = 0.23, 0.4, 0.1, 0.19  # inches
_NUMBER = 0.25  # inches: a bar is so much shorter than its panel, for the number at its end
_LETTER = 0.066  # inches, the width of a letter
_PITCH = _PANEL + _GAP


@dataclass(frozen=True, eq=False)
class ScaleSamples:
    """Label maps of one image, drawn with some scales at random and the others at the prior's mean."""

    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    raters: NDArray[Any] | None
    """`(R, H, W)`, label maps; a map of IGNORE is a rater who gave none. None where nobody labelled the image."""
    scale_names: Sequence[str]
    """Of the L scales, coarse to fine: "1 x 1", "2 x 2"."""
    kinds: Mapping[str, NDArray[Any]]
    """`(N, H, W)`, label maps sampled in different ways: "global only", "local only", "all scales"."""
    steps: NDArray[Any]
    """`(L + 1, M, H, W)`, label maps of M draws: `steps[l]` with the l coarsest scales drawn and the others at the
    prior's mean. So `steps[0]` is the map of the prior's mean, and `steps[L]` holds full samples."""
    class_names: Sequence[str]
    """Of all classes, in the order of their indices."""
    has_background: bool = True

    @property
    def classes(self) -> Classes:
        """The classes, and how they are drawn."""
        return Classes(tuple(self.class_names), self.has_background)

    @property
    def maps_of_raters(self) -> NDArray[Any]:
        """`(R, H, W)`; R = 0 where nobody labelled the image."""
        return np.zeros((0, *self.image.shape[1:]), np.uint8) if self.raters is None else self.raters


@dataclass(frozen=True, eq=False)
class ReconstructionLadder:
    """Each rater's map rebuilt from its posterior at more and more scales."""

    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    raters: NDArray[Any]
    """`(R, H, W)`, label maps; a map of IGNORE is a rater who gave none."""
    reconstructions: NDArray[Any]
    """`(L + 1, R, H, W)`, label maps: row l is decoded from the means of the rater's posterior at the l coarsest
    scales, the others at the prior's mean. Row 0 knows nothing of the rater."""
    iou: NDArray[Any]
    """`(L + 1, R)`, between a rater's map and its reconstruction, 0 to 1; NaN where it does not exist."""
    scale_names: Sequence[str]
    """Of the L scales, coarse to fine: "1 x 1", "2 x 2"."""
    class_names: Sequence[str]
    """Of all classes, in the order of their indices."""
    has_background: bool = True


# ---- samples, by the scales that vary -----------------------------------------------------------------------------


def scale_samples(content: ScaleSamples) -> Figure:
    """An image with its raters, and below them a row of samples for each kind, at most 8.

    At the end of a row, a map of where its maps disagree, those not shown included: the share of a pixel's maps that
    differ from the most frequent class. Where all that is marked lies in a small part of the image, only the first
    panel shows the whole, with a frame around the part that the others show.

    Raises:
        ValueError: an array has the wrong shape, or there is no kind.
    """
    check_samples(content, needs_kinds=True)
    classes, rows = content.classes, [("raters", content.maps_of_raters), *content.kinds.items()]
    view = View(content.image, [maps for _, maps in rows], classes)
    columns = min(MAX_COLUMNS, max(len(maps) + (row == 0) for row, (_, maps) in enumerate(rows)))
    height, last = _PANEL * view.ratio, MARGIN + columns * _PITCH + _GROUP_GAP
    bottom = len(rows) * (_TITLE + height) + _BAR_GAP
    page = Page(last + _PANEL + MARGIN, bottom + max(_BAR, legend_height(classes, last)))
    shares = [disagreement_of(maps, len(classes.names)) for _, maps in rows]
    # The largest share that there can be of two classes, else the largest that is there.
    highest = 0.5 if len(classes.names) == 2 else peak(shares, 0.01)
    view.draw_whole(_panel(page, MARGIN, 0.0, height, "image"))
    for row, ((name, maps), share) in enumerate(zip(rows, shares, strict=True)):
        top, start = row * (_TITLE + height), MARGIN if row else MARGIN + _PITCH
        shown = maps[: columns if row else columns - 1]
        words = counted(len(shown), len(maps), "sample" if row else "rater")
        if row:
            page.text(start, top + _TITLE * 0.55, name)
            page.text(start + _LETTER * (len(name) + 2), top + _TITLE * 0.55, words, FAINT)
        elif len(maps):
            page.text(start, top + _TITLE * 0.55, words)
        for number, labels in enumerate(shown):
            axes = _panel(page, start + number * _PITCH, top, height)
            view.draw(axes, labels, SAMPLE_COLOUR if row else RATER_COLOUR)
        if len(maps) > 1:
            show_share(_panel(page, last, top, height, "disagreement"), view.cut(share), highest)
    page.legend(classes, bottom, last)
    page.bar((last, bottom, _PANEL - _NUMBER), "viridis", highest, "share")
    return page.figure


def _panel(page: Page, left: float, top: float, height: float, words: str = "", colour: str = INK) -> Axes:
    """A panel with a line of words over it, for which there is room in any case."""
    page.text(left, top + _TITLE * 0.55, words, colour)
    return page.panel(left, top + _TITLE, _PANEL, height)


# ---- what each scale adds -----------------------------------------------------------------------------------------


def coarse_to_fine(content: ScaleSamples) -> Figure:
    """How samples grow: a column for each draw, at most 6, and from row to row one more scale drawn.

    The first row is the map of the prior's mean. In each further row the pixels are marked that the scale has changed
    against the row above, and their share of the image is given over the panel. Of binary data, pixels added and taken
    away have colours of their own; else what stayed is pale. At the left, the image and as many raters as there is room
    for.

    Raises:
        ValueError: an array has the wrong shape.
    """
    check_samples(content)
    classes, steps = content.classes, content.steps[:, :MAX_DRAWS]
    raters = content.maps_of_raters[: len(steps) - 1]
    view = View(content.image, [steps, raters], classes)
    names = step_names(content.scale_names)
    room, height = _LETTER * max(len(name) for name in names) + 0.15, _PANEL * view.ratio
    start = MARGIN + _PANEL + _GROUP_GAP + room
    width = start + steps.shape[1] * _PITCH + MARGIN
    bottom = len(steps) * (_TITLE + height) + _BAR_GAP
    page = Page(width, bottom + _LINE + legend_height(classes, width - MARGIN))
    for row, (name, maps) in enumerate(zip(names, steps, strict=True)):
        top = row * (_TITLE + height)
        page.text(start - room, top + _TITLE + height / 2, name)
        for draw, labels in enumerate(maps):
            left = start + draw * _PITCH
            if row == 0:
                view.draw(_panel(page, left, top, height, f"draw {draw + 1}"), labels)
                continue
            before = steps[row - 1, draw]
            words = f"{_percent(float((labels != before).mean()))} changed"
            view.draw_change(_panel(page, left, top, height, words, FAINT), labels, before)
        if row == 0:
            view.draw_whole(_panel(page, MARGIN, top, height, "image"))
        elif row <= len(raters):
            view.draw(_panel(page, MARGIN, top, height, f"rater {row}"), raters[row - 1], RATER_COLOUR)
    marks = ("added by the scale just drawn", "taken away by it", "changed by the scale just drawn")
    page.marks(view.change_legend(*marks), bottom)
    page.legend(classes, bottom + _LINE, width - MARGIN)
    return page.figure


def step_names(scale_names: Sequence[str]) -> list[str]:
    """What has been drawn after 0, 1 ... L scales: "prior mean", "+ 1 x 1", "+ 2 x 2"."""
    return ["prior mean", *(f"+ {name}" for name in scale_names)]


def _percent(share: float) -> str:
    """A share with about two digits: "0%", "0.04%", "1.2%", "37%"."""
    return f"{100 * share:.{0 if share == 0 or share >= 0.1 else 1 if share >= 0.001 else 2}f}%"


def check_samples(content: ScaleSamples, needs_kinds: bool = False) -> None:
    """Raise `ValueError` where an array does not fit the image or the number of scales, or kinds are missing."""
    size, num_scales = _check_image(content)
    if needs_kinds and not content.kinds:
        raise ValueError("no kinds of samples: give at least one, such as kinds={'all scales': samples}")
    if content.raters is not None:
        check_shape("raters", content.raters, ("R", *size))
    for name, maps in content.kinds.items():
        check_shape(f"samples of kind {name!r}", maps, ("N", *size))
    check_shape(f"steps through {num_scales} scales", content.steps, (num_scales + 1, "M", *size))


def _check_image(content: ScaleSamples | ReconstructionLadder) -> tuple[tuple[int, ...], int]:
    """Height and width of the image, and the number of scales."""
    check_shape("image", content.image, ("K", "H", "W"))
    if not content.scale_names:
        raise ValueError("scale_names is empty: give the name of at least one scale")
    return content.image.shape[1:], len(content.scale_names)


# ---- what rebuilds a rater's map ----------------------------------------------------------------------------------


def reconstruction_ladder(content: ReconstructionLadder) -> Figure:
    """Each rater's map, and its reconstructions from the posterior's means of no scale, one, two ... all scales.

    A row for each rater, a column for each number of scales, with the mean IoU in its heading and the IoU of each map
    below it. Of binary data both outlines are drawn over the image; else the reconstruction is pale where it agrees
    with the rater, and vivid with a black edge where it does not.

    Raises:
        ValueError: an array has the wrong shape.
    """
    _check_ladder(content)
    classes = Classes(tuple(content.class_names), content.has_background)
    view = View(content.image, [content.raters, content.reconstructions], classes)
    height, start = _PANEL * view.ratio, MARGIN + _PITCH + _GROUP_GAP
    width = start + len(content.reconstructions) * _PITCH + MARGIN
    first = 3 * _LINE
    bottom = first + len(content.raters) * (height + _TITLE) + _BAR_GAP
    page = Page(width, bottom + _LINE + legend_height(classes, width - MARGIN))
    page.text(start, _LINE * 0.6, "rebuilt from the posterior's means at")
    names = ["no scale", content.scale_names[0], *step_names(content.scale_names)[2:]]
    for column, (name, iou) in enumerate(zip(names, content.iou, strict=True)):
        left = start + column * _PITCH
        page.text(left, _LINE * 1.6, name)
        finite = iou[np.isfinite(iou)]
        page.text(left, _LINE * 2.5, f"mean IoU {finite.mean():.2f}" if len(finite) else "no IoU", FAINT)
    for row, rater in enumerate(content.raters):
        top = first + row * (height + _TITLE)
        view.draw_whole(page.panel(MARGIN, top, _PANEL, height), rater, RATER_COLOUR)
        page.text(MARGIN, top + height + _TITLE * 0.45, f"rater {row + 1}")
        for column, (rebuilt, iou) in enumerate(zip(content.reconstructions[:, row], content.iou[:, row], strict=True)):
            left = start + column * _PITCH
            axes = page.panel(left, top, _PANEL, height)
            page.text(left, top + height + _TITLE * 0.45, _iou_words(float(iou), rater, rebuilt, classes), FAINT)
            if not classes.is_binary:
                view.draw_change(axes, rebuilt, rater)
                continue
            show(axes, view.picture)
            outline(axes, view.cut(rater) == 1, RATER_COLOUR)
            outline(axes, view.cut(rebuilt) == 1, SAMPLE_COLOUR)
    if classes.is_binary:
        pairs = (("the rater's outline", RATER_COLOUR), ("the reconstruction's", SAMPLE_COLOUR))
        page.marks([Patch(facecolor=colour, label=words) for words, colour in pairs], bottom)
    else:
        page.marks(view.change_legend("", "", "unlike the rater's map"), bottom)
        page.legend(classes, bottom + _LINE, width - MARGIN)
    return page.figure


def _iou_words(iou: float, rater: NDArray[Any], rebuilt: NDArray[Any], classes: Classes) -> str:
    words = "no IoU" if math.isnan(iou) else f"IoU {iou:.2f}"
    if np.isin(rebuilt, classes.counted).any() or (rater == IGNORE).all():
        return words
    return f"{words}, empty" if np.isin(rater, classes.counted).any() else f"{words}, both empty"


def _check_ladder(content: ReconstructionLadder) -> None:
    size, num_scales = _check_image(content)
    check_shape("raters", content.raters, ("R", *size))
    expected = (num_scales + 1, len(content.raters))
    check_shape(f"reconstructions from {num_scales} scales", content.reconstructions, (*expected, *size))
    check_shape(f"iou of reconstructions from {num_scales} scales", content.iou, expected)
