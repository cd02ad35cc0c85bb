import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics import ClassOverlap, class_overlap, overlap, rater_votes


@pytest.mark.parametrize("spatial", [(13,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("classes", [[1], [1, 2, 3], [2]])
def test_equals_the_definition(spatial, classes):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (4, *spatial), generator=generator, dtype=torch.uint8)
    label_map = torch.randint(3, spatial, generator=generator, dtype=torch.uint8)
    labels[1] = IGNORE
    labels[2].view(-1)[4:7] = IGNORE
    present, valid = naive.present_and_valid(labels.numpy())
    found = overlap(label_map, labels, classes)
    assert found.dice == pytest.approx(np.mean([naive.dice(label_map.numpy(), r, classes, valid) for r in present]))
    assert found.iou == pytest.approx(np.mean([naive.iou(label_map.numpy(), r, classes, valid) for r in present]))


def test_empty_maps_and_nobody():
    empty, marked = torch.zeros(3, 4, dtype=torch.uint8), torch.ones(3, 4, dtype=torch.uint8)
    assert overlap(empty, empty[None], [1]) == (1, 1)
    assert overlap(empty, marked[None], [1]) == (0, 0)
    assert overlap(empty, torch.stack([empty, marked]), [1]) == (0.5, 0.5)
    assert all(math.isnan(value) for value in overlap(empty, torch.full((2, 3, 4), IGNORE, dtype=torch.uint8), [1]))


def maps_and_labels(spatial, num_images=3):
    """Class 3 is only predicted, class 4 only labelled, class 5 nowhere; raters are absent and leave pixels out."""
    generator = torch.Generator().manual_seed(0)
    label_map = torch.randint(4, (num_images, *spatial), generator=generator, dtype=torch.uint8)
    labels = torch.randint(4, (num_images, 2, *spatial), generator=generator, dtype=torch.uint8)
    labels[labels == 3] = 4
    labels[0, 1] = IGNORE
    labels[-1, 0].view(-1)[:5] = IGNORE
    return label_map, labels


@pytest.mark.parametrize("spatial", [(13,), (4, 5), (2, 3, 4)])
def test_of_each_class_pixels_of_all_images_are_counted_together(spatial):
    label_map, labels = maps_and_labels(spatial)
    counts = [class_overlap(one, rater_votes(raters, 6)) for one, raters in zip(label_map, labels, strict=True)]
    found = ClassOverlap(*map(sum, zip(*counts, strict=True)))
    pairs = list(zip(label_map.numpy(), labels.numpy(), strict=True))
    for index, (dice, iou) in enumerate(naive.pooled_classes(pairs, 6)):
        if dice is None:
            assert index == 5
            assert math.isnan(found.dice()[index])
            assert math.isnan(found.iou()[index])
        else:
            assert float(found.dice()[index]) == pytest.approx(dice)
            assert float(found.iou()[index]) == pytest.approx(iou)
    assert found.iou()[3:5].tolist() == [0, 0]
    assert float(found.labelled.sum()) == float(found.predicted.sum()) == int((labels != IGNORE).sum())


def test_counts_of_a_class_from_probabilities():
    label_map, labels = maps_and_labels((4, 5), num_images=1)
    votes = rater_votes(labels[0], 6)
    whole, halves = class_overlap(label_map[0], votes), class_overlap(label_map[0], votes.double() / 2)
    for one, half in zip(whole, halves, strict=True):
        torch.testing.assert_close(one, 2 * half)
    with pytest.raises(InputError, match="differ in their shape"):
        class_overlap(label_map[0], votes[:, 1:])
