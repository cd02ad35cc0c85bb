import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.metrics import CalibrationBins, calibration_bins, log_likelihood, rater_votes


def random_image(num_classes, num_raters, spatial, seed):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(num_classes, *spatial, generator=generator).mul(3).softmax(0)
    labels = torch.randint(num_classes, (num_raters, *spatial), generator=generator, dtype=torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORE
    return probabilities, labels


@pytest.mark.parametrize("spatial", [(17,), (5, 6), (2, 3, 4)])
@pytest.mark.parametrize("num_bins", [15, 4])
def test_error_equals_the_definition_over_a_data_set(spatial, num_bins):
    images = [random_image(3, num_raters, spatial, seed) for seed, num_raters in enumerate((1, 2, 4))]
    bins = [calibration_bins(p, rater_votes(y, 3), [1, 2], num_bins) for p, y in images]
    pooled = CalibrationBins(*map(sum, zip(*bins, strict=True)))
    expected = naive.calibration_error([(p.numpy(), y.numpy()) for p, y in images], [1, 2], num_bins)
    assert pooled.error() == pytest.approx(expected, abs=1e-12)
    assert pooled.num_pixels.shape == (2, num_bins)
    judged = sum(int((y != IGNORE).any(0).sum()) for _, y in images)
    assert pooled.num_pixels.sum(1).tolist() == [judged, judged]


def test_certain_and_wrong_is_one_and_calibrated_is_zero():
    certain = torch.tensor([[0.0] * 6, [1.0] * 6])
    labels = torch.zeros(2, 6, dtype=torch.uint8)
    wrong = calibration_bins(certain, rater_votes(labels, 2), [1])
    assert wrong.error() == 1 and wrong.num_pixels[0, -1] == 6
    labels[0] = 1
    half = calibration_bins(torch.full((2, 6), 0.5), rater_votes(labels, 2), [1])
    assert half.error() == 0
    nobody = rater_votes(torch.full((2, 6), IGNORE, dtype=torch.uint8), 2)
    assert math.isnan(calibration_bins(certain, nobody, [1]).error())


@pytest.mark.parametrize("spatial", [(17,), (5, 6), (2, 3, 4)])
def test_likelihood_equals_the_definition(spatial):
    probabilities, labels = random_image(4, 3, spatial, 0)
    found = log_likelihood(probabilities, rater_votes(labels, 4))
    total, count = naive.likelihood(probabilities.numpy(), labels.numpy())
    assert found.num_labels == count
    assert found.total == pytest.approx(total, rel=1e-6)


def test_likelihood_is_bounded_and_undefined_without_labels():
    certain = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    votes = rater_votes(torch.tensor([[0, IGNORE]], dtype=torch.uint8), 2)
    assert log_likelihood(certain, votes).mean() == pytest.approx(-math.log(np.finfo(np.float32).tiny), rel=1e-6)
    assert math.isnan(log_likelihood(certain, torch.zeros_like(votes)).mean())


def test_votes_of_many_raters_do_not_overflow():
    assert rater_votes(torch.ones(300, 2, dtype=torch.uint8), 2).tolist() == [[0, 0], [300, 300]]
