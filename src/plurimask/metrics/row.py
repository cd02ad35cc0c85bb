"""What is said of one figure of an evaluation: a row of `plurimask.metrics.table`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from plurimask.metrics.image import ComparedImage, PixelSums

Over: TypeAlias = Literal["images", "median", "ratio", "pixels", "classes", "image"]

AVERAGED: dict[Over, str] = {
    "images": "mean over images",
    "median": "median over images",
    "ratio": "ratio of two means over images",
    "pixels": "pooled over the data set",
    "classes": "of each class, pooled over the data set",
    "image": "of each image alone",
}
"""Which mean over what a figure is, in words."""


@dataclass(frozen=True)
class MetricRow:
    """One figure."""

    key: str
    """Its name in JSON and CSV."""
    title: str
    """For people, within a sentence."""
    sentence: str
    """What it tells and how it is computed, without the mean over images."""
    _: KW_ONLY
    better: Literal["lower", "higher"] | None = None
    """None where neither is."""
    digits: int = 4
    """Behind the point."""
    over: Over = "images"
    """Which mean over what the figure of a data set is."""
    needs: str = ""
    """What there must be, that the figure exists."""
    source: str = ""
    of_image: Callable[[ComparedImage], float] | None = None
    """The figure of one image, a column of the CSV; NaN where it does not exist."""
    of_sums: Callable[[PixelSums], float | Tensor] | None = None
    """The figure of a data set where pixels are pooled; `(C,)` if it is of each class. NaN where it does not exist."""
    median_of: str = ""
    """The key of the figure whose median it is."""
    ratio_of: tuple[str, str] | None = None
    """The keys of the two figures whose means are divided, over the images that have both."""
    raters: str = ""
    """The key of what raters themselves score, to look at beside it."""
    empty: str = ""
    """The key of what masks score that mark nothing."""
    is_validated: bool = False
    """Whether it is logged while a method is trained."""
