"""Outlines of the classes of a label map as GeoJSON, which QuPath opens as annotations.

The outlines run along the edges of pixels. A connected part of a class, whose pixels touch along edges, is one polygon
with its holes. Coordinates are x, y in pixels of the image, its top left corner being 0, 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ring = NDArray[np.int64]
"""Corners `(n, 2)`, x and y; the last is joined to the first."""


def outlines(labels: NDArray[Any], classes: Sequence[int]) -> Iterator[tuple[int, list[Ring]]]:
    """Of a label map `(H, W)` each connected part of the given classes: the class, its outer ring and its holes."""
    for class_index in classes:
        parts, count = ndimage.label(labels == class_index)
        of_part: list[list[Ring]] = [[] for _ in range(count + 1)]
        for ring, part in _rings(parts):
            of_part[part].append(ring)
        for rings in of_part[1:]:
            rings.sort(key=signed_area, reverse=True)  # the outer ring's is positive, those of holes negative
            yield class_index, rings


def signed_area(ring: Ring) -> float:
    """Pixels within a ring, positive if it runs clockwise as images are shown."""
    x, y = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _rings(parts: NDArray[np.int32]) -> Iterator[tuple[Ring, int]]:
    """The closed boundaries of all parts, each with the number of its part, which lies to the right of its way."""
    padded = np.pad(parts, 1)
    start, stop, owner = (np.concatenate(one) for one in zip(*_runs(padded), strict=True))
    width = padded.shape[1] + 1
    starts: dict[int, list[int]] = {}
    for number, corner in enumerate((start[:, 1] * width + start[:, 0]).tolist()):
        starts.setdefault(corner, []).append(number)
    ends, owners, ways = (stop[:, 1] * width + stop[:, 0]).tolist(), owner.tolist(), np.sign(stop - start).tolist()
    corners, is_used = start - 1, bytearray(len(start))
    for first in range(len(owners)):
        if is_used[first]:
            continue
        ring, number = [], first
        while not is_used[number]:
            is_used[number] = 1
            ring.append(number)
            number = _next(number, starts[ends[number]], owners, ways)
        yield corners[ring], owners[first]


def _next(number: int, candidates: list[int], owners: list[int], ways: list[list[int]]) -> int:
    """The run that goes on at a corner: of the same part, and where that touches itself there, to the right, so that
    what touches at corners alone is kept apart."""
    own = [one for one in candidates if owners[one] == owners[number]]
    if len(own) == 1:
        return own[0]
    across, down = ways[number]
    return next(one for one in own if across * ways[one][1] - down * ways[one][0] > 0)


def _runs(padded: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Straight pieces of boundaries as long as they go: start and stop as x, y `(n, 2)`, and whose they are `(n,)`.

    Each is directed so that its part lies to the right: along the top of a part to the right, along its bottom to the
    left.
    """
    above, below = padded[:-1], padded[1:]
    left, right = padded[:, :-1], padded[:, 1:]
    for edge, is_forward, is_row in (
        (np.where(below != above, below, 0), True, True),  # tops
        (np.where(below != above, above, 0), False, True),  # bottoms
        (np.where(left != right, left, 0), True, False),  # right sides, downwards
        (np.where(left != right, right, 0), False, False),  # left sides, upwards
    ):
        lines = edge if is_row else edge.T
        change = np.diff(np.pad(lines, ((0, 0), (1, 1))), axis=1) != 0
        at, place = np.nonzero(change)
        value = np.pad(lines, ((0, 0), (0, 1)))[at, place]
        following = np.append(place[1:], 0)
        kept = value > 0
        line, first, last, own = at[kept], place[kept], following[kept], value[kept]
        fixed = line + 1
        ends = [np.stack([one, fixed] if is_row else [fixed, one], axis=1) for one in (first, last)]
        start, stop = ends if is_forward else ends[::-1]
        yield start.astype(np.int64), stop.astype(np.int64), own.astype(np.int64)


def geojson(
    labels: NDArray[Any],
    names: dict[int, str],
    colours: dict[int, Sequence[int]],
    factor: Sequence[float] = (1.0, 1.0),
    what: str = "",
) -> bytes:
    """A FeatureCollection of the outlines of a label map.

    Args:
        labels: `(H, W)`.
        names: of the classes that are outlined.
        colours: of these, R, G, B from 0 to 255.
        factor: pixels of the image that a row, and a column, of the label map is for.
        what: the label map, for people.
    """
    scale = np.array([factor[1], factor[0]])
    features = []
    for class_index, rings in outlines(labels, [*names]):
        closed = [(np.concatenate([ring, ring[:1]]) * scale).tolist() for ring in rings]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": closed},
                "properties": {
                    "objectType": "annotation",
                    "name": what,
                    "classification": {"name": names[class_index], "color": list(colours[class_index])},
                },
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()
