"""Sparsification against sorting the labels one by one."""

import itertools
import math

import numpy as np
import pytest
import torch

from plurimask.metrics import ErrorHistogram, sparsification
from plurimask.metrics.error_detection import NUM_ENTROPY_BINS, bin_errors, no_errors


def by_sorting(uncertainty, wrong, shares):
    """Errors among those left, with the last label of a share removed in part, and the oracle's."""
    count = len(wrong)

    def curve(order):
        left = []
        for share in shares:
            kept, weights = (1 - share) * count, np.zeros(count)
            weights[: int(kept)] = 1
            if int(kept) < count:
                weights[int(kept)] = kept - int(kept)
            left.append((weights * wrong[order]).sum() / kept)
        return np.array(left)

    return curve(np.argsort(uncertainty, kind="stable")), curve(np.argsort(wrong, kind="stable"))


def random_pixels(count=3001):
    random = np.random.default_rng(0)
    uncertainty = random.uniform(0, 0.7, count) ** 2
    return uncertainty, random.uniform(size=count) < 0.02 + 0.5 * uncertainty


def histogram_of(uncertainty, wrong):
    wrong = torch.from_numpy(np.asarray(wrong))
    return bin_errors(torch.from_numpy(np.asarray(uncertainty, np.float32)), ~wrong, wrong)


def test_curves_equal_those_of_sorted_pixels():
    uncertainty, wrong = random_pixels()
    found = sparsification(histogram_of(uncertainty, wrong))
    assert found.removed.tolist() == [number / 100 for number in range(100)]
    error, oracle = by_sorting(uncertainty, wrong, found.removed)
    assert found.error[0] == pytest.approx(wrong.mean())
    np.testing.assert_allclose(found.oracle, oracle, atol=1e-12)
    # Within a bin the order is not known: at most its wrong labels are elsewhere.
    counts = histogram_of(uncertainty, wrong)
    bound = float(counts.wrong.max()) / ((1 - found.removed) * len(wrong))
    assert bool((np.abs(found.error - error) <= bound + 1e-12).all())
    assert np.abs(found.error - error)[:80].max() < 0.01
    gaps = (error - oracle) / wrong.mean()
    assert found.ause() == pytest.approx(sum((gaps[k] + gaps[k + 1]) / 200 for k in range(99)), abs=0.01)
    assert 0.3 < found.ause() < 0.9


def test_within_a_bin_the_curve_is_the_expectation_over_the_order():
    """Six labels in three bins, all orders that keep the bins apart."""
    uncertainty, wrong = np.array([0.0, 0.1, 0.1, 0.1, 0.5, 0.5]), np.array([False, True, False, False, True, False])
    found = sparsification(histogram_of(uncertainty, wrong))
    orders = [
        order for order in itertools.permutations(range(6)) if bool((np.diff(uncertainty[list(order)]) >= 0).all())
    ]
    assert len(orders) == 12
    for share in (0, 50):  # whole labels
        kept = round((100 - share) / 100 * 6)
        expected = np.mean([wrong[list(order[:kept])].mean() for order in orders])
        assert found.error[share] == pytest.approx(expected)


def test_ends_of_the_area():
    _, wrong = random_pixels()
    perfect = sparsification(histogram_of(0.1 + 0.5 * wrong, wrong))
    np.testing.assert_allclose(perfect.error, perfect.oracle, atol=1e-12)
    assert perfect.ause() == pytest.approx(0, abs=1e-12)
    useless = sparsification(histogram_of(np.full(len(wrong), 0.3), wrong))
    np.testing.assert_allclose(useless.error, wrong.mean(), atol=1e-12)
    # The oracle's own area, of an error rate e: the integral of (e - s) / (e (1 - s)) from 0 to e.
    rate = wrong.mean()
    oracle = (rate + (1 - rate) * math.log(1 - rate)) / rate
    assert useless.ause() == pytest.approx(0.99 - oracle, abs=2e-3)
    misleading = sparsification(histogram_of(0.6 - 0.5 * wrong, wrong))
    assert misleading.ause() > useless.ause() and misleading.error[-1] == 1


def test_nothing_and_no_errors():
    nothing = sparsification(no_errors())
    assert math.isnan(nothing.ause()) and np.isnan(nothing.error).all() and nothing.removed.shape == (100,)
    right = torch.zeros(NUM_ENTROPY_BINS, dtype=torch.float64)
    right[7] = 5
    flawless = sparsification(ErrorHistogram(right, 0 * right))
    assert math.isnan(flawless.ause()) and not flawless.error.any()
    hopeless = sparsification(ErrorHistogram(0 * right, right))
    assert hopeless.ause() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(hopeless.error, 1)
