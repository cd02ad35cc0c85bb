"""The GED of weighted maps, against that of as many copies of each as its weight says."""

from __future__ import annotations

import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.flips import Flip
from plurimask.metrics import energy_distance, image_distances
from plurimask.metrics.energy_distance import ged_of_weighted
from plurimask.metrics.modes import ged_of_weighted_with_modes, mode_distances, weighted_energy_distance
from plurimask.metrics.representatives import NUMBERS, REPRESENTATIVES

COPIES = torch.tensor([5, 2, 1])


def random_maps(num: int, classes: int, seed: int) -> torch.Tensor:
    return torch.randint(0, classes, (num, 7, 9), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_a_weight_is_a_number_of_copies() -> None:
    maps, labels = random_maps(3, 2, 1), random_maps(4, 2, 2)
    labels[1], labels[2, :2] = IGNORE, IGNORE
    copied = energy_distance(image_distances(maps.repeat_interleave(COPIES, 0), labels, [1])).ged
    assert ged_of_weighted(image_distances(maps, labels, [1]), COPIES.double() / 8) == pytest.approx(copied, abs=1e-12)


def test_where_classes_flip_too() -> None:
    flips = (Flip(source=1, target=3, probability=0.3), Flip(source=2, target=4, probability=0.6))
    maps, label = random_maps(3, 5, 3), random_maps(1, 3, 4)[0]
    copied = weighted_energy_distance(mode_distances(maps.repeat_interleave(COPIES, 0), label, flips)).ged
    found = ged_of_weighted_with_modes(mode_distances(maps, label, flips), COPIES.double() / 8)
    assert found == pytest.approx(copied, abs=1e-12)


def test_there_is_a_figure_for_each_number() -> None:
    assert [row.key for row in REPRESENTATIVES] == ["ged_representatives", "ged_representatives_4"]
    assert NUMBERS == (16, 4)
