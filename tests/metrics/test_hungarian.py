import math

import naive_metrics as naive
import pytest
import torch

from plurimask.metrics import hungarian_iou


@pytest.mark.parametrize(
    ("num_samples", "num_raters"), [(1, 1), (1, 3), (4, 2), (2, 4), (3, 2), (2, 3), (6, 3), (5, 5)]
)
def test_equals_the_best_of_all_pairings(num_samples, num_raters):
    cost = torch.rand(num_samples, num_raters, generator=torch.Generator().manual_seed(num_samples)).double()
    assert hungarian_iou(cost) == pytest.approx(naive.hungarian(cost.numpy()), abs=1e-12)


def test_repetition_of_either_side_changes_nothing():
    cost = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).double()
    expected = hungarian_iou(cost)
    assert hungarian_iou(cost.repeat_interleave(3, 0)) == pytest.approx(expected, abs=1e-12)
    assert hungarian_iou(cost.repeat(1, 2)) == pytest.approx(expected, abs=1e-12)


def test_range_and_undefined():
    assert hungarian_iou(torch.zeros(3, 2)) == 1
    assert hungarian_iou(torch.ones(3, 2)) == 0
    assert math.isnan(hungarian_iou(torch.full((3, 2), torch.nan)))
    assert math.isnan(hungarian_iou(torch.zeros(3, 0)))
