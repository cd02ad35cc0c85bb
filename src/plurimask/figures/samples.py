"""Figures: images with their raters' maps and a method's samples; and the charts of `plurimask.charts`.

Everything here is a matplotlib `Figure` made without pyplot: no display, no global state.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from plurimask.figures.charts import (
    agreement,
    ged_per_image,
    reliability_diagram,
    sparsification_curves,
    training_curve,
)
from plurimask.figures.colours import FAINT, RATER_COLOUR, SAMPLE_COLOUR, colour_labels, display_image, thinned
from plurimask.figures.page import MARGIN, Classes, Page, draw_map, draw_together, legend_height, show
from plurimask.files import replace_file

__all__ = [
    "GridRow",
    "agreement",
    "colour_labels",
    "display_image",
    "figure_bytes",
    "ged_per_image",
    "overview",
    "reliability_diagram",
    "samples_grid",
    "save_figure",
    "sparsification_curves",
    "training_curve",
]

MAX_RATERS, MAX_SAMPLES = 4, 6
"""How many of each a grid shows."""

_PANELS, _SMALLEST, _LARGEST = 11.0, 0.86, 1.4  # inches: all panels of a row together, and the width of one
_GAP, _GROUP_GAP = 0.03, 0.13  # inches
_TITLE, _ROW_TITLE, _BAR, _BAR_GAP = 0.27, 0.23, 0.4, 0.08  # inches
_WIDE = 2.1  # inches, a panel of an overview
_TALLEST = 1.6  # height of a panel over its width, at most
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


@dataclass(frozen=True, eq=False)
class GridRow:
    """What is drawn of one image."""

    name: str
    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    raters: NDArray[Any] | None
    """`(R, H, W)`, label maps; a map of IGNORE is a rater who gave none. None where nobody labelled the image."""
    samples: NDArray[Any]
    """`(N, H, W)`, label maps."""
    mean: NDArray[Any]
    """`(C, H, W)`, mean class probabilities."""
    entropy: NDArray[Any]
    """`(H, W)`, nats."""
    caption: str = ""


# ---- a grid of images ---------------------------------------------------------------------------------------------


def samples_grid(rows: Sequence[GridRow], class_names: Sequence[str], has_background: bool = True) -> Figure:
    """Images below each other, each with its raters' maps, samples, mean and entropy beside it.

    At most 4 raters and 6 samples are shown; the headings say of how many. With a background and one other class, masks
    are outlined on the image and the mean is a map of probabilities; else classes have colours and the mean's most
    likely classes are shown. Where all that is marked lies in a small part of an image, only the first panel shows the
    whole, with a frame around the part that the others show.

    Args:
        rows: at least one. Images may differ in size, and in their numbers of raters.
        class_names: of all classes, in the order of their indices.
        has_background: whether class 0 is background.
    """
    if not rows:
        raise ValueError("no images to draw: give at least one GridRow")
    classes = Classes(tuple(class_names), has_background)
    num_raters = max(0 if row.raters is None else len(row.raters) for row in rows)
    num_samples = max(len(row.samples) for row in rows)
    groups = [
        ("image", 1),
        (_heading(min(num_raters, MAX_RATERS), num_raters, "rater"), min(num_raters, MAX_RATERS)),
        (_heading(min(num_samples, MAX_SAMPLES), num_samples, "sample"), min(num_samples, MAX_SAMPLES)),
        ("mean" if classes.is_binary else "most likely", 1),
        ("entropy", 1),
    ]
    panel = min(_LARGEST, max(_SMALLEST, _PANELS / sum(count for _, count in groups)))
    starts, width = _columns([count for _, count in groups], panel)
    heights = [panel * _aspect(row) for row in rows]
    bottom = _TITLE + sum(heights) + len(rows) * _ROW_TITLE
    page = Page(width, bottom + max(_BAR, _BAR_GAP + legend_height(classes, starts[4])))
    for (title, count), left in zip(groups, starts, strict=True):
        if count:
            page.text(left + (count * (panel + _GAP) - _GAP) / 2, _TITLE / 2, title, centred=True)
    peak, top = _entropy_peak(rows, classes), _TITLE
    for row, height in zip(rows, heights, strict=True):
        name = _shortened(row.name)
        page.text(MARGIN, top + _ROW_TITLE * 0.55, name)
        page.text(MARGIN + 0.075 * (len(name) + 2), top + _ROW_TITLE * 0.55, row.caption, FAINT)
        _draw_row(page, row, classes, _Place(starts, top + _ROW_TITLE, (panel, height), peak))
        top += _ROW_TITLE + height
    if classes.is_binary:
        page.bar((starts[3], top + _BAR_GAP, panel), "viridis", 1.0, "probability")
    else:
        page.legend(classes, top + _BAR_GAP, starts[4])
    page.bar((starts[4], top + _BAR_GAP, panel), "magma", peak, "nats")
    return page.figure


@dataclass(frozen=True)
class _Place:
    """Where a row goes, inches, and the top of its entropy scale."""

    starts: Sequence[float]
    top: float
    size: tuple[float, float]
    """Width and height of a panel."""
    peak: float

    def panel(self, page: Page, group: int, number: int = 0) -> Axes:
        return page.panel(self.starts[group] + number * (self.size[0] + _GAP), self.top, *self.size)


def _draw_row(page: Page, row: GridRow, classes: Classes, place: _Place) -> None:
    picture, whole = display_image(thinned(row.image)), place.panel(page, 0)
    show(whole, picture)
    raters = [] if row.raters is None else [*thinned(row.raters)]
    samples, mean = [*thinned(row.samples)], thinned(row.mean)
    drawn = []
    for group, maps, colour in ((1, raters[:MAX_RATERS], RATER_COLOUR), (2, samples[:MAX_SAMPLES], SAMPLE_COLOUR)):
        for number, labels in enumerate(maps):
            drawn.append(place.panel(page, group, number))
            show(drawn[-1], picture)
            draw_map(drawn[-1], labels, classes, colour)
    drawn += [place.panel(page, 3), place.panel(page, 4)]
    if classes.is_binary:
        show(drawn[-2], mean[1], "viridis", 1.0)
    else:
        show(drawn[-2], picture)
        draw_map(drawn[-2], mean.argmax(0).astype(np.uint8), classes, SAMPLE_COLOUR)
    show(drawn[-1], thinned(row.entropy), "magma", place.peak)
    _zoom(whole, drawn, _marked(raters + samples, classes))


def _marked(maps: Sequence[NDArray[Any]], classes: Classes) -> NDArray[np.bool_]:
    """Where any of the maps `(H, W)` marks a counted class."""
    together: NDArray[np.bool_] = np.any([np.isin(labels, classes.counted) for labels in maps], axis=0)
    return together


def _zoom(whole: Axes, panels: Sequence[Axes], marked: NDArray[np.bool_]) -> None:
    """Show in `panels` the part around what is marked, if that is small, and frame it in `whole`."""
    if not marked.any():
        return
    edges = []
    share = max(np.ptp(np.flatnonzero(marked.any(axis))) / marked.shape[1 - axis] for axis in (0, 1)) * 1.8
    share = max(share, 0.25, min(1.0, 16 / min(marked.shape)))
    if share > 0.65:
        return
    for axis, length in ((0, marked.shape[1]), (1, marked.shape[0])):
        places, side = np.flatnonzero(marked.any(axis)), share * length
        start = min(max((places[0] + places[-1] + 1 - side) / 2, 0), length - side) - 0.5
        edges.append((start, start + side))
    (left, right), (top, bottom) = edges
    for axes in panels:
        axes.set(xlim=(left, right), ylim=(bottom, top))
    whole.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=0.9))


def _heading(shown: int, count: int, what: str) -> str:
    plural = what if count == 1 else f"{what}s"
    if shown < count:
        return f"{shown} of {count} {plural}"
    return f"{count} {plural}" if count > 1 else plural


def _columns(counts: Sequence[int], panel: float) -> tuple[list[float], float]:
    """The left edge of each group of panels `panel` wide, and the width of the page, inches."""
    starts, left = [], MARGIN
    for count in counts:
        starts.append(left)
        left += count * (panel + _GAP) - _GAP + _GROUP_GAP if count else 0.0
    return starts, left - _GROUP_GAP + MARGIN + 0.12  # room for the last number below the colour bar


def _aspect(row: GridRow) -> float:
    height, width = np.shape(row.image)[-2:]
    return float(min(_TALLEST, height / width))


def _shortened(name: str) -> str:
    return name if len(name) <= 60 else f"...{name[-57:]}"


def _entropy_peak(rows: Sequence[GridRow], classes: Classes) -> float:
    """The top of the entropy scale: the largest value there can be of two classes, else the largest that is there."""
    largest = math.log(len(classes.names))
    return largest if classes.is_binary else min(largest, max(1e-3, *(float(np.max(row.entropy)) for row in rows)))


# ---- one image ----------------------------------------------------------------------------------------------------


def overview(row: GridRow, class_names: Sequence[str], has_background: bool = True) -> Figure:
    """One image: as it is, with the most likely map, with all samples' outlines, and the entropy in nats.

    With many classes, or without a background, the share of samples in which a boundary runs takes the place of
    outlines. Raters, where there are any, have a panel of their own.

    Args:
        row: one image.
        class_names: of all classes, in the order of their indices.
        has_background: whether class 0 is background.
    """
    classes = Classes(tuple(class_names), has_background)
    picture, samples, mean = display_image(thinned(row.image)), thinned(row.samples), thinned(row.mean)
    titles = ["image", "most likely map", _samples_title(samples, classes), "entropy"]
    if row.raters is not None:
        titles.insert(1, _heading(len(row.raters), len(row.raters), "rater"))
    lefts = [MARGIN + number * (_WIDE + 0.1) for number in range(len(titles))]
    width, height, top = lefts[-1] + _WIDE + MARGIN + 0.12, _WIDE * _aspect(row), 2 * _TITLE
    bottom = top + height + _BAR_GAP
    page = Page(width, bottom + max(_BAR, legend_height(classes, lefts[-2])))
    page.text(MARGIN, _TITLE / 2, f"{_shortened(row.name)}    {row.caption}")
    for left, title in zip(lefts, titles, strict=True):
        page.text(left, 1.5 * _TITLE, title)
    panels = [page.panel(left, top, _WIDE, height) for left in lefts]
    for axes in panels[:-1]:
        show(axes, picture)
    if row.raters is not None and len(row.raters) > 1:
        draw_together(panels[1], thinned(row.raters), classes, RATER_COLOUR)
    elif row.raters is not None:
        draw_map(panels[1], thinned(row.raters)[0], classes, RATER_COLOUR)
    draw_map(panels[-3], mean.argmax(0).astype(np.uint8), classes, SAMPLE_COLOUR)
    draw_together(panels[-2], samples, classes, SAMPLE_COLOUR)
    peak = _entropy_peak([row], classes)
    show(panels[-1], thinned(row.entropy), "magma", peak)
    if not classes.is_binary:
        page.legend(classes, bottom, lefts[-2])
    if not classes.are_outlined:
        page.bar((lefts[-2], bottom, _WIDE), "viridis", 1.0, "share of samples")
    page.bar((lefts[-1], bottom, _WIDE), "magma", peak, "nats")
    return page.figure


def _samples_title(samples: NDArray[Any], classes: Classes) -> str:
    if not classes.are_outlined:
        return f"boundaries of {len(samples)} samples"
    empty = sum(not np.isin(one, classes.counted).any() for one in samples)
    return _heading(len(samples), len(samples), "sample") + (f", {empty} of them empty" if empty else "")


# ---- files --------------------------------------------------------------------------------------------------------


def figure_bytes(figure: Figure, dpi: int = 150, file_format: str = "png") -> bytes:
    """A figure as the content of a "png", "pdf" or "svg" file: the same bytes whenever it is written."""
    stream = io.BytesIO()
    figure.savefig(stream, format=file_format, dpi=dpi, metadata=_METADATA[file_format])
    return stream.getvalue()


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure whole or not at all, in the format that the name says: .png, .pdf or .svg."""
    file_format = path.suffix.lower().removeprefix(".")
    if file_format not in _METADATA:
        raise ValueError(f"{path.name}: figures are written as {', '.join(_METADATA)}: give one of these endings")
    replace_file(path, figure_bytes(figure, dpi, file_format))
