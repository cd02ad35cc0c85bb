"""The closed forms for images whose classes flip, against every mode drawn as a map of its own."""

import itertools
import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE, entropy
from plurimask.errors import InputError
from plurimask.flips import Flip, apply_flips, draw_flips, mode_table, switchable_classes
from plurimask.metrics import (
    PixelUncertainty,
    SegmentationMetrics,
    calibration_bins,
    hungarian_iou_balanced,
    joint_distances,
    overlap,
)
from plurimask.metrics.error_detection import bin_errors, error_histogram
from plurimask.metrics.image_with_modes import image_with_modes
from plurimask.metrics.modes import (
    ModeDistances,
    flip_counts,
    mode_distances,
    mode_spread,
    sample_modes,
    weighted_energy_distance,
    weighted_hungarian_iou,
)
from plurimask.metrics.scores import evaluated
from plurimask.metrics.uncertainty import expected_dice, mean_entropy

FLIPS = (Flip(3, 6, 8 / 17), Flip(0, 7, 4 / 17), Flip(4, 9, 0.35), Flip(1, 8, 0.6))
NUM_CLASSES = 10  # of which 2 and 5 do not flip
COUNTED = switchable_classes(FLIPS)


def evaluate_flipped_image(*arguments, **given):
    return evaluated(image_with_modes(*arguments, **given))


def image(seed=0, spatial=(7, 9), present=(0, 1, 2, 3, 4, 5), num_samples=5):
    """An annotator's map with unjudged pixels, and samples that are partly modes and partly noise."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(present, dtype=torch.uint8)
    label = values[torch.randint(len(values), spatial, generator=generator)]
    label.view(-1)[:4] = IGNORE
    samples = draw_flips(label, FLIPS, num_samples, generator)
    noise = torch.randint(NUM_CLASSES, samples.shape, generator=generator, dtype=torch.uint8)
    noisy = (torch.rand(samples.shape, generator=generator) < 0.4) | (samples == IGNORE)
    return torch.where(noisy, noise, samples), label, generator


def every_mode(label):
    happens, weights = mode_table(FLIPS)
    return apply_flips(label, FLIPS, happens), weights


@pytest.mark.parametrize("spatial", [(29,), (7, 9), (2, 3, 5)])
@pytest.mark.parametrize("present", [(0, 1, 2, 3, 4, 5), (1, 2, 3), (2, 4), (2, 5)])
def test_distances_equal_those_of_enumerated_maps(spatial, present):
    samples, label, _ = image(spatial=spatial, present=present)
    modes, weights = every_mode(label)
    found = mode_distances(samples, label, FLIPS)
    num = len(samples)
    expected = joint_distances([samples, modes], COUNTED, label != IGNORE)
    torch.testing.assert_close(found.samples, expected[:num, :num], rtol=0, atol=0)
    torch.testing.assert_close(found.crossed, expected[:num, num:], rtol=0, atol=1e-14)
    torch.testing.assert_close(found.modes, expected[num:, num:], rtol=0, atol=1e-14)
    torch.testing.assert_close(found.weights, weights, rtol=0, atol=0)


def test_distances_equal_the_definition_by_sets_of_pixels():
    samples, label, _ = image(num_samples=2, spatial=(4, 5))
    modes, _ = every_mode(label)
    found = mode_distances(samples, label, FLIPS)
    expected = naive.distances(samples.numpy(), modes.numpy(), COUNTED, (label != IGNORE).numpy())
    np.testing.assert_allclose(found.crossed.numpy(), expected, atol=1e-14)


def test_energy_distance_is_the_weighted_double_sum():
    samples, label, _ = image(seed=3)
    found = mode_distances(samples, label, FLIPS)
    modes, w = every_mode(label)
    num = len(samples)
    d = joint_distances([samples, modes], COUNTED, label != IGNORE)
    cross = sum(w[m] * d[n, num + m] for n in range(num) for m in range(len(w))) / num
    spread = sum(w[a] * w[b] * d[num + a, num + b] for a in range(len(w)) for b in range(len(w)))
    pairs = [float(d[a, b]) for a, b in itertools.permutations(range(num), 2)]
    expected = (
        2 * cross - sum(pairs) / num**2 - spread,
        2 * cross - sum(pairs) / len(pairs) - spread,
        spread / num,
        sum(pairs) / len(pairs),
        spread,
    )
    assert weighted_energy_distance(found) == pytest.approx([float(value) for value in expected], abs=1e-13)
    assert mode_spread(label, FLIPS) == pytest.approx(float(spread), abs=1e-13)


def test_independent_draws_from_the_modes_score_the_oracle():
    _, label, generator = image(seed=5)
    num, repeats = 6, 400
    scores = []
    for _ in range(repeats):
        samples = draw_flips(label, FLIPS, num, generator).masked_fill(label == IGNORE, 0)
        scores.append(weighted_energy_distance(mode_distances(samples, label, FLIPS))[:3])
    ged, unbiased, oracle = torch.tensor(scores, dtype=torch.float64).unbind(1)
    assert abs(float((ged - oracle).mean())) < 4 * float(ged.std()) / math.sqrt(repeats)
    assert abs(float(unbiased.mean())) < 4 * float(unbiased.std()) / math.sqrt(repeats)


def test_two_modes_differ_by_what_disagrees():
    label = torch.tensor([[3, 3, 0, 2], [1, 2, 2, 2]], dtype=torch.uint8)  # 3, 0 and 1 are present, 4 is not
    modes = mode_distances(label[None], label, FLIPS).modes
    assert modes[0b0000, 0b0001] == pytest.approx(1 - 2 / (2 + 2))  # two agree, one does not
    assert modes[0b0000, 0b0100] == 0  # class 4 cannot be seen to flip
    assert modes[0b0000, 0b1011] == 1


def test_transport_with_equal_weights_is_the_hungarian_matching():
    generator = torch.Generator().manual_seed(2)
    crossed = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    distances = ModeDistances(crossed, torch.zeros(4, 4), weights, torch.zeros(6, 6))
    assert weighted_hungarian_iou(distances) == pytest.approx(hungarian_iou_balanced(crossed), abs=1e-9)


def test_transport_with_weights_in_twelfths():
    """Weights that are multiples of 1/12 are modes repeated so many times, which can be matched one to one."""
    generator = torch.Generator().manual_seed(4)
    crossed = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    repeats = torch.tensor([5, 1, 4, 2])
    distances = ModeDistances(crossed, torch.zeros(4, 4), repeats / 12.0, torch.zeros(3, 3))
    assert weighted_hungarian_iou(distances) == pytest.approx(
        hungarian_iou_balanced(crossed.repeat_interleave(repeats, dim=1)), abs=1e-7
    )


def assert_counts_of_classes(found, single, modes, weights):
    """Every mode is a rater who counts by its probability."""
    expected = naive.pooled_classes([(single.numpy(), modes.numpy())], NUM_CLASSES, weights.tolist())
    for index, (dice, iou) in enumerate(expected):
        if dice is None:
            assert math.isnan(found.dice()[index]) and math.isnan(found.iou()[index])
        else:
            assert float(found.dice()[index]) == pytest.approx(dice, abs=1e-9)
            assert float(found.iou()[index]) == pytest.approx(iou, abs=1e-9)


@pytest.mark.parametrize("present", [(0, 1, 2, 3, 4, 5), (2, 3, 5)])
def test_a_row_equals_the_enumeration(present):
    samples, label, generator = image(seed=7, present=present)
    mean = torch.randn(NUM_CLASSES, *label.shape, generator=generator).mul(2).softmax(0)
    made = samples[1]
    evaluation = evaluate_flipped_image(samples, mean, label, FLIPS, made)
    modes, weights = every_mode(label)
    scores = evaluation.scores
    own = naive.iou(made.numpy(), label.numpy(), COUNTED, (label != IGNORE).numpy())
    assert scores["reconstruction_iou"] == pytest.approx(own)
    assert scores["reconstruction_iou_marked"] == pytest.approx(own)
    without = evaluate_flipped_image(samples, mean, label, FLIPS).scores
    assert math.isnan(without["reconstruction_iou"])
    assert math.isnan(without["reconstruction_iou_marked"])
    single = mean.argmax(0).to(torch.uint8)
    each = [overlap(single, mode[None], COUNTED) for mode in modes]
    assert scores["dice"] == pytest.approx(sum(float(w) * one.dice for w, one in zip(weights, each, strict=True)))
    assert scores["iou"] == pytest.approx(sum(float(w) * one.iou for w, one in zip(weights, each, strict=True)))
    # The share of the modes, by weight, that call a pixel a class: what raters' votes are elsewhere.
    votes = torch.stack([((modes == c) * weights.view(-1, 1, 1)).sum(0) for c in range(NUM_CLASSES)])
    bins = calibration_bins(mean, votes, COUNTED)
    for found, expected in zip(evaluation.sums.calibration, bins, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert scores["ece"] == pytest.approx(bins.error(), abs=1e-8)
    log_p = [[-math.log(float(mean[value][p])) for value in range(NUM_CLASSES)] for p in np.ndindex(label.shape)]
    total = sum(
        float(w) * log_p[number][int(mode[p])]
        for mode, w in zip(modes, weights, strict=True)
        for number, p in enumerate(np.ndindex(label.shape))
        if int(mode[p]) != IGNORE
    )
    assert evaluation.sums.likelihood.total == pytest.approx(total, rel=1e-6)
    assert evaluation.sums.likelihood.num_labels == label.numel() - 4
    assert scores["nll"] == pytest.approx(total / (label.numel() - 4), rel=1e-6)
    histogram = error_histogram(mean, votes)
    torch.testing.assert_close(evaluation.sums.errors.entropy.right, histogram.right, rtol=0, atol=1e-5)
    torch.testing.assert_close(evaluation.sums.errors.entropy.wrong, histogram.wrong, rtol=0, atol=1e-5)
    assert_counts_of_classes(evaluation.sums.classes, single, modes, weights)
    assert scores["expected_dice"] == expected_dice(samples, COUNTED, label != IGNORE)
    assert scores["mean_entropy"] == mean_entropy(entropy(mean, dim=0), label != IGNORE)
    assert scores["num_raters"] == 1
    assert scores["all_marked"] is False
    found = weighted_energy_distance(mode_distances(samples, label, FLIPS))
    keys = ("ged", "ged_unbiased", "ged_oracle", "diversity", "rater_diversity")
    assert [scores[key] for key in keys] == pytest.approx(found)


def test_errors_are_counted_by_each_uncertainty():
    samples, label, generator = image(seed=7)
    mean = torch.randn(NUM_CLASSES, *label.shape, generator=generator).mul(2).softmax(0)
    uncertainty = PixelUncertainty(*torch.rand(2, *label.shape, generator=generator))
    found = evaluate_flipped_image(samples, mean, label, FLIPS, uncertainty=uncertainty).sums.errors
    modes, weights = every_mode(label)
    votes = torch.stack([((modes == c) * weights.view(-1, 1, 1)).sum(0) for c in range(NUM_CLASSES)])
    right = votes.gather(0, mean.argmax(0)[None])[0]
    for histogram, maps in zip(found[1:], uncertainty, strict=True):
        expected = bin_errors(maps, right, votes.sum(0) - right)
        torch.testing.assert_close(histogram.right, expected.right, rtol=0, atol=1e-5)
        torch.testing.assert_close(histogram.wrong, expected.wrong, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="mutual information and spread"):
        evaluate_flipped_image(samples, mean, label, FLIPS, uncertainty=PixelUncertainty(mean[0], mean[0, 1:]))


def test_images_without_such_a_class_are_left_out():
    samples, label, generator = image(present=(2, 5))
    mean = torch.randn(NUM_CLASSES, *label.shape, generator=generator).softmax(0)
    assert mode_spread(label, FLIPS) is None
    evaluation = evaluate_flipped_image(samples, mean, label, FLIPS, label)
    figures = [value for key, value in evaluation.scores.items() if key not in ("all_marked", "num_raters")]
    assert all(math.isnan(value) for value in figures)
    other, other_label, _ = image(seed=1)
    counted = evaluate_flipped_image(other, mean, other_label, FLIPS)
    metrics = SegmentationMetrics(COUNTED)
    metrics.update([evaluation, counted])
    totals = metrics.compute()
    assert totals["num_images"] == 2
    assert totals["num_undefined"] == 1
    assert totals["nll"] == pytest.approx(counted.scores["nll"])
    assert totals["ece"] == pytest.approx(counted.scores["ece"])
    assert totals["ged"] == pytest.approx(counted.scores["ged"])
    expected = [None if math.isnan(value) else value for value in counted.sums.classes.iou().tolist()]
    assert totals["class_iou"] == expected
    unjudged = torch.full_like(label, IGNORE)
    assert math.isnan(evaluate_flipped_image(samples, mean, unjudged, FLIPS).scores["ged"])
    nothing = mode_distances(samples, unjudged, FLIPS)
    assert all(bool(each.isnan().all()) for each in (nothing.crossed, nothing.modes, nothing.samples))


def test_one_sample():
    samples, label, _ = image(num_samples=1)
    ged, unbiased, oracle, diversity, mu = weighted_energy_distance(mode_distances(samples, label, FLIPS))
    assert math.isnan(unbiased)
    assert math.isnan(diversity)
    assert oracle == mu
    assert ged > 0


def test_counts_and_modes_of_samples():
    _, label, generator = image(present=(0, 2, 3), spatial=(8, 11))
    happens, weights = mode_table(FLIPS)
    chosen = torch.tensor([0, 1, 2, 3, 3])
    samples = apply_flips(label, FLIPS, happens[chosen]).masked_fill(label == IGNORE, 6)
    modes, present = sample_modes(samples, label, FLIPS)
    assert modes.tolist() == chosen.tolist()
    assert present.tolist() == [True, True, False, False]
    counts = flip_counts(samples, label, FLIPS)
    area = [int((label == flip.source).sum()) for flip in FLIPS]
    assert counts.tolist() == [[2 * area[0], 3 * area[0]], [2 * area[1], 3 * area[1]], [0, 0], [0, 0]]
    # A minority of other pixels changes nothing.
    noisy = torch.where(torch.rand(samples.shape, generator=generator) < 0.2, 5, samples).to(torch.uint8)
    assert sample_modes(noisy, label, FLIPS)[0].tolist() == chosen.tolist()
    # Drawn samples show the modes at their frequencies.
    num = 3000
    drawn, everything = draw_flips(torch.arange(5, dtype=torch.uint8), FLIPS, num, generator), torch.arange(5).byte()
    frequency = torch.bincount(sample_modes(drawn, everything, FLIPS)[0], minlength=16) / num
    assert bool(((frequency - weights).abs() < 4.5 * (weights * (1 - weights) / num).sqrt()).all())


def test_errors_say_what_is_wrong():
    samples, label, generator = image()
    mean = torch.randn(NUM_CLASSES, *label.shape, generator=generator).softmax(0)
    with pytest.raises(InputError, match="differ in their spatial shape"):
        mode_distances(samples[:, 1:], label, FLIPS)
    with pytest.raises(InputError, match="probabilities"):
        evaluate_flipped_image(samples, mean[:, 1:], label, FLIPS)
    with pytest.raises(InputError, match="one map of the same size for each rater"):
        evaluate_flipped_image(samples, mean, label, FLIPS, label[1:])
    with pytest.raises(InputError, match="samples must be bool or class indices"):
        sample_modes(samples.float(), label, FLIPS)
    with pytest.raises(InputError, match="class 9, the twin of class 4"):
        mode_distances(samples, torch.full_like(label, 9), FLIPS)
    with pytest.raises(InputError, match="no class flips"):
        flip_counts(samples, label, ())
    with pytest.raises(InputError, match="hold class 9, but there are probabilities of 9"):
        evaluate_flipped_image(samples, mean[:9], label, FLIPS)
