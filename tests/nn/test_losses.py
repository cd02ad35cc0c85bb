"""Likelihood terms against loops."""

from __future__ import annotations

import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.nn.losses import judgements, maps_of_raters, one_hot, summed_cross_entropy, with_labels

B, R, C, H, W = 3, 4, 5, 6, 7


def test_judgements_average_over_raters_then_images() -> None:
    labels = torch.randint(0, C, (B, R, H, W)).to(torch.uint8)
    labels[0, 1:3] = IGNORE
    labels[1] = IGNORE
    raters = judgements(labels)
    assert raters.image.tolist() == [0, 0, 2, 2, 2, 2]
    assert raters.rater.tolist() == [0, 3, 0, 1, 2, 3]
    assert torch.equal(raters.labels[1], labels[0, 3])
    assert raters.weight.tolist() == pytest.approx([1 / 4] * 2 + [1 / 8] * 4)


def test_maps_go_back_to_their_raters() -> None:
    labels = torch.randint(0, C, (B, R, H, W)).to(torch.uint8)
    labels[0, 1:3] = IGNORE
    labels[1] = IGNORE
    raters = judgements(labels)
    logits = torch.randn(len(raters.image), C, H, W, requires_grad=True)
    maps = maps_of_raters(logits, raters, labels)
    assert maps.shape == (B, R, H, W)
    assert maps.dtype == torch.uint8
    place = {(0, 0): 0, (0, 3): 1, (2, 0): 2, (2, 1): 3, (2, 2): 4, (2, 3): 5}
    for b in range(B):
        for r in range(R):
            if (b, r) in place:
                assert torch.equal(maps[b, r].long(), logits[place[b, r]].argmax(0))
            else:
                assert bool((maps[b, r] == IGNORE).all())
    nobody = torch.full_like(labels, IGNORE)
    assert torch.equal(maps_of_raters(logits[:0], judgements(nobody), nobody), nobody)


def test_summed_cross_entropy_counts_judged_pixels_once() -> None:
    logits = torch.randn(B, C, H, W)
    labels = torch.randint(0, C, (B, H, W)).to(torch.uint8)
    labels[1, 2:4] = IGNORE
    got = summed_cross_entropy(logits, labels)
    for b in range(B):
        total = 0.0
        for i in range(H):
            for j in range(W):
                if labels[b, i, j] != IGNORE:
                    total -= float(logits[b, :, i, j].log_softmax(0)[int(labels[b, i, j])])
        assert float(got[b]) == pytest.approx(total, rel=1e-4)


def test_one_hot_is_zero_where_ignored() -> None:
    labels = torch.tensor([[0, 2, IGNORE]], dtype=torch.uint8)
    assert one_hot(labels, 3)[0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_a_posterior_is_given_halves_of_both_signs_and_zeros_where_nobody_judged() -> None:
    images, labels = torch.randn(1, 2, 1, 3), torch.tensor([[[0, 2, IGNORE]]], dtype=torch.uint8)
    given = with_labels(images, labels, 3)
    assert torch.equal(given[:, :2], images)
    assert given[0, 2:, 0].T.tolist() == [[0.5, -0.5, -0.5], [-0.5, -0.5, 0.5], [0, 0, 0]]
