"""The built-in cells: readers count each on its own, by the law that the world states and that the image shows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, label

from plurimask.data.worlds.cells import CONTRAST_RANGE, PROBABILITY_RANGE, CellTruth, CellWorld, cell_source
from plurimask.errors import InputError


def counted(masks: np.ndarray, truth: CellTruth) -> np.ndarray:
    """`(N, k)`: which cells each mask holds; a mask holds a cell whole or not at all."""
    first = np.array([np.argwhere(region)[0] for region in truth.regions])
    presence = masks[:, first[:, 0], first[:, 1]].astype(bool)
    for mask, present in zip(masks, presence, strict=True):
        np.testing.assert_array_equal(mask, truth.regions[present].any(0))
    return presence


def test_shapes_types_and_grey_levels() -> None:
    world = CellWorld(num_images=5, seed=1, size=53, num_cells=7, num_readers=3)
    assert len(world) == 5 and len(set(world.names)) == 5 and world.groups == world.names
    for index, example in enumerate(world):
        assert example.name == world.names[index]
        assert example.image.shape == (1, 53, 53) and example.image.dtype == torch.float32
        assert torch.equal(example.image, example.image.round())
        assert 0 < example.image.min() < example.image.max() < 255  # nothing is cut off
        assert example.labels.shape == (3, 53, 53) and example.labels.dtype == torch.uint8
        assert example.labels.max() <= 1
    truth = world.truth(2)
    assert truth.probabilities.shape == (7,) and truth.centres.shape == (7, 2)
    assert truth.regions.shape == (7, 53, 53) and truth.regions.dtype == np.bool_
    assert truth.mean().shape == (53, 53) and truth.sample(4, np.random.default_rng(0)).shape == (4, 53, 53)
    assert world[-1].name == world.names[4]
    with pytest.raises(IndexError):
        world[5]


def test_an_example_depends_on_seed_and_index_alone() -> None:
    world, longer = CellWorld(3, seed=4, size=40, num_cells=5), CellWorld(7, seed=4, size=40, num_cells=5)
    first = world[2]
    longer[0], longer[5]
    again = longer[2]
    assert first.name == again.name
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    np.testing.assert_array_equal(world.truth(2).regions, longer.truth(2).regions)


def test_more_readers_do_not_change_the_image() -> None:
    few, many = (CellWorld(2, seed=4, size=40, num_cells=5, num_readers=number)[1] for number in (2, 6))
    assert torch.equal(few.image, many.image) and torch.equal(few.labels, many.labels[:2])


def test_seeds_and_splits_share_no_image() -> None:
    images: set[bytes] = set()
    names: list[str] = []
    for seed in (0, 1, 2):
        source = cell_source(num_train=7, num_val=5, num_test=4, seed=seed, size=37, num_cells=3)
        for split in source.splits.values():
            names += split.names
            images |= {example.image.numpy().tobytes() for example in split}  # type: ignore[attr-defined]
    assert len(images) == len(set(names)) == 3 * (7 + 5 + 4)


@pytest.mark.parametrize(("num_cells", "size"), [(1, 32), (2, 33), (5, 36), (7, 51), (12, 48), (12, 64), (16, 49)])
def test_cells_are_whole_and_never_touch(num_cells: int, size: int) -> None:
    world = CellWorld(40, seed=11, size=size, num_cells=num_cells)
    for index in range(len(world)):
        regions = world.truth(index).regions
        assert regions.shape[0] == num_cells and (regions.sum((1, 2)) >= 15).all()
        together = regions.any(0)
        assert not np.concatenate([together[0], together[-1], together[:, 0], together[:, -1]]).any()
        for one, other in itertools.combinations(regions, 2):
            assert distance_transform_edt(~one)[other].min() >= 2  # there is a pixel of medium between any two
        assert all(label(region, np.ones((3, 3)))[1] == 1 for region in regions)


def test_cells_are_roundish_and_of_several_sizes() -> None:
    world, areas, elongations = CellWorld(30, seed=12, size=96, num_cells=4), [], []
    for index in range(len(world)):
        for region in world.truth(index).regions:
            spread = np.linalg.eigvalsh(np.cov(np.argwhere(region).T))
            areas.append(region.sum())
            elongations.append(np.sqrt(spread[1] / spread[0]))
    assert max(areas) > 1.5 * min(areas)
    assert 1.1 < max(elongations) < 1.6


def test_twelve_cells_lie_in_three_rows_of_four() -> None:
    centres = CellWorld(1, seed=3, size=64).truth(0).centres
    rows, columns = (centres * (3, 4) / 64).astype(int).T
    assert rows.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and columns.tolist() == [0, 1, 2, 3] * 3


def test_which_places_stay_empty_is_random() -> None:
    world = CellWorld(60, seed=3, size=45, num_cells=5)  # of the six places in two rows of three
    taken = np.zeros(6)
    for index in range(len(world)):
        rows, columns = (world.truth(index).centres * (2, 3) / 45).astype(int).T
        assert len(set(rows * 3 + columns)) == 5
        taken[rows * 3 + columns] += 1
    assert taken.sum() == 300 and taken.max() < 60  # none is always taken: else with a probability of 6 (5/6)^60


def test_probability_is_linear_in_the_contrast() -> None:
    world = CellWorld(60, seed=12, size=36, num_cells=6)
    truths = [world.truth(index) for index in range(len(world))]
    contrasts = np.concatenate([truth.contrasts for truth in truths])
    probabilities = np.concatenate([truth.probabilities for truth in truths])
    (low, high), (least, most) = CONTRAST_RANGE, PROBABILITY_RANGE
    np.testing.assert_allclose(probabilities, least + (contrasts - low) / (high - low) * (most - least))
    assert PROBABILITY_RANGE == (0.2, 0.8)
    assert 0.2 < probabilities.min() < 0.22 and 0.78 < probabilities.max() < 0.8


def test_mean_is_that_of_the_samples() -> None:
    num_samples = 4000
    for index in range(3):
        truth = CellWorld(3, seed=5, size=50, num_cells=8).truth(index)
        mean, frequency = truth.mean(), truth.sample(num_samples, np.random.default_rng(index)).mean(0)
        outside = ~truth.regions.any(0)
        assert (mean[outside] == 0).all() and (frequency[outside] == 0).all() and (mean[~outside] > 0.19).all()
        inside = mean[~outside]
        error = np.abs(frequency[~outside] - inside) / np.sqrt(inside * (1 - inside) / num_samples)
        # The pixels of a cell move together: 8 comparisons an image, of which none beyond 4 errors.
        assert error.max() < 4


def test_samples_hold_each_cell_on_its_own() -> None:
    num_samples = 5000
    truth = CellWorld(2, seed=6, size=47, num_cells=9).truth(1)
    presence = counted(truth.sample(num_samples, np.random.default_rng(1)), truth)
    p = truth.probabilities
    assert (np.abs(presence.mean(0) - p) < 4 * np.sqrt(p * (1 - p) / num_samples)).all()
    correlations = np.corrcoef(presence.T)[np.triu_indices(9, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(num_samples)  # 36 pairs of standard error 1 / sqrt(N)


def test_every_combination_has_the_probability_of_the_law() -> None:
    num_samples = 8000
    truth = CellWorld(1, seed=8, size=35, num_cells=3).truth(0)
    presence = counted(truth.sample(num_samples, np.random.default_rng(2)), truth)
    for combination in itertools.product((False, True), repeat=3):
        p = np.prod([q if yes else 1 - q for q, yes in zip(truth.probabilities, combination, strict=True)])
        share = (presence == combination).all(1).mean()
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / num_samples)


def test_readers_are_independent_draws() -> None:
    world = CellWorld(150, seed=9, size=36, num_cells=6, num_readers=3)
    residuals = []
    for index, example in enumerate(world):
        truth = world.truth(index)
        p = truth.probabilities
        residuals.append((counted(example.labels.numpy(), truth) - p) / np.sqrt(p * (1 - p)))
    deviation = np.array(residuals)  # (images, readers, cells), of mean 0 and variance 1
    num = deviation[:, 0].size
    assert np.abs(deviation.mean((0, 2))).max() < 4 / np.sqrt(num)
    for one, other in itertools.combinations(range(3), 2):  # of one cell by two readers
        assert abs((deviation[:, one] * deviation[:, other]).mean()) < 4 / np.sqrt(num)
    neighbours = deviation[:, :, :-1] * deviation[:, :, 1:]  # of two cells by one reader
    assert abs(neighbours.mean()) < 4 / np.sqrt(neighbours.size)


def test_the_contrast_is_visible() -> None:
    world, contrasts, seen = CellWorld(40, seed=13), [], []
    for index in range(len(world)):
        truth, image = world.truth(index), world[index].image[0].numpy()
        medium = ~np.isfinite(truth.coordinates).any(0)
        rows, columns = np.indices(image.shape)
        for contrast, centre, rho in zip(truth.contrasts, truth.centres, truth.coordinates, strict=True):
            near = medium & (np.hypot(rows - centre[0], columns - centre[1]) < 14)
            contrasts.append(contrast)
            seen.append(image[rho < 0.7].mean() - np.median(image[near]))
    # A naive measurement tells the probability to within 0.04 on average: of a range of 0.6.
    error = np.abs(np.array(contrasts) - seen) / (CONTRAST_RANGE[1] - CONTRAST_RANGE[0]) * 0.6
    assert error.mean() < 0.04 and np.corrcoef(contrasts, seen)[0, 1] > 0.97


def test_every_cell_has_a_dark_rim_whatever_its_contrast() -> None:
    world = CellWorld(20, seed=14)
    for index in range(len(world)):
        truth, image = world.truth(index), world[index].image[0].numpy()
        medium = np.median(image[~np.isfinite(truth.coordinates).any(0)])
        for rho in truth.coordinates:
            assert image[(rho > 0.85) & (rho < 1.02)].mean() < medium - 8


def test_source_describes_itself() -> None:
    source = cell_source(num_train=6, num_val=3, seed=2, size=44, num_cells=8)
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 6, "val": 3}
    assert not source.drawn
    description = source.description
    assert description.layout == "built-in cells" and description.counted_classes == (1,)
    assert description.class_names == ("background", "cell") and description.class_values == (0, 255)
    assert description.rater_names == ("reader1", "reader2", "reader3", "reader4")
    assert source.splits["val"][0].labels.shape == (4, 44, 44)
    assert cell_source(1, 1, 2).splits["test"][1].image.shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_images": 0, "seed": 0}, "num_images=0"),
        ({"num_images": 1, "seed": -1}, "seed=-1"),
        ({"num_images": 1, "seed": 0, "size": 31, "num_cells": 1}, "size=31"),
        ({"num_images": 1, "seed": 0, "num_cells": 0}, "num_cells=0"),
        ({"num_images": 1, "seed": 0, "num_cells": 17}, "num_cells <= 16"),
        ({"num_images": 1, "seed": 0, "num_readers": 0}, "num_readers=0"),
        ({"num_images": 1, "seed": 0, "size": 47, "num_cells": 10}, "10 cells in 3 rows of 4 need size >= 48"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        CellWorld(**settings)


def test_a_source_refuses_a_negative_seed() -> None:
    with pytest.raises(InputError, match="seed=-1"):
        cell_source(seed=-1)
