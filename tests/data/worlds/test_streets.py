"""The built-in world of streets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plurimask.data.example import ExampleSet
from plurimask.data.worlds.streets import BORDER_SHARE, CLASSES, StreetWorld, street_source
from plurimask.distribution import IGNORE
from plurimask.errors import InputError


def test_an_example_depends_on_seed_and_index_alone() -> None:
    world, longer = StreetWorld(3, seed=4, size=(26, 50)), StreetWorld(7, seed=4, size=(26, 50))
    for index in (2, 0):
        one, other = world[index], longer[index]
        assert one.name == other.name == f"street-4-{index:05d}"
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.labels, other.labels)
    assert one.image.shape == (3, 26, 50)
    assert one.labels.shape == (1, 26, 50)
    assert one.image.dtype == torch.float32
    assert one.labels.dtype == torch.uint8
    assert not torch.equal(world[0].image, world[1].image)
    assert not torch.equal(world[0].image, StreetWorld(1, seed=5, size=(26, 50))[0].image)
    assert torch.equal(world[-1].image, world[2].image)
    with pytest.raises(IndexError):
        world[3]


def test_images_are_whole_grey_levels_and_labels_classes() -> None:
    for index in range(20):
        example = StreetWorld(20, 0)[index]
        assert torch.equal(example.image, example.image.round())
        assert 0 <= float(example.image.min()) < float(example.image.max()) <= 255
        assert set(example.labels.unique().tolist()) <= {*range(len(CLASSES)), IGNORE}


def test_every_class_is_common_and_some_are_absent_at_times() -> None:
    world, num = StreetWorld(150, 1), 150
    present = torch.tensor([[bool((world[i].labels == c).any()) for c in range(len(CLASSES))] for i in range(num)])
    shares = present.double().mean(0)
    assert bool((shares[:4] == 1).all())
    assert bool(((shares[4:] > 0.5) & (shares[4:] < 0.97)).all())
    borders = sum(bool((world[i].labels == IGNORE).any()) for i in range(num)) / num
    assert abs(borders - BORDER_SHARE) < 4 * (BORDER_SHARE * (1 - BORDER_SHARE) / num) ** 0.5


def test_borders_are_frames() -> None:
    for index in range(20):
        ignored = (StreetWorld(20, 0)[index].labels[0] == IGNORE).numpy()
        if ignored.any():
            depth = int(np.argmin(ignored[:, 20]))
            assert 1 <= depth <= 3
            expected = np.ones_like(ignored)
            expected[depth:-depth, depth:-depth] = False
            assert (ignored == expected).all()


def pixels(world: ExampleSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours `(P, 3)`, smoothed over 3 x 3 pixels, and labels `(P,)` of all pixels of all examples."""
    examples = [world[index] for index in range(len(world))]
    images = torch.stack([example.image for example in examples])
    images = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    return images.movedim(1, -1).reshape(-1, 3), torch.cat([example.labels[0].flatten() for example in examples])


def test_classes_are_visible() -> None:
    """Nearest mean colours, learnt on one world, name most pixels of another: far above chance for every class."""
    colours, labels = pixels(StreetWorld(60, 2))
    means = torch.stack([colours[labels == index].mean(0) for index in range(len(CLASSES))])
    colours, labels = pixels(StreetWorld(40, 3))
    guess = torch.cdist(colours, means).argmin(1)
    recalls = [float((guess[labels == index] == index).double().mean()) for index in range(len(CLASSES))]
    assert min(recalls) > 0.45, recalls


def test_the_source_has_disjoint_splits() -> None:
    source = street_source(num_train=4, num_val=3, num_test=2, seed=1, size=(24, 48))
    assert [len(part) for part in source.splits.values()] == [4, 3, 2]
    names = [name for part in source.splits.values() for name in part.names]
    assert len(set(names)) == 9
    assert source.description.class_names == CLASSES
    assert source.description.counted_classes == tuple(range(7))
    assert list(street_source(seed=1).splits) == ["train", "val"]


@pytest.mark.parametrize(
    ("arguments", "words"), [((0, 0), "num_images"), ((1, -1), "seed"), ((1, 0, (20, 96)), "height=20")]
)
def test_impossible_worlds(arguments: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        StreetWorld(*arguments)
    with pytest.raises(InputError, match="seed"):
        street_source(seed=-1)
