"""Objects counted in samples: held against loops over pixels and samples, and against draws of a known law."""

import itertools
import math

import numpy as np
import pytest
import torch
from object_statistics import (
    chance_correlation,
    distinct_modes_curve,
    expected_distinct_modes,
    object_coverage,
    object_presence,
    object_statistics,
)

from plurimask.errors import InputError


def blocks(spatial=(6, 7), num_objects=3, num_samples=11, seed=0):
    """Samples with random foreground of two classes, and disjoint random regions."""
    random = np.random.default_rng(seed)
    owner = random.integers(0, num_objects + 1, spatial)
    regions = np.stack([owner == index for index in range(num_objects)])
    samples = (random.random((num_samples, *spatial)) < 0.5) * random.integers(1, 3, (num_samples, *spatial))
    return torch.from_numpy(samples.astype(np.uint8)), torch.from_numpy(regions)


def draws(probabilities, num_samples, seed=0):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.random((num_samples, len(probabilities))) < probabilities)


@pytest.mark.parametrize("spatial", [(29,), (6, 7), (2, 3, 5)])
def test_coverage_and_presence_equal_a_loop_over_pixels(spatial, monkeypatch):
    samples, regions = blocks(spatial)
    for chunk in (1, 100, 2**24):  # pixels; the last takes all samples at once
        monkeypatch.setattr("object_statistics._MAX_CHUNK_PIXELS", chunk)
        coverage, presence = object_coverage(samples, regions), object_presence(samples, regions)
        assert coverage.shape == presence.shape == (11, 3) and presence.dtype == torch.bool
        for n, k in np.ndindex(11, 3):
            pixels = [int(samples[n][place] > 0) for place in np.ndindex(spatial) if regions[k][place]]
            assert float(coverage[n, k]) == pytest.approx(sum(pixels) / len(pixels), abs=1e-15)
            assert bool(presence[n, k]) == (2 * sum(pixels) > len(pixels))


def test_half_of_an_object_is_not_present():
    regions = torch.zeros(1, 2, 5, dtype=torch.bool)
    regions[0, :, :3] = True
    samples = torch.zeros(3, 2, 5, dtype=torch.uint8)
    samples[0, 0, :3] = 1  # 3 of 6 pixels
    samples[1, 0, :3] = samples[1, 1, 0] = 1  # 4 of 6
    samples[2, :, 3:] = 1  # none
    assert object_presence(samples, regions)[:, 0].tolist() == [False, True, False]


def test_statistics_equal_naive_ones():
    probabilities = np.array([0.3, 0.55, 0.7, 0.4])
    presence = draws(probabilities, 23, seed=3)
    presence[:, 3] = presence[:, 0] ^ (torch.arange(23) < 4)  # two that go together
    found = object_statistics(presence, torch.from_numpy(probabilities))
    table = presence.numpy().astype(float)
    np.testing.assert_allclose(found.frequencies, table.mean(0), atol=1e-15)
    assert found.frequency_error == pytest.approx(
        np.mean([abs(table[:, k].mean() - probabilities[k]) for k in range(4)])
    )
    expected = np.corrcoef(table.T)
    np.testing.assert_allclose(found.correlations, expected, atol=1e-12)
    pairs = [abs(expected[a, b]) for a, b in itertools.combinations(range(4), 2)]
    assert found.mean_absolute_correlation == pytest.approx(np.mean(pairs))
    assert found.num_constant == 0
    assert found.distinct_modes == len({tuple(row) for row in table})


def test_draws_of_the_law_score_chance():
    num, probabilities = 1000, np.linspace(0.2, 0.8, 12)
    scores = [object_statistics(draws(probabilities, num, seed), torch.from_numpy(probabilities)) for seed in range(20)]
    correlations = np.array([one.mean_absolute_correlation for one in scores])
    # The absolute value of a normal deviate with deviation s has mean 0.80 s and deviation 0.60 s; 66 pairs, 20 times.
    assert abs(correlations.mean() - chance_correlation(num)) < 4 * 0.603 / math.sqrt(num) / math.sqrt(66 * 20)
    errors = np.array([one.frequency_error for one in scores])
    expected = np.mean(np.sqrt(2 / math.pi * probabilities * (1 - probabilities) / num))
    assert abs(errors.mean() - expected) < 4 * 0.5 * 0.603 / math.sqrt(num) / math.sqrt(12 * 20)


def test_objects_that_never_change_have_no_correlation():
    probabilities = torch.tensor([0.5, 0.5, 0.5, 0.5])
    presence = draws(np.full(4, 0.5), 40, seed=2)
    presence[:, 1], presence[:, 2] = True, False
    found = object_statistics(presence, probabilities)
    assert found.num_constant == 2 and found.frequencies[1:3].tolist() == [1.0, 0.0]
    undefined = found.correlations.isnan()
    assert undefined[1:3].all() and undefined[:, 1:3].all() and int(undefined.sum()) == 16 - 4
    own = np.corrcoef(presence[:, 0].numpy(), presence[:, 3].numpy())[0, 1]
    assert found.correlations[0, 3] == pytest.approx(own)
    assert found.mean_absolute_correlation == pytest.approx(abs(own))  # of the one pair that has one


@pytest.mark.parametrize("varying", [0, 1])
def test_a_method_that_varies_less_than_two_objects_is_not_independent(varying):
    presence = torch.ones(9, 3, dtype=torch.bool)
    presence[:4, :varying] = False
    found = object_statistics(presence, torch.full((3,), 0.5))
    assert math.isnan(found.mean_absolute_correlation)
    assert found.num_constant == 3 - varying and found.distinct_modes == 1 + varying


def test_objects_tied_together_have_correlations_of_one():
    coin = draws(np.array([0.4]), 50, seed=5)
    found = object_statistics(torch.cat([coin, ~coin, coin], dim=1), torch.tensor([0.4, 0.6, 0.4]))
    np.testing.assert_allclose(found.correlations, [[1, -1, 1], [-1, 1, -1], [1, -1, 1]], atol=1e-12)
    assert found.correlations.abs().max() <= 1
    assert found.mean_absolute_correlation == pytest.approx(1) and found.distinct_modes == 2


def test_a_single_sample_has_no_correlation():
    found = object_statistics(torch.tensor([[True, False]]), torch.tensor([0.5, 0.25]))
    assert found.num_constant == 2 and math.isnan(found.mean_absolute_correlation)
    assert found.frequency_error == pytest.approx((0.5 + 0.25) / 2) and found.distinct_modes == 1


def test_the_curve_counts_the_first_samples():
    presence = draws(np.array([0.2, 0.5, 0.6, 0.7]), 37, seed=6)
    numbers = [1, 2, 7, 19, 37]
    naive = [len({tuple(row) for row in presence[:number].tolist()}) for number in numbers]
    assert distinct_modes_curve(presence, numbers) == naive
    assert naive[-1] == object_statistics(presence, torch.full((4,), 0.5)).distinct_modes


def test_expected_modes_equal_the_enumeration_and_what_draws_show():
    probabilities, numbers = np.array([0.2, 0.35, 0.5, 0.62, 0.8]), [1, 3, 20, 90]
    found = expected_distinct_modes(torch.from_numpy(probabilities), numbers)
    for number, value in zip(numbers, found, strict=True):
        total = 0.0
        for mode in itertools.product((0, 1), repeat=5):
            p = math.prod(q if yes else 1 - q for q, yes in zip(probabilities, mode, strict=True))
            total += 1 - (1 - p) ** number
        assert value == pytest.approx(total, rel=1e-12)
    assert found[0] == pytest.approx(1)
    curves = np.array([distinct_modes_curve(draws(probabilities, 90, seed), numbers) for seed in range(200)])
    errors = curves.std(0, ddof=1) / math.sqrt(len(curves))
    assert (np.abs(curves.mean(0) - found) <= 4 * errors + 1e-12).all()


def test_sure_objects_add_no_modes():
    found = expected_distinct_modes(torch.tensor([0.0, 1.0, 0.5]), [1, 2, 1000])
    assert found == pytest.approx([1, 1.5, 2])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, r: object_presence(s.float(), r), "samples must be bool or class indices"),
        (lambda s, r: object_presence(s, r.byte()), "regions must be bool, not torch.uint8"),
        (lambda s, r: object_presence(s[0], r), "of the same image"),
        (lambda s, r: object_presence(s[:, 1:], r), "of the same image"),
        (lambda s, r: object_presence(s, r & (torch.arange(3) != 1)[:, None, None]), r"regions \[1\] have no pixel"),
        (lambda s, r: object_presence(s.fill_(255), r), "nobody judged"),
        (lambda s, r: object_statistics(s[0], torch.rand(7)), "presence must be"),
        (lambda s, r: object_statistics(r[0][:0], torch.rand(7)), "presence must be"),
        (lambda s, r: object_statistics(r[0], torch.rand(6)), "6 probabilities for 7 objects"),
        (lambda s, r: object_statistics(r[0], torch.full((7,), 1.5)), "from 0 to 1"),
        (lambda s, r: object_statistics(r[0], torch.full((7,), math.nan)), "from 0 to 1"),
        (lambda s, r: distinct_modes_curve(r[0], [2, 7]), "from 1 to the 6"),
        (lambda s, r: distinct_modes_curve(r[0], [0]), "from 1 to the 6"),
        (lambda s, r: expected_distinct_modes(torch.rand(21), [2]), "at most 20"),
        (lambda s, r: expected_distinct_modes(torch.rand(3), [0]), "at least 1"),
        (lambda s, r: chance_correlation(1), "at least 2"),
    ],
)
def test_impossible_input_is_refused(call, words):
    samples, regions = blocks()
    with pytest.raises(InputError, match=words):
        call(samples, regions)
