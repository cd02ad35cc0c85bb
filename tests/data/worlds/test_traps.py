"""The built-in trapped yeast: objects keep their places and shapes, and the annotator follows the documented law."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scipy.special import ndtr

from plurimask.data.layouts.yeast import CLASS_NAMES
from plurimask.data.worlds.trap_scene import MAX_CELLS, NUM_DIRECTIONS, RADIUS_RANGE, SIDE, Cell, Trap, draw_scene, lay
from plurimask.data.worlds.traps import (
    INCLUSION,
    STRENGTHS,
    WAVE_WEIGHTS,
    TrapTruth,
    TrapWorld,
    _draw_waves,
    trap_source,
)
from plurimask.errors import InputError


def index_with(world: TrapWorld, num_cells: int, faint: bool = False) -> int:
    """The first image with at least so many cells, one of them faint if asked."""
    for index in range(len(world)):
        truth = world.truth(index)
        if len(truth.scene.cells) >= num_cells and (not faint or truth.inclusions.min() < 0.9):
            return index
    raise AssertionError("no such image")


def test_shapes_types_and_brightness() -> None:
    world = TrapWorld(num_images=5, seed=1, size=71)
    assert len(world) == 5 and len(set(world.names)) == 5 and world.groups == world.names
    for index, example in enumerate(world):
        assert example.name == world.names[index]
        assert example.image.shape == (1, 71, 71) and example.image.dtype == torch.float32
        assert abs(float(example.image.mean())) < 1e-4
        assert float(example.image.std(correction=0)) == pytest.approx(1, abs=1e-4)
        assert -8 < example.image.min() < -1.5 and 1.5 < example.image.max() < 6
        assert example.labels.shape == (1, 71, 71) and example.labels.dtype == torch.uint8
        assert example.labels.max() <= 2 and (example.labels == 1).any()
    truth = world.truth(2)
    num = len(truth.scene.objects)
    assert truth.classes.shape == truth.strengths.shape == truth.border_noise.shape == truth.inclusions.shape == (num,)
    assert truth.labels().shape == (71, 71) and truth.mean().shape == (3, 71, 71)
    assert truth.sample(4, np.random.default_rng(0)).shape == (4, 71, 71)
    assert world[-1].name == world.names[4]
    with pytest.raises(IndexError):
        world[5]


def test_an_example_depends_on_seed_and_index_alone() -> None:
    world, longer = TrapWorld(3, seed=4, size=66), TrapWorld(7, seed=4, size=66)
    first = world[2]
    longer[0], longer[5]
    again = longer[2]
    assert first.name == again.name
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    np.testing.assert_array_equal(world.truth(2).mean(), longer.truth(2).mean())


def test_seeds_and_splits_share_no_image() -> None:
    images: set[bytes] = set()
    names: list[str] = []
    for seed in (0, 1, 2):
        source = trap_source(num_train=7, num_val=5, num_test=4, seed=seed, size=64)
        for split in source.splits.values():
            names += split.names
            images |= {example.image.numpy().tobytes() for example in split}  # type: ignore[attr-defined]
    assert len(images) == len(set(names)) == 3 * (7 + 5 + 4)


def test_another_size_shows_the_same_scene() -> None:
    small, large = TrapWorld(4, seed=9, size=65), TrapWorld(4, seed=9, size=195)  # every third pixel's middle agrees
    for index in range(4):
        assert large[index].image.shape == (1, 195, 195)
        few, many = small.truth(index).labels(), large.truth(index).labels()[1::3, 1::3]
        assert few.shape == many.shape
        np.testing.assert_array_equal(few, many)


def test_two_traps_and_zero_to_six_cells_of_their_sizes() -> None:
    world, numbers = TrapWorld(300, seed=10, size=64), []
    for index in range(len(world)):
        scene = world.truth(index).scene
        assert len(scene.traps) == 2 and scene.traps[1].centre[1] - scene.traps[0].centre[1] == pytest.approx(49)
        assert all(RADIUS_RANGE[0] <= cell.radius <= RADIUS_RANGE[1] for cell in scene.cells)
        assert all(0.25 <= cell.strength <= 1 and (cell.defocus > 0 or cell.strength == 1) for cell in scene.cells)
        numbers.append(len(scene.cells))
    assert set(numbers) == set(range(MAX_CELLS + 1))


def test_true_outlines_never_overlap_and_stay_in_the_image() -> None:
    world = TrapWorld(60, seed=11, size=128)
    for index in range(len(world)):
        truth = world.truth(index)
        count = np.zeros((128, 128), int)
        for layer in truth.layers:
            count[layer.window] += layer.distance <= 0
        assert count.max() <= 1
        labels = truth.labels()
        edge = np.concatenate([labels[0], labels[:, 0], labels[:, -1]])
        assert (edge == 0).all() and (labels[-1] != 2).all()
        assert label(labels == 1)[1] == 2
        assert set(np.unique(labels)) <= {0, 1, 2}


def test_traps_have_the_size_of_the_real_ones() -> None:
    # Of the authors' image 35, in units: 1528 and 1536 of area, 55.6 high, 35.6 and 36.7 wide.
    world, areas = TrapWorld(40, seed=12, size=128), []
    for index in range(len(world)):
        for layer in world.truth(index).layers[:2]:
            rows, columns = np.nonzero(layer.distance <= 0)
            areas.append(len(rows))
            assert 53 <= np.ptp(rows) + 1 <= 60 and 33 <= np.ptp(columns) + 1 <= 40
    assert 1450 < np.mean(areas) < 1610


def test_distances_of_a_trap_are_distances() -> None:
    trap = draw_scene(np.random.default_rng(3)).traps[0]
    turn = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    # The polygon, and points on the circle of its rounding around every point of it, give the outline.
    corners = trap.corners
    share = np.linspace(0, 1, 300)[:, None]
    polygon = np.concatenate([a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])
    generator = np.random.default_rng(0)
    for row, column in generator.uniform(-40, 40, (50, 2)):
        naive = np.hypot(polygon[:, 0] - row, polygon[:, 1] - column).min()
        vectors = polygon - (row, column)
        angles = np.unwrap(np.arctan2(vectors[:, 0], vectors[:, 1]))
        inside = abs(angles[-1] - angles[0]) > np.pi  # the polygon turns around the point
        expected = (-naive if inside else naive) - 5
        assert float(trap.distance(np.array(row), np.array(column))) == pytest.approx(expected, abs=0.1)
    far = trap.distance(100 * np.sin(turn), 100 * np.cos(turn))
    assert (far > 50).all()


def test_directions_turn_from_right_to_down() -> None:
    cell = Cell(np.array([30.0, 50.0]), 10.0, np.zeros((3, 2)), 0.0, 1.0)
    layer = lay(cell, 128)
    rows, columns = layer.window
    middle = (30 - rows.start, 50 - columns.start)  # the pixel half a unit below and to the right of the middle
    assert layer.direction.dtype == np.uint16 and layer.direction.max() < NUM_DIRECTIONS
    assert layer.direction[middle[0], middle[1] + 9] < 20  # right
    assert abs(int(layer.direction[middle[0] + 9, middle[1]]) - NUM_DIRECTIONS // 4) < 20  # below
    assert layer.distance[middle[0], middle[1] + 9] == pytest.approx(np.hypot(9.5, 0.5) - 10)


def test_the_ambiguity_is_as_documented() -> None:
    world = TrapWorld(200, seed=13, size=64)
    inclusions, strengths = [], []
    for index in range(len(world)):
        truth = world.truth(index)
        blur = truth.scene.blur
        assert 0.3 <= blur <= 1.4
        np.testing.assert_allclose(truth.border_noise, 0.35 + 0.25 * blur + 0.6 * (1 - truth.strengths))
        is_trap = truth.classes == 1
        assert is_trap.tolist() == [isinstance(each, Trap) for each in truth.scene.objects]
        assert (truth.strengths[is_trap] == 1).all() and (truth.inclusions[is_trap] == 1).all()
        inclusions += truth.inclusions.tolist()
        strengths += truth.strengths.tolist()
    assert STRENGTHS == (0.25, 0.7) and INCLUSION == (0.5, 1.0)
    np.testing.assert_allclose(inclusions, np.clip(0.5 + (np.array(strengths) - 0.25) / 0.45 * 0.5, 0.5, 1))
    assert 0.5 < min(inclusions) < 0.6


def test_outlines_have_the_standard_deviation_of_one_in_every_direction() -> None:
    assert sum(weight**2 for weight in WAVE_WEIGHTS) == pytest.approx(1)
    num = 6000
    generator = np.random.default_rng(1)
    waves = np.array([_draw_waves(generator) for _ in range(num)])
    assert waves.shape == (num, NUM_DIRECTIONS)
    assert np.abs(waves.mean(0)).max() < 4.5 / np.sqrt(num)
    assert np.abs(waves.std(0) - 1).max() < 4.5 / np.sqrt(2 * num)
    # The covariance of two directions is sum of w_k^2 cos(k difference).
    apart = 2 * np.pi * 37 / NUM_DIRECTIONS
    expected = sum(weight**2 * np.cos(k * apart) for k, weight in enumerate(WAVE_WEIGHTS))
    assert abs((waves[:, 50] * waves[:, 87]).mean() - expected) < 4 * np.sqrt(2 / num)
    # Smooth: a step between neighbours is that of the derivative, of variance sum of (k w_k)^2.
    step = np.sqrt(sum((k * weight) ** 2 for k, weight in enumerate(WAVE_WEIGHTS))) * 2 * np.pi / NUM_DIRECTIONS
    steps = np.diff(waves, axis=1)
    assert steps.std() == pytest.approx(step, rel=0.05) and np.abs(steps).max() < 6.5 * step


def naive_mean(truth: TrapTruth) -> np.ndarray:
    """Pixel by pixel, from the docstring's formulas."""
    mean = np.zeros((3, truth.size, truth.size))
    for row, column in itertools.product(range(truth.size), repeat=2):
        absent = {1: 1.0, 2: 1.0}
        point = (np.array([row, column]) + 0.5) * SIDE / truth.size
        for shape, kind, q, s in zip(
            truth.scene.objects, truth.classes, truth.inclusions, truth.border_noise, strict=True
        ):
            distance = float(shape.distance(*(np.array(each) for each in point - shape.centre)))
            absent[int(kind)] *= 1 - q * ndtr(-distance / s)
        mean[:, row, column] = absent[1] * absent[2], (1 - absent[1]) * absent[2], 1 - absent[2]
    return mean


def test_mean_is_that_of_the_law() -> None:
    world = TrapWorld(100, seed=5, size=64)
    truth = world.truth(index_with(world, 3, faint=True))
    mean = truth.mean()
    np.testing.assert_allclose(mean.sum(0), 1)
    np.testing.assert_allclose(mean, naive_mean(truth), atol=1e-9)


def test_mean_is_that_of_the_samples() -> None:
    world, num_samples = TrapWorld(100, seed=5, size=64), 3000
    for least in (0, 4):
        truth = world.truth(index_with(world, least, faint=least > 0))
        samples = truth.sample(num_samples, np.random.default_rng(least))
        for value, mean in enumerate(truth.mean()):
            frequency = (samples == value).mean(0)
            doubtful = (mean > 0.005) & (mean < 0.995)
            error = np.abs(frequency - mean)[doubtful] / np.sqrt((mean * (1 - mean))[doubtful] / num_samples)
            # Some hundred independent stretches of outline, and an angular grid of 0.7 degrees.
            assert error.max() < 5 and np.sqrt((error**2).mean()) < 1.4
            assert np.abs(frequency - mean)[~doubtful].max() < 0.01 + 0.005


def test_faint_cells_are_left_out_as_a_whole_as_often_as_documented() -> None:
    world = TrapWorld(200, seed=6, size=64)
    truth = world.truth(index_with(world, 2, faint=True))
    which = int(truth.inclusions.argmin())
    layer, q = truth.layers[which], truth.inclusions[which]
    deep = layer.distance < -6  # many standard deviations inside
    num_samples = 2000
    marked = (truth.sample(num_samples, np.random.default_rng(2))[:, *layer.window] == 2)[:, deep]
    assert (marked.all(1) == marked.any(1)).all()
    assert abs(marked[:, 0].mean() - q) < 4 * np.sqrt(q * (1 - q) / num_samples)


def test_labels_are_draws_of_the_law() -> None:
    world, residuals, variances = TrapWorld(150, seed=7, size=64), [], []
    for index in range(len(world)):
        mean, labels = world.truth(index).mean(), world[index].labels[0].numpy()
        row, column = np.unravel_index(np.abs(mean[1] - 0.5).argmin(), mean[1].shape)  # one doubtful pixel an image
        residuals.append((labels[row, column] == 1) - mean[1, row, column])
        variances.append(mean[1, row, column] * (1 - mean[1, row, column]))
    assert abs(np.sum(residuals)) < 4 * np.sqrt(np.sum(variances))


def test_the_best_possible_dice_is_near_the_published_one() -> None:
    world = TrapWorld(60, seed=8, size=128)
    dice: dict[int, list[float]] = {1: [], 2: []}
    for index in range(len(world)):
        truth = world.truth(index)
        best, given = truth.mean().argmax(0), truth.sample(1, np.random.default_rng(index))[0]
        for value, found in dice.items():
            either = (best == value).sum() + (given == value).sum()
            if either:
                found.append(2 * ((best == value) & (given == value)).sum() / either)
    # Published for a U-Net on the real data: 0.963.
    assert 0.96 < (np.mean(dice[1]) + np.mean(dice[2])) / 2 < 0.98


def test_rims_are_dark_and_halos_bright() -> None:
    world = TrapWorld(30, seed=14)
    for index in range(len(world)):
        truth, image = world.truth(index), world[index].image[0].numpy()
        nearest = np.full(image.shape, np.inf)
        for layer in truth.layers:
            nearest[layer.window] = np.minimum(nearest[layer.window], layer.distance)
        medium = np.median(image[nearest > 12])
        for layer, strength in zip(truth.layers, truth.strengths, strict=True):
            alone = layer.distance == nearest[layer.window]
            rim = image[layer.window][alone & (np.abs(layer.distance + 1) < 1)]
            halo = image[layer.window][alone & (np.abs(layer.distance - 2.5) < 1)]
            if strength > 0.6:
                assert rim.mean() < medium - 0.2 and halo.mean() > medium + 0.25


def test_source_describes_itself() -> None:
    source = trap_source(num_train=6, num_val=3, seed=2, size=67)
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 6, "val": 3}
    assert not source.drawn
    description = source.description
    assert description.layout == "built-in trapped yeast" and description.class_names == CLASS_NAMES
    assert description.counted_classes == (1, 2) and description.has_background
    assert description.rater_names == ("annotator",) and description.channel_names == ("brightfield",)
    assert source.splits["val"][0].labels.shape == (1, 67, 67)
    assert trap_source(1, 1, 2).splits["test"][1].image.shape == (1, 128, 128)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_images": 0, "seed": 0}, "num_images=0"),
        ({"num_images": 1, "seed": -1}, "seed=-1"),
        ({"num_images": 1, "seed": 0, "size": 63}, "size=63: a world of trapped yeast needs size >= 64"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrapWorld(**settings)


def test_a_source_refuses_a_negative_seed() -> None:
    with pytest.raises(InputError, match="seed=-1"):
        trap_source(seed=-1)
