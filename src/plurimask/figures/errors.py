"""Figures of how useful an uncertainty is: where errors are beside where it is high, and what referral by it gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.charts import SMALL, TEXT, say, style
from plurimask.figures.colours import FAINT, INK, PALETTE, RATER_COLOUR, SAMPLE_COLOUR, display_image, stripes, thinned
from plurimask.figures.page import MARGIN, Classes, Page, draw_map, draw_together, legend_height, show

_COLUMNS = ("image", "{raters}", "most likely map", "raters who disagree", "entropy", "mutual information")
_PANEL, _GAP = 1.32, 0.07  # inches
_TITLE, _ROW_TITLE, _BAR, _BAR_GAP = 0.27, 0.23, 0.4, 0.08  # inches
_NUMBER = 0.25  # inches: bars are so much shorter than panels that the numbers of neighbours do not meet
_TALLEST = 1.6  # height of a panel over its width, at most
_LEAST_PEAK = 0.01  # nats: below that a map is rounding, not information
_LONGEST_NAME = 60  # characters


@dataclass(frozen=True, eq=False)
class ErrorRow:
    """What is drawn of one image."""

    name: str
    image: NDArray[Any]
    """`(K, H, W)`, in any values."""
    raters: NDArray[Any]
    """`(R, H, W)`, label maps; a map of IGNORE is a rater who gave none."""
    mean: NDArray[Any]
    """`(C, H, W)`, mean class probabilities."""
    entropy: NDArray[Any]
    """`(H, W)`, nats."""
    mutual_information: NDArray[Any]
    """`(H, W)`, nats."""
    variance: NDArray[Any]
    """`(C, H, W)`, of each class's probability over the draws, 0 to 1/4."""


# ---- where errors and uncertainty are -----------------------------------------------------------------------------


def error_maps(rows: Sequence[ErrorRow], class_names: Sequence[str], has_background: bool = True) -> Figure:
    """Images below each other, each with its raters, the most likely map, its errors, and two maps of uncertainty.

    An error is shown as the share of the raters who disagree with the most likely class of a pixel, grey where nobody
    judged. With many classes the raters' panel shows what most of them say.

    Args:
        rows: at least one; images may differ in size, and in their numbers of raters.
        class_names: of all classes, in the order of their indices.
        has_background: whether class 0 is background.
    """
    if not rows:
        raise ValueError("no images to draw: give at least one ErrorRow")
    classes = Classes(tuple(class_names), has_background)
    lefts = [MARGIN + number * (_PANEL + _GAP) for number in range(len(_COLUMNS))]
    heights = [_PANEL * min(_TALLEST, np.shape(row.image)[-2] / np.shape(row.image)[-1]) for row in rows]
    bottom = _TITLE + sum(heights) + len(rows) * _ROW_TITLE
    width = lefts[-1] + _PANEL + MARGIN + 0.12  # room for the last number below the colour bar
    page = Page(width, bottom + max(_BAR, _BAR_GAP + legend_height(classes, lefts[3])))
    several = max(len(row.raters) for row in rows) > 1
    raters = "rater" if not several else "raters" if classes.are_outlined else "most raters"
    for left, title in zip(lefts, _COLUMNS, strict=True):
        page.text(left + _PANEL / 2, _TITLE / 2, title.format(raters=raters), centred=True)
    peaks = tuple(
        max(_LEAST_PEAK, *(float(np.nanmax(maps, initial=0.0)) for maps in maps_of_all))
        for maps_of_all in ([row.entropy for row in rows], [row.mutual_information for row in rows])
    )
    top = _TITLE
    for row, height in zip(rows, heights, strict=True):
        name = row.name if len(row.name) <= _LONGEST_NAME else f"...{row.name[3 - _LONGEST_NAME :]}"
        page.text(MARGIN, top + _ROW_TITLE * 0.55, name)
        panels = [page.panel(left, top + _ROW_TITLE, _PANEL, height) for left in lefts]
        _draw_row(panels, row, classes, peaks)
        top += _ROW_TITLE + height
    if not classes.is_binary:
        page.legend(classes, top + _BAR_GAP, lefts[3])
    page.bar((lefts[3], top + _BAR_GAP, _PANEL - _NUMBER), "viridis", 1.0, "share")
    for left, peak in zip(lefts[4:], peaks, strict=True):
        page.bar((left, top + _BAR_GAP, _PANEL - _NUMBER), "magma", peak, "nats")
    return page.figure


def _draw_row(panels: Sequence[Axes], row: ErrorRow, classes: Classes, peaks: Sequence[float]) -> None:
    picture, raters = display_image(thinned(row.image)), thinned(row.raters)
    prediction = thinned(row.mean).argmax(0).astype(np.uint8)
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
    share = disagreement(raters, prediction)
    show(panels[3], share, "viridis", 1.0)
    if np.isnan(share).any():
        panels[3].imshow(np.where(np.isnan(share)[..., None], stripes(share.shape), 0.0), interpolation="nearest")
    for axes, maps, peak in zip(panels[4:], (row.entropy, row.mutual_information), peaks, strict=True):
        show(axes, thinned(maps), "magma", peak)


def disagreement(raters: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.float64]:
    """The share of the raters who judged a pixel and call it otherwise, `(H, W)`, 0 to 1; NaN where nobody judged.

    Args:
        raters: label maps `(R, H, W)`.
        prediction: the label map `(H, W)`.
    """
    judged = raters != IGNORE
    wrong = judged & (raters != prediction)
    count = judged.sum(0)
    return np.where(count > 0, wrong.sum(0) / np.maximum(count, 1), np.nan)


def _majority(raters: NDArray[Any], num_classes: int) -> NDArray[np.uint8]:
    """The class that most raters chose `(H, W)`; of equals the first; IGNORE where nobody judged."""
    votes = np.stack([(raters == index).sum(0) for index in range(num_classes)])
    return np.where(votes.any(0), votes.argmax(0), IGNORE).astype(np.uint8)


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
    figure = Figure(figsize=(3.5, 3.3), facecolor="white", layout="constrained")
    axes = figure.subplots()
    style(axes, "handing unsure images to a person", "share of images handed over")
    axes.set_ylabel("mean Dice of those kept", fontsize=TEXT, color=INK)
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
    axes.xaxis.set_major_formatter(FuncFormatter(lambda part, _: f"{100 * part:g}%"))
    legend = figure.legend(loc="outside lower left", fontsize=SMALL, frameon=False, borderpad=0)
    for text in legend.get_texts():
        text.set_parse_math(False)
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
