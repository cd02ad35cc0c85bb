import math

import naive_metrics as naive
import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.metrics import overlap


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
