"""How large what is marked is: the volumes of samples against those of raters, and whether neighbouring slices agree.

A volume is a number, so the law that samples give it is judged by a proper score of numbers, the continuous ranked
probability score

    CRPS(F, v) = E |V - v| - 1/2 E |V - V'|,     V, V' ~ F independent,

which has the unit of v, is least in expectation where F is the law of v, and is |V - v| for a single answer (Gneiting
and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 102:359, 2007, equation 21). With n samples
both expectations are means, the second over pairs of different samples: so the mean over sets of samples does not
depend on n (the fair form: Ferro, Quarterly Journal of the Royal Meteorological Society 140:1917, 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plurimask.errors import InputError
from plurimask.metrics.distance import mean_over_classes
from plurimask.metrics.maps import Maps, label_maps, numbers

INTERVAL = 0.9
"""Of the central interval whose coverage is told."""
VOLUME_COLUMNS = (
    *("name", "class", "unit", "mean", "deviation", "low", "median", "high"),
    *("crps", "crps_raters", "coverage", "raters"),
)
"""Of the table with a row per image and class: of the samples' volumes the mean, standard deviation, median and the
ends of the central interval; of the raters' the share that lies within, and each of them."""


def crps(samples: Maps, observed: Maps) -> Tensor:
    """The fair CRPS of numbers `(n,)` for each of the observed numbers `(m,)`: `(m,)`, float64, in their unit.

    It may be a little below 0, as what is 0 in expectation has to be. NaN of a single sample.

        >>> import torch
        >>> crps(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 10.0]))
        tensor([0.0000, 6.6667], dtype=torch.float64)
    """
    x, y = numbers(samples).double().cpu(), numbers(observed).double().cpu()
    return (x[:, None] - y).abs().mean(0) - mean_difference(x) / 2


def mean_difference(values: Maps) -> float:
    """The mean of |v - v'| over pairs of different members of `(n,)`; NaN if there is one or none."""
    ordered = numbers(values).double().cpu().sort().values
    count = len(ordered)
    if count < 2:
        return math.nan
    weights = 2 * torch.arange(count, dtype=torch.float64) - (count - 1)  # how often each is the larger of two
    return float((weights * ordered).sum()) * 2 / (count * (count - 1))


def central_interval(samples: Maps, share: float = INTERVAL) -> tuple[float, float]:
    """The ends of the central interval of numbers `(n,)` that holds `share` of their law.

    Quantile p lies at the place p (n + 1) of the sorted numbers, between two of them by linear interpolation (Weibull):
    so that a further draw lies within with the probability `share` in expectation. Of too few for that (fewer than 19
    for 90 %) it is the least and the largest, between which n - 1 of n + 1 further draws lie.
    """
    ordered = numbers(samples).double().cpu().sort().values
    last = len(ordered) - 1
    ends = []
    for probability in ((1 - share) / 2, (1 + share) / 2):
        place = min(max(probability * (len(ordered) + 1) - 1, 0.0), float(last))
        below = int(place)
        above = min(below + 1, last)
        ends.append(float(ordered[below] + (place - below) * (ordered[above] - ordered[below])))
    return ends[0], ends[1]


def class_sizes(maps: Maps, class_index: int, valid: Maps | None = None) -> Tensor:
    """How many pixels or voxels of a class each of the label maps `(N, *spatial)` has: `(N,)`, int64, on the CPU.

    Of those that are `valid`, bool `(*spatial)`, where given.
    """
    maps, where = label_maps(maps), None if valid is None else numbers(valid).bool()
    counts = [((one == class_index) if where is None else (one == class_index) & where).sum() for one in maps]
    return torch.stack(counts).cpu() if counts else torch.zeros(0, dtype=torch.int64)


def neighbour_iou(maps: Maps, counted_classes: Sequence[int], valid: Maps | None = None, axis: int = 0) -> float:
    """How alike neighbouring slices of label maps `(N, *spatial)` are: the mean IoU of a slice's mask with the next.

    Of each map the mean over the pairs of neighbouring slices of which one at least marks a counted class, and over
    those classes; then the mean over the maps that mark something. NaN if none does, or there is one slice alone.
    Only pixels count that are `valid` in both slices.

    Args:
        maps: class indices or bool, from torch or numpy.
        counted_classes: the class indices that count, without the background.
        valid: bool `(*spatial)`; None: all.
        axis: of the spatial axes, along which slices follow each other.

        >>> import numpy as np
        >>> neighbour_iou(np.array([[[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]]), [1])
        0.3333333333333333
    """
    maps, where = label_maps(maps), None if valid is None else numbers(valid).bool()
    if not 0 <= axis < maps.ndim - 1:
        raise InputError(f"slices along axis {axis} of maps {tuple(maps.shape)}: give 0 to {maps.ndim - 2}")
    found = []
    for one in maps.movedim(axis + 1, 1):
        pairs = _pairs_of_slices(one, counted_classes, None if where is None else where.movedim(axis, 0))
        if len(pairs):
            found.append(float(pairs.mean()))
    return sum(found) / len(found) if found else math.nan


def _pairs_of_slices(one: Tensor, counted_classes: Sequence[int], valid: Tensor | None) -> Tensor:
    """The IoU of each slice of a label map `(D, *plane)` with the next, of the pairs that mark something."""
    both_valid = None if valid is None else valid[1:] & valid[:-1]
    iou, num_classes = torch.zeros(2, max(0, len(one) - 1), dtype=torch.float64)
    for class_index in counted_classes:
        mask = one == class_index
        upper, lower = mask[1:], mask[:-1]
        either, both = upper | lower, upper & lower
        if both_valid is not None:
            either, both = either & both_valid, both & both_valid
        union = either.flatten(1).sum(1).double().cpu()
        iou += both.flatten(1).sum(1).double().cpu() / union.clamp(min=1)
        num_classes += union > 0
    return mean_over_classes(iou, num_classes)[num_classes > 0]


@dataclass(frozen=True, eq=False)
class ClassVolumes:
    """How large one class is in the samples of an image and in the maps of its raters, in voxels."""

    class_index: int
    samples: Tensor
    """`(N,)`, int64."""
    raters: Tensor
    """`(m,)`, int64, of the raters who are present."""

    @property
    def is_marked(self) -> bool:
        """Whether some map has the class."""
        return bool(self.samples.any()) or bool(self.raters.any())

    @property
    def crps(self) -> float:
        """Mean over raters, voxels."""
        return float(crps(self.samples, self.raters).mean())

    @property
    def crps_raters(self) -> float:
        """What draws from the raters' law score in expectation: half the mean difference of two raters, voxels."""
        return mean_difference(self.raters) / 2

    @property
    def coverage(self) -> float:
        """The share of the raters within the central interval of the samples."""
        low, high = central_interval(self.samples)
        return float(((self.raters >= low) & (self.raters <= high)).double().mean())


def volumes_of(
    samples: Tensor, raters: Tensor, counted_classes: Sequence[int], valid: Tensor
) -> tuple[ClassVolumes, ...]:
    """Of each counted class, over the pixels that every present rater judged; none where there are none.

    Label maps of samples `(N, *spatial)` and present raters `(m, *spatial)`, uint8.
    """
    if not len(raters) or not bool(valid.any()):
        return ()
    return tuple(
        ClassVolumes(index, class_sizes(samples, index, valid), class_sizes(raters, index, valid))
        for index in counted_classes
    )


def mean_of_marked(volumes: Sequence[ClassVolumes], figure: str, if_none: float) -> float:
    """The mean of a figure of `ClassVolumes` over the classes that are in some map, `if_none` where none is; NaN where
    nobody judged the image."""
    if not volumes:
        return math.nan
    marked = [float(getattr(one, figure)) for one in volumes if one.is_marked]
    return sum(marked) / len(marked) if marked else if_none


def volume_rows(name: str, volumes: Sequence[ClassVolumes], voxel: float) -> list[dict[str, Any]]:
    """The law of each class's volume in an image, a row a class, for a table (`VOLUME_COLUMNS`).

    In millilitres where those of a `voxel` are known, else in voxels. The class is its index.
    """
    unit, size = ("voxels", 1.0) if math.isnan(voxel) else ("ml", voxel)
    rows: list[dict[str, Any]] = []
    for one in volumes:
        samples, (low, high) = one.samples.double(), central_interval(one.samples)
        figures = {
            "mean": float(samples.mean()),
            "deviation": float(samples.std()) if len(samples) > 1 else math.nan,
            "low": low,
            "median": float(samples.quantile(0.5)),
            "high": high,
            "crps": one.crps,
            "crps_raters": one.crps_raters,
        }
        row = {"name": name, "class": one.class_index, "unit": unit}
        row |= {key: value * size for key, value in figures.items()}
        told = " ".join(f"{value * size:.6g}" for value in one.raters.tolist())
        rows.append({**row, "coverage": one.coverage, "raters": told})
    return rows
