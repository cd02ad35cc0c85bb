import math

import naive_metrics as naive
import pytest
import torch

from plurimask.metrics import hungarian_iou_balanced, hungarian_iou_best_draws

BOTH = pytest.mark.parametrize("hungarian_iou", [hungarian_iou_balanced, hungarian_iou_best_draws])


def random_cost(num_samples, num_raters, seed=0):
    return torch.rand(num_samples, num_raters, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(
    ("num_samples", "num_raters"), [(1, 1), (1, 3), (4, 2), (2, 4), (3, 2), (2, 3), (6, 3), (5, 5)]
)
def test_balanced_equals_the_best_of_all_pairings(num_samples, num_raters):
    cost = random_cost(num_samples, num_raters, num_samples)
    assert hungarian_iou_balanced(cost) == pytest.approx(naive.hungarian(cost.numpy()), abs=1e-12)


@pytest.mark.parametrize(("num_samples", "num_raters"), [(1, 1), (2, 1), (4, 2), (3, 2), (7, 4), (5, 5)])
def test_best_draws_equal_the_best_of_all_choices(num_samples, num_raters):
    cost = random_cost(num_samples, num_raters, num_samples)
    assert hungarian_iou_best_draws(cost) == pytest.approx(naive.best_draws(cost.numpy()), abs=1e-12)
    assert math.isnan(hungarian_iou_best_draws(random_cost(num_raters, num_raters + 1)))


def test_repetition_of_either_side_changes_no_balanced_pairing():
    cost = random_cost(4, 6)
    expected = hungarian_iou_balanced(cost)
    assert hungarian_iou_balanced(cost.repeat_interleave(3, 0)) == pytest.approx(expected, abs=1e-12)
    assert hungarian_iou_balanced(cost.repeat(1, 2)) == pytest.approx(expected, abs=1e-12)


def test_the_two_differ_by_the_samples_that_are_left_over():
    """With as many samples as raters they are one; of more, the worst are forgotten by the one and not the other."""
    cost = random_cost(5, 5)
    assert hungarian_iou_best_draws(cost) == pytest.approx(hungarian_iou_balanced(cost), abs=1e-12)
    bad = torch.cat([cost, torch.ones(5, 5)])
    assert hungarian_iou_best_draws(bad) == pytest.approx(hungarian_iou_best_draws(cost), abs=1e-12)
    assert hungarian_iou_balanced(bad) < hungarian_iou_balanced(cost) - 0.2


@BOTH
def test_range_and_undefined(hungarian_iou):
    assert hungarian_iou(torch.zeros(3, 2)) == 1
    assert hungarian_iou(torch.ones(3, 2)) == 0
    assert math.isnan(hungarian_iou(torch.full((3, 2), torch.nan)))
    assert math.isnan(hungarian_iou(torch.zeros(3, 0)))
    assert math.isnan(hungarian_iou(torch.zeros(0, 3)))
