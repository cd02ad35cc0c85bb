"""Rows of the table for volumes: how large what is marked is, and whether neighbouring slices agree.

They are computed where the images are volumes.
"""

from __future__ import annotations

import math

from plurimask.metrics.image import ComparedImage
from plurimask.metrics.row import MetricRow
from plurimask.metrics.table import Table
from plurimask.metrics.volumes import mean_of_marked, neighbour_iou

_SOURCE = "Gneiting and Raftery 2007, JASA 102"
_OVER = "mean over the counted_classes that are in some map; 0 if none is"


def _voxels(image: ComparedImage, figure: str) -> float:
    return mean_of_marked(image.volumes, figure, 0.0)


def _iou_of_raters(image: ComparedImage) -> float:
    if image.raters is None:
        return math.nan
    return neighbour_iou(image.raters, image.counted_classes, image.valid, image.slice_axis)


# fmt: off
VOLUMES: Table = (
    MetricRow(
        "volume_crps", "CRPS of the volume",
        "the continuous ranked probability score of the samples' volumes V for a rater's volume v, in millilitres: "
        f"E |V - v| - E |V - V'| / 2 over pairs of different samples, mean over raters, and {_OVER}",
        better="lower", needs="volumes whose spacing is known, and two samples", raters="volume_crps_raters",
        of_image=lambda image: _voxels(image, "crps") * image.voxel, source=_SOURCE,
    ),
    MetricRow(
        "volume_crps_raters", "CRPS of raters' volumes",
        "what draws from the raters themselves score in expectation, in millilitres: half the mean |v - v'| over pairs "
        f"of different raters, {_OVER}",
        needs="volumes whose spacing is known, and two raters",
        of_image=lambda image: _voxels(image, "crps_raters") * image.voxel,
    ),
    MetricRow(
        "volume_crps_voxels", "CRPS of the volume in voxels",
        "volume_crps, but volumes are counts of voxels",
        better="lower", digits=1, needs="two samples", raters="volume_crps_voxels_raters",
        of_image=lambda image: _voxels(image, "crps"), source=_SOURCE,
    ),
    MetricRow(
        "volume_crps_voxels_raters", "CRPS of raters' volumes in voxels",
        "volume_crps_raters, but volumes are counts of voxels",
        digits=1, needs="two raters", of_image=lambda image: _voxels(image, "crps_raters"),
    ),
    MetricRow(
        "volume_coverage", "coverage of the volume's 90 % interval",
        "the share of the raters whose volume lies in the central 90 % interval of the samples' volumes, best near "
        "0.9; of n < 19 samples the interval is from the least to the largest, in which (n - 1) / (n + 1) of the draws "
        "from one law lie; mean over the counted_classes that are in some map, 1 if none is",
        digits=3, of_image=lambda image: mean_of_marked(image.volumes, "coverage", 1.0),
    ),
    MetricRow(
        "neighbour_iou", "IoU of neighbouring slices",
        "how alike neighbouring slices of a sample are: IoU of the mask of one slice with that of the next, mean over "
        "the pairs of slices of which one marks something, and over samples; best near that of the raters' maps",
        digits=3, needs="a sample that marks something, and two slices", raters="neighbour_iou_raters",
        of_image=lambda image: neighbour_iou(image.samples, image.counted_classes, image.valid, image.slice_axis),
    ),
    MetricRow(
        "neighbour_iou_raters", "IoU of neighbouring slices of raters",
        "the same of the raters' maps",
        digits=3, needs="a rater who marks something, and two slices", of_image=_iou_of_raters,
    ),
)
# fmt: on
"""Of volumes, beside those that all images have."""


def with_volumes(table: Table) -> Table:
    """A table with the rows for volumes at its end."""
    return (*table, *VOLUMES)
