"""Volumes in all orders and directions of axes are seen in one, and go back exactly."""

from __future__ import annotations

import numpy as np
import pytest
from volumes import ORDERS, SHAPE, reordered

from plurimask.data.images.geometry import Grid, apart, from_canonical, to_canonical
from plurimask.errors import InputError

pytest.importorskip("nibabel")


def in_order(order: tuple[int, ...], signs: tuple[int, ...]) -> tuple[np.ndarray, Grid, np.ndarray]:
    """The same volume with its axes in this order and direction: values, grid, and the values (X, Y, Z) as they lie in
    the patient."""
    straight = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    stored, affine = reordered(straight, order, signs)
    return stored, Grid.of(stored.shape, affine, "mm", "a file"), straight


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_every_order_of_axes_is_seen_in_one_and_goes_back(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    stored, grid, straight = in_order(order, signs)
    seen = to_canonical(stored, grid)
    assert grid.canonical_shape == seen.shape == (6, 5, 4)
    np.testing.assert_array_equal(seen, straight.transpose(2, 1, 0))
    assert grid.spacing == pytest.approx((3.0, 0.75, 0.5))
    np.testing.assert_array_equal(from_canonical(seen, grid), stored)
    channels = np.stack([seen, seen + 1000])
    np.testing.assert_array_equal(from_canonical(channels, grid), np.stack([stored, stored + 1000]))
    np.testing.assert_allclose(grid.canonical_affine, in_order((0, 1, 2), (1, 1, 1))[1].matrix, atol=1e-12)


def test_grids_of_one_place_are_the_same_whatever_their_order() -> None:
    grids = [in_order(*each)[1] for each in ORDERS]
    assert all(apart(grids[0], grid) is None for grid in grids)


def test_a_place_of_its_own_is_said() -> None:
    _, grid, _ = in_order((0, 1, 2), (1, 1, 1))
    moved = grid.matrix
    moved[0, 3] += 0.1
    assert "0.1 mm apart" in (apart(grid, Grid.of(SHAPE, moved, "mm", "b")) or "")
    moved[0, 3] -= 0.1 - 0.01  # less than the twentieth of a voxel
    assert apart(grid, Grid.of(SHAPE, moved, "mm", "b")) is None
    assert "and 6 x 5 x 3 voxels" in (apart(grid, Grid.of((3, 5, 6), grid.matrix, "mm", "b")) or "")
    metres = np.diag([1e-3, 1e-3, 1e-3, 1]) @ grid.matrix
    assert apart(grid, Grid.of(SHAPE, metres, "m", "b")) is None


def test_a_slice_of_another_thickness_lies_elsewhere() -> None:
    thick, thin = (Grid.of((4, 5, 1), np.diag([1.0, 1.0, depth, 1.0]), "mm", "a") for depth in (3.0, 1.0))
    assert "voxels of 1 x 1 x 1" in (apart(thin, thick) or "")


@pytest.mark.parametrize("column", [[0, 0, 0], [1, 0, 0], [np.nan, 0, 1]])
def test_axes_that_span_no_space_are_refused(column: list[float]) -> None:
    affine = np.eye(4)
    affine[:3, 2] = column
    with pytest.raises(InputError, match=r"a\.nii: voxels with sides of 1, 1, .* span no space"):
        Grid.of(SHAPE, affine, "mm", "a.nii")


def test_the_size_of_a_voxel_is_in_the_unit_of_the_file() -> None:
    grid = Grid.of(SHAPE, np.diag([2.0, 3.0, 4.0, 1.0]), "µm", "a")
    assert grid.pixel_size == (3.0, 2.0, "µm", 4.0)
    assert grid.spacing == pytest.approx((4e-3, 3e-3, 2e-3))
    assert Grid.of(SHAPE, np.eye(4), None, "a").pixel_size is None
