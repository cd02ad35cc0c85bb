"""Figures of how useful an uncertainty is: where errors are beside where it is high, and what referral by it gains.

The uncertainty is that of pixels (entropy, mutual information), or where the draws differ in a class's probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.colours import (
    FAINT,
    PALETTE,
    RATER_COLOUR,
    SAMPLE_COLOUR,
    Colours,
    display_image,
    peak,
    rgb,
    stripes,
    thinned,
)
from plurimask.figures.page import Classes, draw_map, draw_together, likely, show, show_share
from plurimask.figures.planes import main_plane
from plurimask.figures.rows import GridRow, ImageRows, Sizes
from plurimask.figures.style import chart, in_percent, legend_below, say

_COLUMNS = ("image", "{raters}", "most likely map", "raters who disagree", "entropy", "mutual information")
_SIZES, _WIDE_SIZES = Sizes(1.32, 0.07, 0.07, 1.07), Sizes(1.75, 0.07, 0.07, 1.5)
_LEAST_NATS, _LEAST_DEVIATION = 0.01, 1e-3  # below that a map is rounding, not information
_LONGEST_CLASS = 15  # characters
_WRONG = "#D7191C"
_FADED = 0.3  # how much of the image's contrast is left below the errors
_SHARE = LinearSegmentedColormap.from_list("wrong", ["white", _WRONG])


@dataclass(frozen=True, eq=False)
class ErrorRow(GridRow):
    """What is drawn of one image that raters labelled."""

    raters: NDArray[Any]
    mutual_information: NDArray[Any] = field(kw_only=True)
    """`(H, W)`, nats."""
    variance: NDArray[Any] = field(kw_only=True)
    """`(C, H, W)`, of each class's probability over the draws, 0 to 1/4."""


# ---- where errors and uncertainty are -----------------------------------------------------------------------------


def error_maps(rows: Sequence[ErrorRow], class_names: Sequence[str], has_background: bool = True) -> Figure:
    """Images below each other, each with its raters, the most likely map, its errors, and two maps of uncertainty.

    An error is shown as the share of the raters who disagree with the most likely class of a pixel, grey where nobody
    judged. With many classes the raters' panel shows what most of them say. Of a volume one plane is drawn, which is
    named. Arguments as for `samples_grid`.
    """
    classes = Classes(tuple(class_names), has_background)
    rows = [main_plane(row, classes.counted) for row in rows]
    several = max((len(row.raters) for row in rows), default=0) > 1
    raters = "rater" if not several else "raters" if classes.are_outlined else "most raters"
    groups = [(title.format(raters=raters), 1) for title in _COLUMNS]
    sheet = ImageRows(classes, [row.image for row in rows], groups, _SIZES, first_bar=3)
    uncertain = [[row.entropy for row in rows], [row.mutual_information for row in rows]]
    peaks = [peak(maps, _LEAST_NATS) for maps in uncertain]
    for row in rows:
        sheet.start(row.name)
        _draw_row([sheet.panel(number) for number in range(len(groups))], row, classes, peaks)
    sheet.bar(3, "viridis", 1.0, "share")
    for number, top in enumerate(peaks, 4):
        sheet.bar(number, "magma", top, "nats")
    return sheet.page.figure


def _draw_row(panels: Sequence[Axes], row: ErrorRow, classes: Classes, peaks: Sequence[float]) -> None:
    picture, raters = display_image(thinned(row.image)), thinned(row.raters)
    prediction = likely(thinned(row.mean))
    for axes in panels[:3]:
        show(axes, picture)
    present = raters[(raters != IGNORE).any((1, 2))]
    marking = np.isin(present, classes.counted).any()
    if len(present) > 1 and marking and classes.are_outlined:
        draw_together(panels[1], present, classes, RATER_COLOUR)
    elif len(present) > 1:
        draw_map(panels[1], _majority(present, len(classes.names)), classes, RATER_COLOUR)
    else:
        draw_map(panels[1], [*present, *raters][0], classes, RATER_COLOUR)
    draw_map(panels[2], prediction, classes, SAMPLE_COLOUR)
    show_share(panels[3], disagreement(raters, prediction))
    for axes, maps, top in zip(panels[4:], (row.entropy, row.mutual_information), peaks, strict=True):
        show(axes, thinned(maps), "magma", top)


def disagreement(raters: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.float64]:
    """The share of the raters `(R, H, W)` who judged a pixel and call it otherwise, 0 to 1; NaN where nobody judged."""
    judged = raters != IGNORE
    wrong = judged & (raters != prediction)
    count = judged.sum(0)
    return np.where(count > 0, wrong.sum(0) / np.maximum(count, 1), np.nan)


def _majority(raters: NDArray[Any], num_classes: int) -> NDArray[np.uint8]:
    """The class that most raters chose `(H, W)`; of equals the first; IGNORE where nobody judged."""
    votes = np.stack([(raters == index).sum(0) for index in range(num_classes)])
    return np.where(votes.any(0), votes.argmax(0), IGNORE).astype(np.uint8)


# ---- the uncertainty of classes -----------------------------------------------------------------------------------


def class_uncertainty(
    rows: Sequence[ErrorRow], class_names: Sequence[str], has_background: bool = True, class_index: int = 0
) -> Figure:
    """Images below each other, each with the prediction over it, the misclassified pixels, and maps of uncertainty.

    A misclassified pixel is red, the fainter the fewer of the raters disagree with its most likely class; grey stripes
    are where nobody judged. Uncertainty is the standard deviation of a class's probability over the draws: its mean
    over all classes, and that of one class. Of two classes both are the same, so that there is one map.

    Arguments as for `samples_grid`; `class_index`: whose uncertainty is shown by itself.

    Raises:
        ValueError: if there are no rows, or no such class.
    """
    if not 0 <= class_index < len(class_names):
        raise ValueError(f"class_index {class_index} must be an index of the {len(class_names)} classes")
    classes = Classes(tuple(class_names), has_background)
    rows = [main_plane(row, classes.counted) for row in rows]
    columns = _deviations(rows, class_names, class_index)
    groups = [(title, 1) for title in ("prediction", "misclassified", *columns)]
    sheet = ImageRows(classes, [row.image for row in rows], groups, _WIDE_SIZES, first_bar=1)
    peaks = [peak(maps, _LEAST_DEVIATION) for maps in columns.values()]
    for number, row in enumerate(rows):
        sheet.start(row.name)
        _draw_prediction(sheet.panel(0), sheet.panel(1), row, classes)
        for group, (maps, top) in enumerate(zip(columns.values(), peaks, strict=True), 2):
            show(sheet.panel(group), maps[number], "magma", top)
    if max(len(row.raters) for row in rows) > 1:
        sheet.bar(1, _SHARE, 1.0, "of the raters")
    for group, top in enumerate(peaks, 2):
        sheet.bar(group, "magma", top, "std. dev.")
    return sheet.page.figure


def _deviations(
    rows: Sequence[ErrorRow], class_names: Sequence[str], class_index: int
) -> dict[str, list[NDArray[np.float64]]]:
    """By the heading of a column: standard deviations of each row, `(H, W)`."""
    deviations = [np.sqrt(np.asarray(thinned(row.variance), np.float64)) for row in rows]
    means = [one.mean(0) for one in deviations]
    if len(class_names) == 2:
        return {"uncertainty of both classes": means}
    name = class_names[class_index]
    name = name if len(name) <= _LONGEST_CLASS else f"{name[: _LONGEST_CLASS - 3].rstrip()}..."
    return {"mean uncertainty": means, f"uncertainty of {name}": [one[class_index] for one in deviations]}


def _draw_prediction(left: Axes, right: Axes, row: ErrorRow, classes: Classes) -> None:
    picture, prediction = display_image(thinned(row.image)), likely(thinned(row.mean))
    show(left, picture)
    draw_map(left, prediction, classes, SAMPLE_COLOUR)
    show(right, 1 - _FADED * (1 - picture.mean(-1, keepdims=True).repeat(3, -1)))
    right.imshow(misclassified(thinned(row.raters), prediction), interpolation="nearest")


def misclassified(raters: NDArray[Any], prediction: NDArray[Any]) -> Colours:
    """RGBA `(H, W, 4)`, 0 to 1: red where raters `(R, H, W)` disagree with the prediction `(H, W)`.

    As opaque as the share of them; pixels that nobody judged are in grey stripes.
    """
    share = disagreement(raters, prediction)
    colours = np.empty((*share.shape, 4))
    colours[..., :3], colours[..., 3] = rgb(_WRONG), np.nan_to_num(share)
    unjudged = np.isnan(share)
    colours[unjudged] = stripes(share.shape)[unjudged]
    return colours


# ---- what referral gains ------------------------------------------------------------------------------------------


def referral_curve(dice: Sequence[float], score: Sequence[float], score_name: str) -> Figure:
    """The mean Dice of the images that are kept, against the share that is handed to a person: those of lowest score.

    Beside it the two ends: handing over at random, and by the true Dice. The legend says how much of the area between
    them the score gains.

    Args:
        dice: of each image, 0 to 1; NaN where it does not exist.
        score: of each image in the same order: higher for those to be kept. Images without a Dice or a score are left
            out; among images of one score the order is random, and the curve its expectation.
        score_name: for the legend.
    """
    title, along = "handing unsure images to a person", "share of images handed over"
    figure, axes = chart((3.5, 2.7), title, along, "mean Dice of those kept")
    true, order = np.asarray(dice, dtype=np.float64), np.asarray(score, dtype=np.float64)
    both = ~(np.isnan(true) | np.isnan(order))
    true, order = true[both], order[both]
    if len(true) < 2:
        say(axes, "it takes two images with a Dice")
        return figure
    share = np.arange(len(true)) / len(true)
    gain = referral_gain(true, order)
    gained = "" if math.isnan(gain) else f": {100 * gain:.0f} % of the area"
    for values, label, colour, line in (
        (kept_mean(true, true), "ideal: by true Dice", PALETTE[2], "--"),
        (kept_mean(true, order), f"{score_name}{gained}", PALETTE[4], "-"),
        (np.full(len(true), true.mean()), "at random", FAINT, ":"),
    ):
        axes.plot(share, values, label=label, color=colour, linestyle=line, linewidth=2.0 if line == "-" else 1.3)
    axes.set_xlim(0, 1)
    in_percent(axes.xaxis)
    legend_below(figure)
    return figure


def kept_mean(dice: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean Dice of the images left, once 0, 1, ... n - 1 of lowest score are handed over, `(n,)`.

    Images of one score are handed over in random order: each stands for their mean, the expectation.
    """
    _, group = np.unique(score, return_inverse=True)
    group = group.reshape(-1)  # numpy 2.0 gave it another shape
    expected = (np.bincount(group, dice) / np.bincount(group))[group][np.argsort(score, kind="stable")]
    means: NDArray[np.float64] = (expected[::-1].cumsum() / np.arange(1, len(dice) + 1))[::-1]
    return means


def referral_gain(dice: Sequence[float] | NDArray[Any], score: Sequence[float] | NDArray[Any]) -> float:
    """How much of the area between random and ideal referral a score gains: 1 is ideal, 0 chance, below 0 harmful.

    Args:
        dice: of each image, without NaN.
        score: of each image, without NaN: higher for those to be kept.

    Returns:
        NaN if all images have the same Dice.
    """
    true, order = np.asarray(dice, dtype=np.float64), np.asarray(score, dtype=np.float64)
    best, own = (_area(kept_mean(true, by) - true.mean()) if len(true) else 0.0 for by in (true, order))
    return own / best if best > 1e-9 else math.nan


def _area(values: NDArray[np.float64]) -> float:
    """Below a curve through points at equal steps of 1."""
    return float((values[1:] + values[:-1]).sum()) / 2


def referral_score(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], str, str]:
    """By what the images of an evaluation are kept or handed over.

    Args:
        rows: `dice`, `expected_dice` and `mean_entropy` of each image (`plurimask.metrics.ImageScores`).

    Returns:
        A score of each image, its name, and a sentence that says why it is this one: the expected Dice, or, where that
        does not tell images apart, the mean entropy (negative, so that the highest is handed over first).
    """
    expected = [float(row["expected_dice"]) for row in rows if not math.isnan(row["dice"])]
    if expected and all(map(math.isfinite, expected)) and max(expected) - min(expected) > 1e-9:
        return (
            [float(row["expected_dice"]) for row in rows],
            "expected Dice",
            "Images are ordered by their expected Dice, the mean Dice between two samples: the lowest first.",
        )
    return (
        [-float(row["mean_entropy"]) for row in rows],
        "mean entropy",
        "The expected Dice tells no images apart (a single prediction always agrees with itself), so images are "
        "ordered by the mean entropy of their pixels: the highest first.",
    )
