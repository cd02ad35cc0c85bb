"""Plans of tiles: cores are the image, windows are what is needed around them, in two dimensions and three."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plurimask.errors import InputError
from plurimask.prediction.tiles import TilePlan, plan_tiles

CASES = [
    ((1000, 730), (24, 24), (0, 0), (8, 8), 300**2),
    ((1000, 90), (32, 16), (0, 0), (16, 8), 200**2),
    ((61, 200, 170), (4, 16, 16), (0, 0, 0), (2, 8, 8), 40 * 90 * 90),
    ((301, 257), (16, 16), (32, 16), (16, 16), 140**2),
]


@pytest.mark.parametrize(("whole", "halo", "overlap", "unit", "most"), CASES)
def test_cores_are_the_image_and_windows_hold_what_is_around(
    whole: tuple[int, ...], halo: tuple[int, ...], overlap: tuple[int, ...], unit: tuple[int, ...], most: int
) -> None:
    plan = plan_tiles(whole, halo, overlap, unit, most)
    seen = np.zeros(whole, int)
    for number, tile in enumerate(plan):
        assert tile.number == number and plan[number] == tile
        seen[tile.core] += 1
        assert math.prod(tile.size) <= most
        for core, window, around, more, length, step in zip(
            tile.core, tile.window, halo, overlap, whole, unit, strict=True
        ):
            assert window.start == max(0, core.start - around) and window.start % 2 == 0
            assert window.stop == min(length, core.stop + more + around)
            assert core.start % step == 0
        inner = tuple(slice(w.start + i.start, w.start + i.stop) for w, i in zip(tile.window, tile.inner, strict=True))
        assert inner == tile.core
    assert len(plan) > 2 and (seen == 1).all()


def test_an_image_that_fits_is_one_tile_and_a_short_axis_stays_whole() -> None:
    assert plan_tiles((100, 80), (16, 16), (0, 0), (8, 8), 8000).grid == (1, 1)
    plan = plan_tiles((4000, 50), (16, 16), (0, 0), (8, 8), 20_000)
    assert plan.grid[1] == 1 and plan.core[1] == 50 and plan.grid[0] > 1


def test_cores_are_of_about_one_size() -> None:
    plan = plan_tiles((1030, 1030), (16, 16), (0, 0), (8, 8), 1032**2)
    assert plan.grid == (1, 1) or min(plan.core) >= 512


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(InputError, match="give more --memory"):
        plan_tiles((1000, 1000), (80, 80), (0, 0), (64, 64), 1000)


def test_the_zone_is_what_the_tile_before_computes_too() -> None:
    plan = TilePlan((100, 60), (40, 60), (8, 8), (16, 16))
    assert [plan.zone(tile, 0) for tile in plan] == [None, slice(40, 56), slice(80, 96)]
    assert all(plan.zone(tile, 1) is None for tile in plan)
