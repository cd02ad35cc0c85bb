"""Distances between label maps: d = 1 - IoU, for all pairs at once.

The pixels that two masks share are the dot product of the masks, so the counts of all pairs are one matrix product per
class (a Gram matrix). Counts are exact: masks are 0 and 1, each product sums fewer than 2^24 of them in float32, and
products are added as integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from plurimask.errors import InputError
from plurimask.sets.maps import Maps, label_maps, numbers

MAX_MASK_ELEMENTS = 2**20
"""Float masks are made at most this many elements at a time (4 MB: a cache): below 2^24, so products are exact."""


def shared_pixels(groups: Sequence[Tensor], counted_classes: Sequence[int], valid: Tensor | None) -> Iterator[Tensor]:
    """For each counted class, how many pixels of it each pair of label maps shares, as for `joint_distances`.

    Yields:
        Counts `(N, N)`, int64 on the CPU; the diagonal holds the areas. A class may be in no map.
    """
    valid = None if valid is None or bool(valid.all()) else valid
    lowest = torch.stack([group.amin(0) for group in groups if len(group)]).amin(0)
    highest = torch.stack([group.amax(0) for group in groups if len(group)]).amax(0)
    for class_index in counted_classes:
        possible = (lowest <= class_index) & (highest >= class_index)
        box = _bounding_box(possible if valid is None else possible & valid)
        if box is None:
            num_maps = sum(len(group) for group in groups)
            yield torch.zeros(num_maps, num_maps, dtype=torch.int64)
        else:
            yield _gram(
                [group[(slice(None), *box)] for group in groups], class_index, None if valid is None else valid[box]
            )


def _bounding_box(where: Tensor) -> tuple[slice, ...] | None:
    """The smallest box that holds all True pixels of `(*spatial)`: what lies outside adds nothing to any count."""
    box = []
    for axis in range(where.ndim):
        others = [other for other in range(where.ndim) if other != axis]
        positions = (where.any(dim=others) if others else where).nonzero()
        if len(positions) == 0:
            return None
        box.append(slice(int(positions[0]), int(positions[-1]) + 1))
    return tuple(box)


def _gram(groups: Sequence[Tensor], class_index: int, valid: Tensor | None) -> Tensor:
    num_maps, (height, *rest) = sum(len(group) for group in groups), groups[0].shape[1:]
    width = math.prod(rest)
    rows = min(height, max(1, MAX_MASK_ELEMENTS // (num_maps * width)))
    device = groups[0].device
    buffer = torch.empty(num_maps, rows * width, device=device)
    total = torch.zeros(num_maps, num_maps, dtype=torch.int64, device=device)
    with torch.autocast(device.type, enabled=False):  # a bfloat16 product would round the counts
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            flat = buffer[:, : (stop - start) * width]
            masks, first = flat.view(num_maps, stop - start, *rest), 0
            for group in groups:
                torch.eq(group[:, start:stop], class_index, out=masks[first : first + len(group)])
                first += len(group)
            if valid is not None:
                masks.mul_(valid[start:stop])
            total += (flat @ flat.T).long()
    return total.cpu()


def joint_distances(groups: Sequence[Maps], counted_classes: Sequence[int], valid: Maps | None = None) -> Tensor:
    """d = 1 - IoU of all pairs among the label maps of several groups, taken one after the other.

    Args:
        groups: label maps `(N_g, *spatial)` of one image, class indices or bool, from torch or numpy.
        counted_classes: the class indices that count, without the background.
        valid: the pixels that count, bool `(*spatial)`; None: all.

    Returns:
        `(N, N)`, float64 on the CPU, N = sum N_g, from 0 to 1, symmetric. IoU is the mean over the counted classes that
        are in at least one of the two maps; d = 0 if there are none. NaN everywhere if no pixel counts.

    Raises:
        InputError: if the maps' shapes differ, or no class is counted.
    """
    return 1 - joint_overlaps(groups, counted_classes, valid)[1]


def joint_overlaps(
    groups: Sequence[Maps], counted_classes: Sequence[int], valid: Maps | None = None
) -> tuple[Tensor, Tensor]:
    """Dice and IoU of the same pairs, `(N, N)` each; arguments, conventions and errors as for `joint_distances`."""
    maps, valid = [label_maps(group) for group in groups], None if valid is None else numbers(valid).bool()
    _check(maps, counted_classes, valid)
    return mean_overlaps(maps, counted_classes, valid)


def mean_overlaps(
    groups: Sequence[Tensor], counted_classes: Sequence[int], valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Dice and IoU of all pairs of label maps, as for `joint_distances`: `(N, N)` each, float64 on the CPU."""
    num_maps = sum(len(group) for group in groups)
    if num_maps == 0 or (valid is not None and not bool(valid.any())):
        nothing = torch.full((num_maps, num_maps), torch.nan, dtype=torch.float64)
        return nothing, nothing
    return overlaps_of(shared_pixels(groups, counted_classes, valid), num_maps)


def overlaps_of(shared_by_class: Iterable[Tensor], num_maps: int) -> tuple[Tensor, Tensor]:
    """The same from the pixels that all pairs share, `(N, N)` for each class (`shared_pixels`)."""
    dice, iou, num_classes = torch.zeros(3, num_maps, num_maps, dtype=torch.float64)
    for shared in shared_by_class:
        both, area = shared.double(), shared.diagonal().double()
        areas = area[:, None] + area
        num_classes += areas > 0
        dice += 2 * both / areas.clamp(min=1)
        iou += both / (areas - both).clamp_(min=1)
    return mean_over_classes(dice, num_classes), mean_over_classes(iou, num_classes)


def mean_over_classes(total: Tensor, num_classes: Tensor) -> Tensor:
    """The mean of an overlap over the classes that are in either map; 1 where none is."""
    return torch.where(num_classes > 0, total / num_classes.clamp(min=1), 1.0)


def _check(groups: Sequence[Tensor], counted_classes: Sequence[int], valid: Tensor | None) -> None:
    shapes = {tuple(group.shape[1:]) for group in groups} | ({tuple(valid.shape)} if valid is not None else set())
    if len(shapes) != 1 or shapes == {()}:
        raise InputError(f"label maps of one image must have one spatial shape, these have {sorted(shapes)}")
    if len(counted_classes) == 0 or len(set(counted_classes)) != len(counted_classes):
        raise InputError(f"counted_classes must be one or more different class indices, not {list(counted_classes)}")
