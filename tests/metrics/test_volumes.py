"""Scores of volumes against integrals, closed forms and loops; and that all other figures take volumes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from plurimask.data.images.pixel_size import PixelSize
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics import TABLE, evaluate_image, image_uncertainty, object_scores
from plurimask.metrics.image import image_with_raters
from plurimask.metrics.scores import evaluated
from plurimask.metrics.volume_table import VOLUMES, with_volumes
from plurimask.metrics.volumes import (
    VOLUME_COLUMNS,
    central_interval,
    crps,
    mean_difference,
    neighbour_iou,
    volume_rows,
)

SHAPE = (5, 7, 6)


def random_maps(num: int, num_classes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_classes, (num, *SHAPE), generator=generator, dtype=torch.uint8)


def random_mean(num_classes: int) -> Tensor:
    return torch.randn(num_classes, *SHAPE, generator=torch.Generator().manual_seed(9)).softmax(0)


# ---- CRPS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observed", [-3.0, 0.5, 2.0, 11.0])
def test_the_score_is_the_integral_of_the_squared_difference_of_distribution_functions(observed: float) -> None:
    values = np.array([0.0, 2.0, 2.0, 3.5, 9.0])
    z = np.linspace(-5, 15, 400_001)
    distribution = (values[:, None] <= z).mean(0)
    integral = np.trapezoid((distribution - (observed <= z)) ** 2, z)
    # The integral counts pairs of a sample with itself, which the fair form leaves out.
    pairs = [abs(a - b) for a, b in itertools.permutations(values, 2)]
    fair = integral - np.mean(pairs) / (2 * len(values))
    assert float(crps(torch.tensor(values), torch.tensor([observed]))) == pytest.approx(fair, abs=1e-3)
    assert mean_difference(torch.tensor(values)) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_of_few_draws_it_is_in_expectation_that_of_their_law() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, sigma, observed = 2.0, 1.5, 3.1
    sets = mean + sigma * torch.randn(20_000, 3, generator=generator, dtype=torch.float64)
    scores = torch.cat([crps(one, torch.tensor([observed])) for one in sets])
    z = (observed - mean) / sigma
    density, below = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), 0.5 * (1 + math.erf(z / math.sqrt(2)))
    exact = sigma * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))  # Gneiting et al. 2005
    assert float(scores.mean()) == pytest.approx(exact, abs=4 * float(scores.std()) / math.sqrt(len(scores)))


def test_of_a_single_answer_given_twice_it_is_the_distance_and_of_one_sample_there_is_none() -> None:
    assert crps(torch.tensor([4, 4]), torch.tensor([1, 6])).tolist() == [3, 2]
    assert crps(torch.tensor([4]), torch.tensor([1])).isnan().all()


# ---- intervals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "expected"), [(8, 7 / 9), (19, 0.9), (30, 0.9)])
def test_a_further_draw_lies_in_the_interval_as_often_as_is_said(count: int, expected: float) -> None:
    generator = torch.Generator().manual_seed(count)
    draws = torch.rand(4000, count, generator=generator, dtype=torch.float64)
    ends = [central_interval(one) for one in draws]
    inside = torch.tensor([high - low for low, high in ends])  # the probability of a uniform number
    assert float(inside.mean()) == pytest.approx(expected, abs=4 * float(inside.std()) / math.sqrt(4000))


def test_ends_lie_between_the_sorted_numbers() -> None:
    assert central_interval(torch.arange(39).flip(0)) == pytest.approx((1, 37))
    assert central_interval(torch.tensor([5, 5, 5])) == (5, 5)


# ---- neighbouring slices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("classes", [[1], [1, 2]])
def test_neighbouring_slices_are_compared_pair_by_pair(axis: int, classes: list[int]) -> None:
    maps = random_maps(3, 3)
    maps[0, 1:3] = 0
    maps[2] = 0
    valid = torch.rand(SHAPE, generator=torch.Generator().manual_seed(4)) < 0.8
    of_maps = []
    for one in maps.movedim(axis + 1, 1).numpy():
        where, of_pairs = valid.movedim(axis, 0).numpy(), []
        for upper in range(len(one) - 1):
            both, of_classes = where[upper] & where[upper + 1], []
            for index in classes:
                first, second = (one[number][both] == index for number in (upper, upper + 1))
                if (first | second).any():
                    of_classes.append((first & second).sum() / (first | second).sum())
            if of_classes:
                of_pairs.append(np.mean(of_classes))
        if of_pairs:
            of_maps.append(np.mean(of_pairs))
    assert neighbour_iou(maps, classes, valid, axis) == pytest.approx(np.mean(of_maps), abs=1e-12)


def test_without_a_mask_or_a_second_slice_there_are_no_neighbours() -> None:
    assert math.isnan(neighbour_iou(torch.zeros(2, *SHAPE, dtype=torch.uint8), [1]))
    assert math.isnan(neighbour_iou(torch.ones(2, 1, 4, 4, dtype=torch.uint8), [1]))
    with pytest.raises(InputError, match="axis 3"):
        neighbour_iou(random_maps(1, 2), [1], axis=3)


# ---- figures of an image ------------------------------------------------------------------------------------------


def test_figures_are_of_the_voxels_that_all_raters_judged_and_of_classes_that_are_there() -> None:
    labels, samples = random_maps(4, 3, seed=1), random_maps(6, 3, seed=2)
    labels[1] = IGNORE  # absent
    labels[2, 0] = IGNORE
    samples[samples == 2] = 1
    labels[labels == 2] = 1
    image = image_with_raters(samples, random_mean(3), labels, [1, 2])
    scores = evaluated(image, VOLUMES).scores
    own = (samples[:, 1:] == 1).flatten(1).sum(1)
    raters = (labels[[0, 2, 3], 1:] == 1).flatten(1).sum(1)
    low, high = central_interval(own)
    assert scores["volume_crps_voxels"] == pytest.approx(float(crps(own, raters).mean()))
    assert scores["volume_crps_voxels_raters"] == pytest.approx(mean_difference(raters) / 2)
    assert scores["volume_coverage"] == float(((raters >= low) & (raters <= high)).double().mean())
    assert math.isnan(scores["volume_crps"]) and math.isnan(scores["volume_crps_raters"])
    row, other = volume_rows("scan", image.volumes, math.nan)
    assert (row["class"], row["unit"], other["mean"], tuple(row)) == (1, "voxels", 0, VOLUME_COLUMNS)
    assert row["raters"] == " ".join(str(count) for count in raters.tolist())


def test_millilitres_are_voxels_times_their_size() -> None:
    size = PixelSize(0.5, 0.25, "mm", 4.0)
    assert size.millilitres == pytest.approx(0.0005)
    assert PixelSize(500, 250, "µm", 4000.0).millilitres == pytest.approx(0.0005)
    assert math.isnan(PixelSize(1, 1, "mm").millilitres)
    image = image_with_raters(random_maps(4, 2), random_mean(2), random_maps(3, 2, seed=5), [1])
    (row,), (known,) = (volume_rows("scan", image.volumes, voxel) for voxel in (math.nan, size.millilitres))
    assert known["unit"] == "ml"
    for key in ("mean", "deviation", "low", "median", "high", "crps", "crps_raters"):
        assert known[key] == pytest.approx(row[key] * 0.0005)
    assert known["coverage"] == row["coverage"]


def test_where_nobody_marks_anything_the_score_is_0_and_where_nobody_judged_there_is_none() -> None:
    nothing = torch.zeros(3, *SHAPE, dtype=torch.uint8)
    scores = evaluated(image_with_raters(nothing, random_mean(2), nothing, [1]), VOLUMES).scores
    assert (scores["volume_crps_voxels"], scores["volume_coverage"]) == (0, 1)
    unjudged = torch.full_like(nothing, IGNORE)
    scores = evaluated(image_with_raters(nothing, random_mean(2), unjudged, [1]), with_volumes(TABLE)).scores
    assert math.isnan(scores["volume_crps_voxels"]) and math.isnan(scores["volume_coverage"])


def test_all_other_figures_of_a_volume_are_those_of_its_voxels_in_a_row() -> None:
    samples, labels, mean = random_maps(5, 3), random_maps(4, 3, seed=3), random_mean(3)
    labels[3, 2:] = IGNORE
    whole, row = (
        evaluate_image(*maps, [1, 2])
        for maps in ((samples, mean, labels), (samples.flatten(1), mean.flatten(1), labels.flatten(1)))
    )
    for key, value in whole.scores.items():
        assert value == pytest.approx(row.scores[key], abs=1e-9, nan_ok=True), key
    for ours, flat in zip(whole.sums.calibration, row.sums.calibration, strict=True):
        assert torch.allclose(ours, flat)
    of_volume, of_row = (
        image_uncertainty(samples, mean, [1, 2]),
        image_uncertainty(samples.flatten(1), mean.flatten(1), [1, 2]),
    )
    assert of_volume == pytest.approx(of_row)


def test_objects_of_a_volume_are_connected_through_its_slices() -> None:
    label_map = torch.zeros(SHAPE, dtype=torch.uint8)
    label_map[0:3, 1, 1] = 1
    label_map[3, 2, 2] = 1  # touches the last at a corner
    label_map[1, 5, 4:6] = 1
    mean = torch.stack([1 - 0.9 * label_map, 0.9 * label_map])
    scores = object_scores(label_map[None].repeat(3, 1, 1, 1), mean, torch.zeros(SHAPE), [1])
    assert [one.num_pixels for one in scores] == [4, 2]
    assert scores[0].bounding_box == ((0, 4), (1, 3), (1, 3))
    assert scores[1].bounding_box == ((1, 2), (5, 6), (4, 6))
    assert all(one.expected_dice == 1 for one in scores)
