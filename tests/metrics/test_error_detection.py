import math

import numpy as np
import pytest
import torch
from scipy import stats

from plurimask.distribution import IGNORE, entropy
from plurimask.errors import InputError
from plurimask.methods.m_heads import MultipleHypotheses
from plurimask.metrics import (
    ErrorHistogram,
    ErrorHistograms,
    PixelUncertainty,
    class_spread,
    error_histogram,
    evaluate_image,
    evaluate_images,
    rater_votes,
)
from plurimask.metrics.error_detection import NUM_ENTROPY_BINS, bin_errors, error_histograms, no_errors


def random_maps(num, num_classes, spatial, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_classes, (num, *spatial), generator=generator, dtype=torch.uint8)


def random_mean(num_classes, spatial, sharpness=3.0):
    return (sharpness * torch.randn(num_classes, *spatial, generator=torch.Generator().manual_seed(1))).softmax(0)


def random_uncertainty(spatial):
    generator = torch.Generator().manual_seed(6)
    return PixelUncertainty(*(scale * torch.rand(spatial, generator=generator) ** 3 for scale in (0.6, 0.4)))


def rank_auroc(right, wrong):
    """The exact area by ranks (Mann-Whitney), every pair by itself."""
    ranks = stats.rankdata(np.concatenate([wrong, right]))[: len(wrong)]
    return (ranks.sum() - len(wrong) * (len(wrong) + 1) / 2) / (len(wrong) * len(right))


def by_pairs(mean, labels):
    """The entropies of right and of wrong labels, one per pair of a judged pixel and a rater."""
    nats, best = entropy(mean, dim=0).numpy(), mean.numpy().argmax(0)
    right, wrong = [], []
    for rater in labels.numpy():
        for p in np.ndindex(rater.shape):
            if rater[p] != IGNORE:
                (right if rater[p] == best[p] else wrong).append(nats[p])
    return np.array(right), np.array(wrong)


@pytest.mark.parametrize("spatial", [(31, 37), (5, 6, 7)])
def test_auroc_equals_that_by_ranks(spatial):
    mean, labels = random_mean(4, spatial), random_maps(3, 4, spatial)
    agreeing = torch.rand(spatial, generator=torch.Generator().manual_seed(4)) < mean.amax(0)
    labels[:2, agreeing] = mean.argmax(0)[agreeing].to(torch.uint8)
    labels[2].view(-1)[:17] = IGNORE
    labels = torch.cat([labels, torch.full_like(labels[:1], IGNORE)])
    right, wrong = by_pairs(mean, labels)
    histogram = error_histogram(mean, rater_votes(labels, 4))
    assert (float(histogram.right.sum()), float(histogram.wrong.sum())) == (len(right), len(wrong))
    exact = rank_auroc(right, wrong)
    assert 0.6 < exact < 0.95
    # Only pairs in one bin are counted otherwise than by ranks, each by a half at most.
    together = float((histogram.right * histogram.wrong).sum())
    bound = together / 2 / (len(right) * len(wrong))
    assert bound < 0.01
    assert abs(histogram.auroc() - exact) <= bound + 1e-12
    row = evaluate_image(labels[:2], mean, labels, [1, 2]).sums.errors
    assert torch.equal(row.entropy.right, histogram.right) and torch.equal(row.entropy.wrong, histogram.wrong)
    assert float(row.mutual_information.right.sum() + row.spread.wrong.sum()) == 0  # not given


def test_auroc_of_ties_extremes_and_nothing():
    nats = torch.tensor([0.0, 1e-12, 1e-3, 0.5])
    one = torch.tensor([1.0, 1.0, 1.0, 1.0])
    assert bin_errors(nats[:2], one[:2], one[:2]).auroc() == 0.5  # all below the first edge
    assert bin_errors(nats, torch.tensor([3, 5, 0, 0]), torch.tensor([0, 0, 1, 2])).auroc() == 1
    assert bin_errors(nats, torch.tensor([0, 0, 1, 2]), torch.tensor([3, 5, 0, 0])).auroc() == 0
    assert math.isnan(bin_errors(nats, one, 0 * one).auroc())
    assert math.isnan(bin_errors(nats, 0 * one, one).auroc())
    assert math.isnan(no_errors().auroc())


def test_a_higher_entropy_is_never_in_a_lower_bin():
    nats = torch.cat([torch.zeros(1), torch.logspace(-10, math.log10(math.log(255)), 5001)])
    index = [int(bin_errors(one[None], torch.ones(1), torch.zeros(1)).right.argmax()) for one in nats[::7]]
    assert index == sorted(index) and index[0] == 0 and index[-1] == NUM_ENTROPY_BINS - 1
    largest = torch.tensor([math.log(255) * 1.001])  # by rounding
    assert float(bin_errors(largest, torch.ones(1), torch.zeros(1)).right[-1]) == 1


def test_histograms_pool_and_take_probabilities_for_votes():
    mean, labels = random_mean(3, (9, 11)), random_maps(4, 3, (9, 11))
    votes = rater_votes(labels, 3)
    whole = error_histogram(mean, votes)
    parts = [error_histogram(mean[:, rows], votes[:, rows]) for rows in (slice(0, 4), slice(4, 9))]
    assert torch.equal(parts[0].right + parts[1].right, whole.right)
    assert torch.equal(parts[0].wrong + parts[1].wrong, whole.wrong)
    shares = error_histogram(mean, votes.double() / 4)
    torch.testing.assert_close(shares.wrong * 4, whole.wrong)
    assert shares.auroc() == pytest.approx(whole.auroc(), abs=1e-12)


def test_each_uncertainty_has_a_histogram_of_the_same_pairs():
    mean, labels, maps = random_mean(3, (9, 11)), random_maps(4, 3, (9, 11)), random_uncertainty((9, 11))
    labels[1, :4], labels[2] = IGNORE, IGNORE
    found = evaluate_image(labels[:2], mean, labels, [1, 2], uncertainty=maps).sums.errors
    best = mean.argmax(0)
    right = ((labels == best) & (labels != IGNORE)).sum(0)
    wrong = ((labels != best) & (labels != IGNORE)).sum(0)
    for histogram, uncertainty in zip(found, (entropy(mean, dim=0), *maps), strict=True):
        expected = bin_errors(uncertainty, right, wrong)
        assert torch.equal(histogram.right, expected.right) and torch.equal(histogram.wrong, expected.wrong)
    exact = rank_auroc(*(np.repeat(maps.spread.numpy().ravel(), counts.numpy().ravel()) for counts in (right, wrong)))
    assert found.spread.auroc() == pytest.approx(exact, abs=0.01)
    assert found.spread.auroc() != found.mutual_information.auroc()


def test_a_batch_is_its_images():
    mean, labels = random_mean(3, (2, 9, 11)).movedim(1, 0), random_maps(2, 3, (4, 9, 11)).view(2, 4, 9, 11)
    maps = random_uncertainty((2, 9, 11))
    together = evaluate_images(labels.movedim(1, 0), mean, labels, [1, 2], uncertainty=maps)
    for number, one in enumerate(together):
        own = PixelUncertainty(maps.mutual_information[number], maps.spread[number])
        alone = evaluate_image(labels[number], mean[number], labels[number], [1, 2], uncertainty=own)
        assert torch.equal(one.sums.errors.stacked(), alone.sums.errors.stacked())


def test_histograms_are_one_tensor_and_back():
    right, wrong = random_maps(2, 5, (6, 7))
    found = error_histograms(torch.rand(6, 7), random_uncertainty((6, 7)), right, wrong)
    assert found.stacked().shape == (3, 2, NUM_ENTROPY_BINS)
    again = ErrorHistograms.from_stacked(found.stacked())
    assert torch.equal(again.stacked(), found.stacked())
    assert torch.equal(again.spread.wrong, found.spread.wrong) and isinstance(again.entropy, ErrorHistogram)


def test_what_is_zero_everywhere_is_silent():
    one = torch.ones(4)
    assert bin_errors(torch.tensor([0.0, 1e-9, 0.0, 0.0]), one, one).is_silent and no_errors().is_silent
    assert not bin_errors(torch.tensor([0.0, 1e-7, 0.0, 0.0]), 0 * one, one).is_silent
    assert not bin_errors(torch.tensor([0.0, 1e-7, 0.0, 0.0]), one, 0 * one).is_silent


def test_spread_is_the_mean_deviation_over_the_classes():
    scores = torch.randn(5, 2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    mixture = MultipleHypotheses(scores).freeze(1)
    draws = scores.softmax(2).double()
    expected = sum(draws[:, :, k].std(0, correction=0) for k in range(3)) / 3
    found = class_spread(mixture.variance(), dim=1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    halves = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # the largest there is
    assert float(class_spread(halves.var(0, correction=0)[:, None], dim=0)) == 0.5
    alone = MultipleHypotheses(scores[:1]).freeze(1)
    assert not class_spread(alone.variance(), dim=1).any() and not alone.mutual_information().any()


def test_errors_say_what_is_wrong():
    mean, labels = random_mean(3, (6, 7)), random_maps(2, 3, (6, 7))
    with pytest.raises(InputError, match="differ in their shape"):
        error_histogram(mean, torch.zeros(3, 7, 6))
    with pytest.raises(InputError, match="mutual information and spread have shapes"):
        evaluate_image(labels, mean, labels, [1], uncertainty=random_uncertainty((7, 6)))
