"""Figures of images with their raters' maps and a method's samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask.figures.colours import INK, RATER_COLOUR, SAMPLE_COLOUR, display_image, peak, thinned
from plurimask.figures.page import (
    Classes,
    around,
    counted,
    draw_map,
    draw_ruler,
    draw_together,
    frame,
    is_low,
    label,
    likely,
    show,
)
from plurimask.figures.planes import is_volume, plane_rows
from plurimask.figures.rows import GridRow, ImageRows, Sizes
from plurimask.figures.ruler import ruler
from plurimask.figures.style import SMALL
from plurimask.prediction.readings import Reading, find_readings

MAX_RATERS, MAX_SAMPLES = 4, 6
"""How many of each a grid shows."""

_PANELS, _SMALLEST, _LARGEST = 14.0, 1.15, 1.6  # inches: all panels of a row together, and the width of one
_LONGEST_RATER = 18  # characters
_WIDE = 2.1  # inches, a panel of an overview


# ---- a grid of images ---------------------------------------------------------------------------------------------


def samples_grid(rows: Sequence[GridRow], class_names: Sequence[str], has_background: bool = True) -> Figure:
    """Images below each other, each with its raters' maps, samples, mean and entropy beside it.

    At most 4 raters and 6 samples are shown; the headings say of how many. Raters are named, and a scale bar is drawn
    where the size of a pixel is known. With a background and one other class, masks
    are outlined on the image and the mean is a map of probabilities; else classes have colours and the mean's most
    likely classes are shown. Where all that is marked lies in a small part of an image, only the first panel shows the
    whole, with a frame around the part that the others show. Of a volume three planes are drawn, each as an image.

    Args:
        rows: at least one. Images may differ in size, and in their numbers of raters.
        class_names: of all classes, in the order of their indices.
        has_background: whether class 0 is background.
    """
    classes = Classes(tuple(class_names), has_background)
    rows = [plane for row in rows for plane in plane_rows(row, classes.counted)]
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
    top = entropy_peak(rows, classes)
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
            if group == 1 and row.rater_names and not is_low(drawn[-1]):
                label(drawn[-1], _shortened(row.rater_names[number]), 0.5, 0.92)
    drawn += [sheet.panel(3), sheet.panel(4)]
    if classes.is_binary:
        show(drawn[-2], mean[1], "viridis", 1.0)
    else:
        show(drawn[-2], picture)
        draw_map(drawn[-2], likely(mean), classes, SAMPLE_COLOUR)
    show(drawn[-1], thinned(row.entropy), "magma", top)
    part = around(np.any([np.isin(labels, classes.counted) for labels in raters + samples], axis=0))
    frame(whole, part)
    draw_ruler(whole, ruler(row.pixel_size, row.image.shape[-1]))
    if part[0].start is not None:
        rows, columns = part
        step = -(-row.image.shape[-1] // picture.shape[1])
        draw_ruler(drawn[0], ruler(row.pixel_size, (columns.stop - columns.start) * step))
        for axes in drawn:
            axes.set(xlim=(columns.start - 0.5, columns.stop - 0.5), ylim=(rows.stop - 0.5, rows.start - 0.5))


def _heading(count: int, what: str, most: int | None = None) -> str:
    return what if count == 1 else counted(min(count, most or count), count, what)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_RATER else f"{name[: _LONGEST_RATER - 3]}..."


def entropy_peak(rows: Sequence[GridRow], classes: Classes) -> float:
    """The top of the entropy scale: the largest value there can be of two classes, else the largest that is there."""
    largest = math.log(len(classes.names))
    return largest if classes.is_binary else min(largest, peak([row.entropy for row in rows], 1e-3))


# ---- readings -----------------------------------------------------------------------------------------------------


def readings_grid(rows: Sequence[GridRow], class_names: Sequence[str], has_background: bool = True) -> Figure:
    """Images below each other, each with its raters' maps together, its probability, and the readings of its samples.

    Each reading has its share of the samples in the corner. Arguments as for `samples_grid`.
    """
    classes = Classes(tuple(class_names), has_background)
    of_rows = [find_readings(np.asarray(row.samples), classes.counted, len(classes.names)) for row in rows]
    most = max(map(len, of_rows), default=1)
    drawn = [
        (plane, readings)
        for row, readings in zip(rows, of_rows, strict=True)
        for plane in plane_rows(row, classes.counted)
    ]
    groups = [
        ("image", 1),
        ("raters", int(any(row.raters is not None for row in rows))),
        ("probability" if classes.is_binary else "most likely", 1),
        ("reading" if most == 1 else "readings", most),
    ]
    panel = min(_LARGEST, _PANELS / sum(count for _, count in groups))
    images = [row.image for row, _ in drawn]
    sheet = ImageRows(classes, images, groups, Sizes(panel, 0.03, 0.13, panel), first_bar=2)
    for row, readings in drawn:
        sheet.start(row.name, row.caption)
        picture, mean = display_image(thinned(row.image)), thinned(row.mean)
        show(sheet.panel(0), picture)
        if row.raters is not None:
            show(panel_of_raters := sheet.panel(1), picture)
            draw_together(panel_of_raters, thinned(row.raters), classes, RATER_COLOUR)
        show(panel_of_mean := sheet.panel(2), picture)
        panel_of_mean.imshow(probability_over(mean, classes), interpolation="antialiased")
        for number, reading in enumerate(readings):
            show(axes := sheet.panel(3, number), picture)
            draw_map(axes, thinned(row.samples[reading.medoid]), classes, SAMPLE_COLOUR, _nothing(reading, classes))
            if not is_low(axes):
                label(axes, share_of_samples(reading), 0.16, 0.92)
    if classes.is_binary:
        sheet.bar(2, "viridis", 1.0, "probability")
    return sheet.page.figure


# ---- one image ----------------------------------------------------------------------------------------------------


def overview(
    row: GridRow, readings: Sequence[Reading], class_names: Sequence[str], has_background: bool = True
) -> Figure:
    """One image: as it is, with the probability over it, and with each reading of its samples and that one's share.

    The probability is that of the one counted class; of several, the most likely class is shown, fainter where it is
    less sure. Raters, where there are any, have a panel of their own. Of a volume three planes are drawn below each
    other. `readings` are those of the row's samples, other arguments as for `samples_grid`.
    """
    classes = Classes(tuple(class_names), has_background)
    rows, measure = plane_rows(row, classes.counted), measure_of(row)
    titles = ["image", "probability" if classes.is_binary else "most likely, by probability"]
    if row.raters is not None:
        titles.insert(1, _heading(len(row.raters), "rater"))
    first = len(titles)
    titles += [reading_title(number, one, len(readings)) for number, one in enumerate(readings)]
    groups = [(title, 1) for title in titles]
    sheet = ImageRows(classes, [one.image for one in rows], groups, Sizes(_WIDE, 0.1, 0.1, _WIDE - 0.2), first)
    for place, one in enumerate(rows):
        sheet.start(one.name, one.caption)
        panels = [sheet.panel(number) for number in range(len(titles))]
        _draw_readings(panels, one, readings, classes)
        for axes, reading in zip(panels[first:], readings, strict=True):
            if place == len(rows) - 1 and (words := area_range(reading, classes, measure)) != "empty":
                axes.set_xlabel(words, fontsize=SMALL, color=INK, labelpad=3)
    if classes.is_binary:
        sheet.bar(first - 1, "viridis", 1.0, "probability")
    return sheet.page.figure


def _draw_readings(panels: Sequence[Axes], row: GridRow, readings: Sequence[Reading], classes: Classes) -> None:
    """The panels of one picture: itself, its raters, its probability, its readings."""
    picture, first = display_image(thinned(row.image)), len(panels) - len(readings)
    for axes in panels:
        show(axes, picture)
    if row.raters is not None and len(row.raters) > 1:
        draw_together(panels[1], thinned(row.raters), classes, RATER_COLOUR)
    elif row.raters is not None:
        draw_map(panels[1], thinned(row.raters)[0], classes, RATER_COLOUR)
    panels[first - 1].imshow(probability_over(thinned(row.mean), classes), interpolation="antialiased")
    for axes, reading in zip(panels[first:], readings, strict=True):
        draw_map(axes, thinned(row.samples[reading.medoid]), classes, SAMPLE_COLOUR, _nothing(reading, classes))


def reading_title(number: int, reading: Reading, count: int) -> str:
    """What is written over the reading of this number, from 0 on, of so many."""
    num_samples = len(reading.members)
    if count == 1:
        return "the sample" if num_samples == 1 else f"one reading of {num_samples} samples"
    return f"reading {number + 1}: {share_of_samples(reading)}"


def share_of_samples(reading: Reading) -> str:
    """In words: "62 %"."""
    return f"{100 * reading.share:.0f} %" if reading.share >= 0.01 else "under 1 %"


def measure_of(row: GridRow) -> tuple[str, float]:
    """What sizes of readings are told in, and how much of it a pixel or voxel is: millilitres of volumes whose voxels
    have a known size."""
    if not is_volume(row):
        return "pixels", 1.0
    voxel = math.nan if row.pixel_size is None else row.pixel_size.millilitres
    return ("voxels", 1.0) if math.isnan(voxel) else ("ml", voxel)


def area_range(reading: Reading, classes: Classes, measure: tuple[str, float] = ("pixels", 1.0)) -> str:
    """How much of the one counted class the samples of a reading have: "120 to 155 pixels"; "" of several."""
    if not classes.is_binary:
        return ""
    unit, scale = measure
    least, most = (f"{count:,}" if scale == 1 else f"{count * scale:.3g}" for count in reading.areas[1])
    amount = f"{most} {unit}" if least == most else f"{least} to {most} {unit}"
    return "empty" if reading.areas[1][1] == 0 else amount


def _nothing(reading: Reading, classes: Classes) -> str:
    """What to say of a picture of a reading on which nothing is to be seen: of a plane, or of an image made coarse."""
    return "nothing here" if any(reading.areas[index][1] for index in classes.counted) else "empty"


def probability_over(mean: NDArray[Any], classes: Classes) -> NDArray[np.float64]:
    """Class probabilities `(C, H, W)` as RGBA `(H, W, 4)`, transparent where there is nothing but background."""
    if classes.is_binary:
        painted = np.array(colormaps["viridis"](np.clip(mean[1], 0, 1)))
        painted[..., 3] = 0.75 * np.minimum(1, 4 * mean[1])
    else:
        painted = classes.overlay(likely(mean), SAMPLE_COLOUR, 0.8)
        painted[..., 3] *= mean.max(0)
    visible: NDArray[np.float64] = np.nan_to_num(painted)
    return visible
