import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics import reconstruction_iou


def maps(spatial, num_raters=5, seed=0):
    """Raters of whom one is absent, one skipped pixels and one marked nothing; and reconstructions that often fit."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (num_raters, *spatial), generator=generator, dtype=torch.uint8)
    noise = torch.randint(4, labels.shape, generator=generator, dtype=torch.uint8)
    made = torch.where(torch.rand(labels.shape, generator=generator) < 0.4, noise, labels)
    labels[1], made[1] = IGNORE, IGNORE
    labels[2].view(-1)[4:7] = IGNORE
    labels[3] = 0
    return made, labels


@pytest.mark.parametrize("spatial", [(17,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("classes", [[1], [1, 2, 3], [3, 1]])
@pytest.mark.parametrize("empty_is_kept", [True, False])
def test_equals_the_definition(spatial, classes, empty_is_kept):
    made, labels = maps(spatial)
    if empty_is_kept:
        made[3] = 0
    present, valid = naive.present_and_valid(labels.numpy())
    theirs = [one.numpy() for number, one in enumerate(made) if number != 1]
    each = [naive.iou(one, rater, classes, valid) for one, rater in zip(theirs, present, strict=True)]
    assert len(each) == 4 and each[2] == (1 if empty_is_kept else 0)
    found = reconstruction_iou(made, labels, classes)
    assert found.iou == pytest.approx(np.mean(each), abs=1e-12)
    assert found.marked == pytest.approx(np.mean([each[0], each[1], each[3]]), abs=1e-12)


def test_a_perfect_reconstruction_and_absent_raters():
    _, labels = maps((5, 7))
    assert reconstruction_iou(labels, labels, [1, 2]) == (1, 1)
    other = labels.clone()
    other[1] = 2  # of an absent rater nothing counts
    assert reconstruction_iou(other, labels, [1, 2]) == (1, 1)


def test_empty_maps():
    empty, marked = torch.zeros(2, 3, 4, dtype=torch.uint8), torch.ones(2, 3, 4, dtype=torch.uint8)
    assert reconstruction_iou(empty, empty, [1]).iou == 1
    assert math.isnan(reconstruction_iou(empty, empty, [1]).marked)
    assert reconstruction_iou(marked, empty, [1]).iou == 0
    half = torch.stack([empty[0], marked[0]])
    assert reconstruction_iou(empty, half, [1]) == (0.5, 0)
    assert reconstruction_iou(half, half, [2]).iou == 1  # neither map has the class
    assert math.isnan(reconstruction_iou(half, half, [2]).marked)


def test_what_is_marked_where_others_did_not_judge_does_not_count():
    labels = torch.zeros(2, 3, 4, dtype=torch.uint8)
    labels[0, 0], labels[1, 0] = 1, IGNORE
    found = reconstruction_iou(torch.zeros_like(labels), labels, [1])
    assert found.iou == 1
    assert math.isnan(found.marked)


def test_nothing_to_compare_is_nan():
    made, labels = maps((4, 5))
    nobody = torch.full_like(labels, IGNORE)
    apart = nobody.clone()
    apart[0, :2], apart[4, 2:] = 1, 1  # no pixel that both judged
    for found in (
        reconstruction_iou(None, labels, [1]),
        reconstruction_iou(nobody, nobody, [1]),
        reconstruction_iou(made, apart, [1]),
        reconstruction_iou(made[:0], labels[:0], [1]),
    ):
        assert math.isnan(found.iou) and math.isnan(found.marked)


def test_errors_say_what_is_wrong():
    made, labels = maps((4, 5))
    for wrong in (made[1:], made[..., 1:]):
        with pytest.raises(InputError, match="one map of the same size for each rater"):
            reconstruction_iou(wrong, labels, [1])
