"""The plane of two latents: everything at its place, in the prior's sigmas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from plurimask.figures.latents import LatentPlane, latent_walk
from plurimask.figures.style import figure_bytes

HEIGHT, WIDTH, NUM = 30, 44, 3
PRIOR = np.array([1.0, -2.0]), np.array([0.5, 2.0])


def make_plane(posteriors: list[tuple[list[float], list[float]]]) -> LatentPlane:
    """Row r, column c of the grid holds a bar of r rows and 10 (c + 1) columns."""
    grid = np.zeros((NUM, NUM, HEIGHT, WIDTH), np.uint8)
    for row in range(NUM):
        for column in range(NUM):
            grid[row, column, :row, : 10 * (column + 1)] = 1
    image = np.random.default_rng(0).normal(size=(2, HEIGHT, WIDTH))
    pairs = [(np.array(mean), np.array(sigma)) for mean, sigma in posteriors]
    return LatentPlane(image, grid, (-2.0, 0.0, 2.0), ("$z_1", "z4"), PRIOR, pairs, ("background", "thing"))


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


def test_the_area_has_the_first_axis_across_and_row_0_at_the_bottom() -> None:
    heat = latent_walk(make_plane([])).axes[1].images[0]
    expected = [[row * 10 * (column + 1) * 100 / HEIGHT / WIDTH for column in range(NUM)] for row in range(NUM)]
    assert np.asarray(heat.get_array()).round(6).tolist() == np.round(expected, 6).tolist()
    assert heat.origin == "lower" and heat.get_extent() == [-3, 3, -3, 3]


def test_each_map_lies_at_its_place() -> None:
    axes = latent_walk(make_plane([])).axes[0]
    centres = [(np.mean(tile.get_extent()[:2]), np.mean(tile.get_extent()[2:])) for tile in axes.images]
    assert np.allclose(centres, [(x, y) for y in (-2, 0, 2) for x in (-2, 0, 2)])
    assert len(axes.collections) == 6  # outlines; the bottom row is empty


def test_prior_and_posteriors_count_the_priors_sigmas() -> None:
    figure = latent_walk(make_plane([([1.5, -4.0], [0.25, 4.0]), ([1.5, -4.0], [0.5, 1.0]), ([0.5, 0.0], [0.1, 0.1])]))
    axes = figure.axes[1]
    ellipses = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    shapes = [(*patch.center, patch.width, patch.height) for patch in ellipses]
    assert shapes[:2] == [(0, 0, 2, 2), (0, 0, 4, 4)]
    assert np.allclose(shapes[2:], [(1, -1, 1, 4), (1, -1, 2, 1), (-1, 1, 0.4, 0.1)])
    assert [np.asarray(dot.get_xydata()).tolist() for dot in axes.lines] == [[[1, -1]], [[-1, 1]]]
    assert [text.get_text() for text in axes.texts][2:] == ["1, 2", "3"]
    assert is_drawn(figure)


def test_what_is_far_out_is_said_at_the_edge() -> None:
    figure = latent_walk(make_plane([([51.0, -2.0], [0.5, 2.0])]))
    axes = figure.axes[1]
    assert [text.get_text() for text in axes.texts][2:] == ["1 (at 100.0, 0.0)"]
    assert np.asarray(axes.lines[0].get_xdata()).item() < axes.get_xlim()[1] < 5
    assert is_drawn(figure)


def test_small_things_are_enlarged() -> None:
    plane = make_plane([])
    assert latent_walk(plane).axes[0].get_title("left") == "decoded maps"
    small = np.zeros_like(plane.grid)
    small[:, :, 20:24, 30:34] = 1
    figure = latent_walk(replace(plane, grid=small))
    assert figure.axes[0].get_title("left") == "decoded maps, enlarged"
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (8, 11, 3)
    assert is_drawn(figure)


def test_many_classes_without_background() -> None:
    plane = make_plane([([1.0, 1.0], [1.0, 1.0])])
    grid = np.random.default_rng(1).integers(0, 24, plane.grid.shape).astype(np.uint8)
    figure = latent_walk(
        replace(plane, grid=grid, class_names=tuple(f"class {k}" for k in range(24)), has_background=False)
    )
    assert np.asarray(figure.axes[1].images[0].get_array())[1, 1] == 0  # the middle differs nowhere from itself
    assert len(figure.legends[0].get_texts()) == 24 and is_drawn(figure)


def test_words_beside_an_axis_stay_within_a_low_figure() -> None:
    plane = make_plane([])
    for height in (22, 36, 60):  # of 44: slices seen from the side are low
        grid = np.zeros((NUM, NUM, height, WIDTH), np.uint8)
        figure = latent_walk(replace(plane, image=np.zeros((1, height, WIDTH)), grid=grid))
        figure_bytes(figure, 60)
        for axes in figure.axes[:2]:
            box = axes.yaxis.label.get_window_extent()
            assert 0 <= box.y0 < box.y1 <= figure.bbox.height


def test_nothing_marked_is_drawn() -> None:
    plane = make_plane([])
    assert is_drawn(latent_walk(replace(plane, grid=np.zeros_like(plane.grid))))
