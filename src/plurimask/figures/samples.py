"""Figures of images with their raters' maps and a method's samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask.figures.colours import RATER_COLOUR, SAMPLE_COLOUR, display_image, peak, thinned
from plurimask.figures.page import Classes, around, counted, draw_map, draw_together, frame, likely, show
from plurimask.figures.rows import ImageRows, Sizes

MAX_RATERS, MAX_SAMPLES = 4, 6
"""How many of each a grid shows."""

_PANELS, _SMALLEST, _LARGEST = 11.0, 0.86, 1.4  # inches: all panels of a row together, and the width of one
_WIDE = 2.1  # inches, a panel of an overview


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
    classes = Classes(tuple(class_names), has_background)
    num_raters = max((0 if row.raters is None else len(row.raters) for row in rows), default=0)
    num_samples = max((len(row.samples) for row in rows), default=0)
    groups = [
        ("image", 1),
        (_heading(num_raters, "rater", MAX_RATERS), min(num_raters, MAX_RATERS)),
        (_heading(num_samples, "sample", MAX_SAMPLES), min(num_samples, MAX_SAMPLES)),
        ("mean" if classes.is_binary else "most likely", 1),
        ("entropy", 1),
    ]
    panel = min(_LARGEST, max(_SMALLEST, _PANELS / sum(count for _, count in groups)))
    sheet = ImageRows(classes, [row.image for row in rows], groups, Sizes(panel, 0.03, 0.13, panel), first_bar=4)
    top = _entropy_peak(rows, classes)
    for row in rows:
        sheet.start(row.name, row.caption)
        _draw_row(sheet, row, classes, top)
    if classes.is_binary:
        sheet.bar(3, "viridis", 1.0, "probability")
    sheet.bar(4, "magma", top, "nats")
    return sheet.page.figure


def _draw_row(sheet: ImageRows, row: GridRow, classes: Classes, top: float) -> None:
    picture, whole = display_image(thinned(row.image)), sheet.panel(0)
    show(whole, picture)
    raters = [] if row.raters is None else [*thinned(row.raters)]
    samples, mean = [*thinned(row.samples)], thinned(row.mean)
    drawn = []
    for group, maps, colour in ((1, raters[:MAX_RATERS], RATER_COLOUR), (2, samples[:MAX_SAMPLES], SAMPLE_COLOUR)):
        for number, labels in enumerate(maps):
            drawn.append(sheet.panel(group, number))
            show(drawn[-1], picture)
            draw_map(drawn[-1], labels, classes, colour)
    drawn += [sheet.panel(3), sheet.panel(4)]
    if classes.is_binary:
        show(drawn[-2], mean[1], "viridis", 1.0)
    else:
        show(drawn[-2], picture)
        draw_map(drawn[-2], likely(mean), classes, SAMPLE_COLOUR)
    show(drawn[-1], thinned(row.entropy), "magma", top)
    part = around(np.any([np.isin(labels, classes.counted) for labels in raters + samples], axis=0))
    frame(whole, part)
    if part[0].start is not None:
        rows, columns = part
        for axes in drawn:
            axes.set(xlim=(columns.start - 0.5, columns.stop - 0.5), ylim=(rows.stop - 0.5, rows.start - 0.5))


def _heading(count: int, what: str, most: int | None = None) -> str:
    return what if count == 1 else counted(min(count, most or count), count, what)


def _entropy_peak(rows: Sequence[GridRow], classes: Classes) -> float:
    """The top of the entropy scale: the largest value there can be of two classes, else the largest that is there."""
    largest = math.log(len(classes.names))
    return largest if classes.is_binary else min(largest, peak([row.entropy for row in rows], 1e-3))


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
        titles.insert(1, _heading(len(row.raters), "rater"))
    last, groups = len(titles) - 1, [(title, 1) for title in titles]
    sheet = ImageRows(classes, [row.image], groups, Sizes(_WIDE, 0.1, 0.1, _WIDE - 0.2), last - 1)
    sheet.start(row.name, row.caption)
    panels = [sheet.panel(number) for number in range(len(titles))]
    for axes in panels[:-1]:
        show(axes, picture)
    if row.raters is not None and len(row.raters) > 1:
        draw_together(panels[1], thinned(row.raters), classes, RATER_COLOUR)
    elif row.raters is not None:
        draw_map(panels[1], thinned(row.raters)[0], classes, RATER_COLOUR)
    draw_map(panels[-3], likely(mean), classes, SAMPLE_COLOUR)
    draw_together(panels[-2], samples, classes, SAMPLE_COLOUR)
    top = _entropy_peak([row], classes)
    show(panels[-1], thinned(row.entropy), "magma", top)
    if not classes.are_outlined:
        sheet.bar(last - 1, "viridis", 1.0, "share of samples")
    sheet.bar(last, "magma", top, "nats")
    return sheet.page.figure


def _samples_title(samples: NDArray[Any], classes: Classes) -> str:
    if not classes.are_outlined:
        return f"boundaries of {len(samples)} samples"
    empty = sum(not np.isin(one, classes.counted).any() for one in samples)
    return _heading(len(samples), "sample") + (f", {empty} of them empty" if empty else "")
