import itertools
import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE, entropy
from plurimask.errors import InputError
from plurimask.metrics import evaluate_image, expected_dice, image_uncertainty, mean_entropy, object_scores
from plurimask.metrics.uncertainty import count_specks


def random_maps(num, num_classes, spatial, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_classes, (num, *spatial), generator=generator, dtype=torch.uint8)


def random_mean(num_classes, spatial, sharpness=3.0):
    return (sharpness * torch.randn(num_classes, *spatial, generator=torch.Generator().manual_seed(1))).softmax(0)


# ---- expected Dice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial", [(23,), (7, 8), (2, 3, 4)])
@pytest.mark.parametrize("classes", [[1], [1, 3], [0, 1, 2, 3]])
def test_expected_dice_equals_the_mean_over_pairs(spatial, classes):
    samples = random_maps(5, 4, spatial)
    samples[3:] = 0  # two samples in which most classes are missing
    valid = torch.rand(spatial, generator=torch.Generator().manual_seed(2)) < 0.7
    for mask in (None, valid):
        where = np.ones(spatial, bool) if mask is None else mask.numpy()
        pairs = [naive.dice(a, b, classes, where) for a, b in itertools.permutations(samples.numpy(), 2)]
        assert expected_dice(samples, classes, mask) == pytest.approx(np.mean(pairs), abs=1e-14)


def test_expected_dice_of_one_of_equal_and_of_empty_samples():
    sample = random_maps(1, 3, (6, 7))
    assert math.isnan(expected_dice(sample, [1, 2]))
    assert math.isnan(expected_dice(sample[:0], [1, 2]))
    assert expected_dice(sample.expand(4, -1, -1), [1, 2]) == 1
    assert expected_dice(torch.zeros(3, 6, 7, dtype=torch.uint8), [1, 2]) == 1
    half = torch.zeros(2, 6, 7, dtype=torch.uint8)
    half[0, 2, 3] = 1
    assert expected_dice(half, [1]) == 0
    assert math.isnan(expected_dice(half, [1], torch.zeros(6, 7, dtype=torch.bool)))


def test_of_one_class_it_follows_from_the_distances():
    """Dice = 2 IoU / (1 + IoU) of a pair of maps; of two samples there is but one pair."""
    samples = torch.zeros(2, 4, 9, dtype=torch.uint8)
    samples[0, :, :6], samples[1, :, 3:] = 1, 1
    scores = evaluate_image(samples, random_mean(2, (4, 9)), samples[:1], [1]).scores
    iou = 1 - scores["diversity"]
    assert scores["expected_dice"] == pytest.approx(2 * iou / (1 + iou), abs=1e-15)


# ---- image scores -------------------------------------------------------------------------------------------------


def test_image_scores():
    samples, mean = random_maps(3, 3, (6, 7)), random_mean(3, (6, 7))
    scores = image_uncertainty(samples, mean, [1, 2])
    nats = -(mean * mean.log()).sum(0).double()
    foreground = mean.argmax(0) > 0
    assert scores.expected_dice == expected_dice(samples, [1, 2])
    assert scores.mean_entropy == pytest.approx(float(nats.mean()), rel=1e-6)
    assert scores.foreground_entropy == pytest.approx(float(nats[foreground].mean()), rel=1e-6)
    empty = torch.zeros(3, 6, 7)
    empty[0] = 1
    nothing = image_uncertainty(samples[:1], empty, [1, 2])
    assert math.isnan(nothing.expected_dice) and math.isnan(nothing.foreground_entropy) and nothing.mean_entropy == 0
    assert math.isnan(mean_entropy(nats, torch.zeros(6, 7, dtype=torch.bool)))


def test_a_row_counts_the_pixels_that_all_raters_judged():
    samples, mean, labels = random_maps(4, 3, (6, 7)), random_mean(3, (6, 7)), random_maps(2, 3, (6, 7), seed=3)
    labels[0, :2], labels[1, 5] = IGNORE, IGNORE
    scores = evaluate_image(samples, mean, labels, [1, 2]).scores
    cut = image_uncertainty(samples[:, 2:5], mean[:, 2:5], [1, 2])
    assert scores["expected_dice"] == pytest.approx(cut.expected_dice, abs=1e-15)
    assert scores["mean_entropy"] == pytest.approx(cut.mean_entropy, rel=1e-12)


# ---- objects ------------------------------------------------------------------------------------------------------


def objects_map():
    """Two objects of class 1, of which one is joined at a corner, and one of class 2; class 3 does not count."""
    labels = torch.zeros(20, 30, dtype=torch.uint8)
    labels[3:7, 4:9], labels[7, 9] = 1, 1
    labels[18:20, 0:2] = 1
    labels[8:16, 20:29] = 2
    labels[0, 0] = 3
    mean = torch.full((4, 20, 30), 0.05)
    return labels, mean.scatter(0, labels[None].long(), 0.85)


def test_objects_are_connected_parts_of_the_counted_classes():
    labels, mean = objects_map()
    nats = torch.rand(20, 30, generator=torch.Generator().manual_seed(0))
    samples = torch.stack([labels, labels.roll(1, 0), labels])
    found = object_scores(samples, mean, nats, [1, 2])
    assert [(one.class_index, one.bounding_box, one.num_pixels) for one in found] == [
        (1, ((3, 8), (4, 10)), 21),
        (1, ((18, 20), (0, 2)), 4),
        (2, ((8, 16), (20, 29)), 72),
    ]
    first = torch.zeros(20, 30, dtype=torch.bool)
    first[3:7, 4:9], first[7, 9] = True, True
    assert found[0].mean_entropy == pytest.approx(float(nats[first].mean()), rel=1e-6)
    assert all(one.mean_probability == pytest.approx(0.85, rel=1e-6) for one in found)
    # Sides of 5 and 6 grow by 2 at each end, a side of 8 by 2, one of 9 by 3, all within the image.
    for one, box in zip(found, ((1, 10, 2, 12), (16, 20, 0, 4), (6, 18, 17, 30)), strict=True):
        cut = samples[:, box[0] : box[1], box[2] : box[3]]
        assert one.expected_dice == pytest.approx(expected_dice(cut, [one.class_index]), abs=1e-15)
    assert object_scores(samples, mean, nats, [0])[0].num_pixels == 600 - 98


def test_specks_are_left_out_and_counted():
    labels, mean = objects_map()
    nats, samples = torch.rand(20, 30), torch.stack([labels, labels.roll(1, 0)])
    found = object_scores(samples, mean, nats, [1, 2])
    assert object_scores(samples, mean, nats, [1, 2], 5) == [one for one in found if one.num_pixels >= 5]
    assert object_scores(samples, mean, nats, [1, 2], 73) == []
    assert [count_specks(mean, [1, 2], least) for least in (1, 4, 5, 22, 73)] == [0, 0, 1, 2, 3]


def test_objects_of_a_volume_and_of_nothing():
    labels = torch.zeros(4, 5, 6, dtype=torch.uint8)
    labels[1, 2, 3], labels[2, 3, 4] = 1, 1  # they touch at a corner
    mean = torch.stack([1.0 - labels, labels.float()])
    (found,) = object_scores(labels[None], mean, entropy(mean, dim=0), [1])
    assert found.bounding_box == ((1, 3), (2, 4), (3, 5)) and math.isnan(found.expected_dice)
    assert object_scores(labels[None], mean.flip(0) * 0 + 0.5, mean[0], [1]) == []


def test_errors_say_what_is_wrong():
    mean = random_mean(3, (6, 7))
    with pytest.raises(InputError, match="samples must be bool or class indices"):
        expected_dice(torch.zeros(2, 6, 7), [1])
    with pytest.raises(InputError, match="spatial shapes"):
        image_uncertainty(random_maps(2, 3, (6, 8)), mean, [1])
    with pytest.raises(InputError, match="spatial shapes"):
        object_scores(random_maps(2, 3, (6, 7)), mean, mean[0, 1:], [1])
