import itertools
import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics import evaluate_image, evaluate_images, reconstruction_iou


def random_batch(num_samples=6, batch_size=3, num_raters=4, num_classes=5, spatial=(7, 8)):
    generator = torch.Generator().manual_seed(0)
    samples = torch.randint(num_classes, (num_samples, batch_size, *spatial), generator=generator, dtype=torch.uint8)
    probabilities = torch.randn(batch_size, num_classes, *spatial, generator=generator).softmax(1)
    labels = torch.randint(num_classes, (batch_size, num_raters, *spatial), generator=generator, dtype=torch.uint8)
    labels[0, 1] = IGNORE
    labels[-1, 0].view(-1)[:9] = IGNORE
    return samples, probabilities, labels


def assert_agreement(row, maps, present, classes, valid):
    """By definition; class 0 or 3 everywhere marks nothing."""

    def dice(first, second):
        return np.mean([naive.dice(a, b, classes, valid) for a in first for b in second])

    pairs = list(itertools.permutations(present, 2))
    nothing = np.zeros((2, *valid.shape))
    assert row["sample_dice"] == pytest.approx(dice(maps, present))
    assert row["empty_dice"] == pytest.approx(dice(nothing, present))
    among = np.mean([naive.dice(a, b, classes, valid) for a, b in pairs]) if pairs else math.nan
    assert row["rater_dice"] == pytest.approx(among, nan_ok=True)
    assert row["empty_ged"] == pytest.approx(naive.energy(nothing, np.stack(present), classes)[0])
    for key, some in (("empty_samples", maps), ("empty_raters", present)):
        assert row[key] == np.mean([not (np.isin(one, classes) & valid).any() for one in some])


@pytest.mark.parametrize("spatial", [(23,), (7, 8), (2, 3, 4)])
def test_a_row_equals_the_definitions(spatial):
    samples, probabilities, labels = random_batch(num_samples=3, num_raters=3, spatial=spatial)
    classes = [1, 2, 4]
    for index, evaluation in enumerate(evaluate_images(samples, probabilities, labels, classes)):
        maps, mean, raters = samples[:, index].numpy(), probabilities[index].numpy(), labels[index].numpy()
        row = dict(evaluation.scores)
        keys = ("ged", "ged_unbiased", "ged_oracle", "diversity", "rater_diversity")
        np.testing.assert_allclose([row[key] for key in keys], naive.energy(maps, raters, classes), atol=1e-14)
        present, valid = naive.present_and_valid(raters)
        cost = naive.distances(maps, present, classes, valid)
        assert row["hungarian_iou_balanced"] == pytest.approx(naive.hungarian(cost), abs=1e-12)
        best = naive.best_draws(cost) if len(cost) >= len(cost[0]) else math.nan
        assert row["hungarian_iou_best_draws"] == pytest.approx(best, abs=1e-12, nan_ok=True)
        single = mean.argmax(0)
        assert row["dice"] == pytest.approx(np.mean([naive.dice(single, r, classes, valid) for r in present]))
        assert row["iou"] == pytest.approx(np.mean([naive.iou(single, r, classes, valid) for r in present]))
        assert_agreement(row, maps, present, classes, valid)
        assert row["ece"] == pytest.approx(naive.calibration_error([(mean, raters)], classes, 15), abs=1e-12)
        total, count = naive.likelihood(mean, raters)
        assert row["nll"] == pytest.approx(total / count, rel=1e-6)
        assert math.isnan(row["reconstruction_iou"]) and math.isnan(row["reconstruction_iou_marked"])
        assert row["num_raters"] == len(present)
        assert row["all_marked"] == all(set(rater.flatten()) & set(classes) for rater in present)


def test_all_marked():
    samples, probabilities, labels = random_batch(batch_size=1, num_classes=3)
    labels.fill_(0)
    labels[0, :, 2, 3] = 2

    def marked(classes):
        return evaluate_images(samples, probabilities, labels, classes)[0].scores["all_marked"]

    assert marked([2]) and not marked([1])
    labels[0, 3] = IGNORE
    assert marked([1, 2])
    labels[0, 1] = 0
    assert not marked([2])
    labels.fill_(IGNORE)
    assert not marked([2])


def test_reconstructions_add_their_figures_and_change_no_other():
    samples, probabilities, labels = random_batch()
    made = torch.randint(5, labels.shape, generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    without = evaluate_images(samples, probabilities, labels, [1, 2])
    for index, evaluation in enumerate(evaluate_images(samples, probabilities, labels, [1, 2], made)):
        assert evaluation.scores == {
            **without[index].scores,
            "reconstruction_iou": reconstruction_iou(made[index], labels[index], [1, 2]).iou,
            "reconstruction_iou_marked": reconstruction_iou(made[index], labels[index], [1, 2]).marked,
        }
        assert 0 < evaluation.scores["reconstruction_iou"] < 1


def test_nobody_present_gives_nan():
    samples, probabilities, labels = random_batch(batch_size=1)
    nobody = torch.full_like(labels[0], IGNORE)
    scores = evaluate_image(samples[:, 0], probabilities[0], nobody, [1], nobody).scores
    assert scores["num_raters"] == 0
    assert all(math.isnan(value) for key, value in scores.items() if key not in ("all_marked", "num_raters"))


def test_autocast_changes_nothing():
    samples, probabilities, labels = random_batch(spatial=(31, 37))
    expected = evaluate_images(samples, probabilities, labels, [1, 2])
    with torch.autocast("cpu", torch.bfloat16):
        found = evaluate_images(samples, probabilities, labels, [1, 2])
    assert [e.scores for e in found] == [e.scores for e in expected]


def test_errors_say_what_is_wrong():
    samples, probabilities, labels = random_batch()
    with pytest.raises(InputError, match="images"):
        evaluate_images(samples[:, :2], probabilities, labels, [1])
    with pytest.raises(InputError, match="one map for each rater of each image"):
        evaluate_images(samples, probabilities, labels, [1], labels[:2])
    with pytest.raises(InputError, match="spatial shapes"):
        evaluate_images(samples, probabilities[..., :5], labels, [1])
    with pytest.raises(InputError, match="labels must be bool or class indices"):
        evaluate_images(samples, probabilities, labels.float(), [1])
    with pytest.raises(InputError, match="labels hold class 4, but there are probabilities of 4"):
        evaluate_images(samples.clamp(max=3), probabilities[:, :4], labels, [1])
    with pytest.raises(InputError, match="counted_classes"):
        evaluate_images(samples, probabilities, labels, [5])
