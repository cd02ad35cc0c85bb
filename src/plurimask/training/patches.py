"""Which patches of volumes a training may see, from large to small."""

from __future__ import annotations

from collections.abc import Iterator

from plurimask.training.look import DataLook

WHOLE_VOXELS = 2**17
"""Volumes up to so many voxels are trained on whole, where the budget allows it."""
PATCHES = (160, 128, 96, 64, 48, 32)
"""Sides in the plane of slices, largest first."""
SMALLEST_PATCH = 64
"""No more than this need a patch be, however large objects are, and less only for want of time."""
FEWEST_SLICES = 8
"""Of a patch, where volumes have as many."""
BATCHES = ((4, 4), (2, 4), (2, 2), (1, 2), (1, 1))
"""Volumes a step and raters drawn for each, from dear to cheap."""


def patches(look: DataLook) -> Iterator[tuple[int, int, int]]:
    """Depth, height and width from large to small, of volumes that were looked at.

    In the plane of slices they are as large as objects ask for, as crops of images are. Along the depth they are as
    long as they are wide, in millimetres where these are known; at least as deep as nine of ten objects, and
    `FEWEST_SLICES`; never beyond the volumes.
    """
    assert look.depth is not None
    largest = max(PATCHES) if look.object_side is None else max(SMALLEST_PATCH, 2 * look.object_side)
    smallest = min(SMALLEST_PATCH, (look.object_side or SMALLEST_PATCH) // 2)
    sides = [side for side in PATCHES if smallest <= side <= largest] or [min(PATCHES)]
    for side in sides:
        height, width = min(side, look.height), min(side, look.width)
        depth_mm, height_mm, width_mm = look.voxel or (1.0, 1.0, 1.0)
        deep = 4 * round(max(height * height_mm, width * width_mm) / depth_mm / 4)
        depth = min(look.depth, max(deep, look.object_depth or 0, FEWEST_SLICES))
        yield depth, height, width


def is_small(look: DataLook) -> bool:
    """Whether whole volumes may be trained on."""
    return look.depth is not None and look.depth * look.height * look.width <= WHOLE_VOXELS
