"""What marks nothing, and what raters themselves score."""

from __future__ import annotations

import math

import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.flips import Flip, mode_table
from plurimask.metrics import evaluate_image
from plurimask.metrics.agreement import empty_map
from plurimask.metrics.image_with_modes import image_with_modes
from plurimask.metrics.modes import expected_overlap


def test_an_empty_map_is_of_a_class_that_does_not_count_if_there_is_one() -> None:
    votes = torch.zeros(4, 3, 5)
    votes[3], votes[2, 0], votes[0, 0, 0] = 7, 2, 1
    assert (empty_map(votes, [1, 3]) == 2).all() and empty_map(votes, [1, 3]).shape == (3, 5)
    assert (empty_map(votes, [0, 1, 2, 3]) == 3).all()


def test_empty_samples_score_what_empty_masks_score() -> None:
    labels = torch.zeros(3, 6, 7, dtype=torch.uint8)
    labels[0, 2:4, 1:5], labels[1, 3, 3], labels[2, 0] = 1, 1, IGNORE
    samples, mean = torch.zeros(4, 6, 7, dtype=torch.uint8), torch.tensor([0.9, 0.1])[:, None, None].expand(2, 6, 7)
    scores = evaluate_image(samples, mean, labels, [1]).scores
    assert scores["empty_samples"] == 1 and scores["empty_raters"] == pytest.approx(1 / 3)
    assert scores["ged"] == pytest.approx(scores["empty_ged"])
    assert scores["sample_dice"] == scores["dice"] == scores["empty_dice"] == pytest.approx(1 / 3)


def test_samples_that_are_the_raters_score_what_raters_score() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (2, 8, 9), generator=random, dtype=torch.uint8)
    mean = torch.tensor([0.4, 0.6])[:, None, None].expand(2, 8, 9)
    scores = evaluate_image(labels, mean, labels, [1]).scores
    assert scores["sample_dice"] == pytest.approx((1 + scores["rater_dice"]) / 2)  # half of the pairs are equal maps


def test_nobody_gives_no_figure() -> None:
    labels = torch.full((2, 5, 6), IGNORE, dtype=torch.uint8)
    mean = torch.full((3, 5, 6), 1 / 3)
    scores = evaluate_image(torch.ones(2, 5, 6, dtype=torch.uint8), mean, labels, [1, 2]).scores
    for key in ("sample_dice", "rater_dice", "empty_dice", "empty_ged", "empty_samples", "empty_raters"):
        assert math.isnan(scores[key]), key


def test_modes_are_raters_with_weights() -> None:
    flips = (Flip(1, 3, 0.25), Flip(2, 4, 0.5))
    label = torch.tensor([[0, 1, 1, 2], [0, 2, 2, 1], [IGNORE, 0, 0, 0]], dtype=torch.uint8)
    random = torch.Generator().manual_seed(0)
    samples = torch.randint(5, (3, *label.shape), generator=random, dtype=torch.uint8)
    mean = torch.randn(5, *label.shape, generator=random).softmax(0)
    found = image_with_modes(samples, mean, label, flips).agreement
    happens, weights = mode_table(flips)
    modes = label.repeat(len(happens), 1, 1)
    for mode, yes in zip(modes, happens, strict=True):
        for flip, flipped in zip(flips, yes, strict=True):
            mode[(label == flip.source) & flipped] = flip.target
    counted = [flip.source for flip in flips] + [flip.target for flip in flips]
    of_modes = torch.tensor(
        [[evaluate_image(b[None], mean, a[None], counted).scores["sample_dice"] for b in modes] for a in modes]
    )
    assert found.rater_dice == pytest.approx(float(weights.float() @ of_modes @ weights.float()), abs=1e-6)
    expected = [expected_overlap(sample, label, flips).dice for sample in samples]
    assert found.sample_dice == pytest.approx(sum(expected) / 3)
    assert found.empty_dice == 0 and found.empty_ged == pytest.approx(2 - (1 - found.rater_dice))
    assert (found.empty_samples, found.empty_raters) == (0, 0)
