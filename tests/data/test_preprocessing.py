"""Cropping, resizing and scaling of images and labels alike."""

from __future__ import annotations

import torch

from plurimask.data.example import Example
from plurimask.data.preprocessing import Preprocessing, scaled
from plurimask.data.resampling import resized
from plurimask.distribution import IGNORE


def example() -> Example:
    image = torch.zeros(2, 40, 60)
    image[0, :20, :30], image[1] = 200.0, 7.0
    labels = torch.zeros(3, 40, 60, dtype=torch.uint8)
    labels[0, :20, :30], labels[1, :20, :30], labels[2] = 1, 254, IGNORE
    return Example("a", image, labels)


def test_images_and_labels_are_brought_to_one_size_together() -> None:
    seen = Preprocessing(mean=(0.0, 0.0), std=(1.0, 1.0), resize=(20, 15)).example(example())
    assert seen.image.shape == (2, 20, 15)
    assert seen.labels.shape == (3, 20, 15)
    assert seen.labels.unique().tolist() == [0, 1, 254, IGNORE]
    marked = seen.labels[0] == 1
    assert bool((seen.image[0][marked] > 90).all())
    assert bool((seen.image[0][~marked] < 110).all())


def test_a_centre_crop_comes_before_the_resizing() -> None:
    preprocessing = Preprocessing(mean=(0.0, 0.0), std=(1.0, 1.0), center_crop=20, resize=(10, 10))
    view = preprocessing.view(example())
    assert view.image.shape == (2, 10, 10)
    assert int((view.labels[0] == 1).sum()) == 25


def test_scaling_divides_each_channel_by_its_maximum() -> None:
    image = scaled(example().image, "maximum")
    assert image.amax((1, 2)).tolist() == [1.0, 1.0]
    assert torch.equal(scaled(torch.zeros(1, 3, 4), "maximum"), torch.zeros(1, 3, 4))
    assert torch.equal(scaled(example().image, "none"), example().image)


def test_a_map_of_the_right_size_is_left_alone() -> None:
    maps = torch.rand(3, 5, 7)
    assert resized(maps, (5, 7)) is maps
