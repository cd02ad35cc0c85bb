"""Outlines: rings that hold exactly the pixels of a class, as GeoJSON that QuPath opens."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.path import Path as Ways
from numpy.typing import NDArray
from scipy import ndimage

from plurimask.prediction.outlines import geojson, outlines, signed_area


def filled(shape: tuple[int, int], rings: list[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """The pixels whose middles are within an odd number of rings."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    points, inside = np.stack([columns.ravel(), rows.ravel()], 1), np.zeros(shape, bool)
    for ring in rings:
        inside ^= Ways(np.concatenate([ring, ring[:1]])).contains_points(points).reshape(shape)
    return inside


@pytest.mark.parametrize("seed", range(20))
def test_rings_hold_the_pixels_of_their_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (rng.integers(1, 14), rng.integers(1, 17)))
    labels = np.kron(labels, np.ones((2, 3), int)) if seed % 2 else labels
    found = list(outlines(labels, [1, 2]))
    together = np.zeros(labels.shape, int)
    for class_index, (outer, *holes) in found:
        assert signed_area(outer) > 0 and all(signed_area(hole) < 0 for hole in holes)
        own = filled(labels.shape, [outer, *holes])
        assert sum(map(signed_area, [outer, *holes])) == own.sum()
        together[own] = class_index
    assert np.array_equal(together, labels)
    assert len(found) == sum(ndimage.label(labels == one)[1] for one in (1, 2))


def test_a_ring_with_a_hole_as_geojson() -> None:
    labels = np.zeros((6, 8), int)
    labels[1:5, 2:7] = 7
    labels[2:4, 3:5] = 0
    content = json.loads(geojson(labels, {7: "lesion"}, {7: (255, 0, 10)}, (4.0, 2.0), "mask"))
    (feature,) = content["features"]
    assert content["type"] == "FeatureCollection" and feature["type"] == "Feature"
    outer, hole = feature["geometry"]["coordinates"]
    assert feature["geometry"]["type"] == "Polygon" and outer[0] == outer[-1] and hole[0] == hole[-1]
    assert {tuple(point) for point in outer} == {(4, 4), (14, 4), (14, 20), (4, 20)}  # x in twos, y in fours
    assert {tuple(point) for point in hole} == {(6, 8), (10, 8), (10, 16), (6, 16)}
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "mask",
        "classification": {"name": "lesion", "color": [255, 0, 10]},
    }
