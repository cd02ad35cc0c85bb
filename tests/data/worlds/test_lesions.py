"""The built-in lesions: the readers follow the law that the world states, and the law can be seen in the image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.worlds.lesions import (
    CONTRAST_RANGE,
    EMPTY_RANGE,
    HALO_RANGE,
    LesionWorld,
    lesion_source,
    write_folder,
)
from plurimask.errors import InputError


def test_shapes_types_and_grey_levels() -> None:
    world = LesionWorld(num_images=5, seed=1, size=37, num_readers=3)
    assert len(world) == 5 and len(set(world.names)) == 5 and world.groups == world.names
    for index, example in enumerate(world):
        assert example.name == world.names[index]
        assert example.image.shape == (1, 37, 37) and example.image.dtype == torch.float32
        assert (
            torch.equal(example.image, example.image.round()) and 0 <= example.image.min() <= example.image.max() <= 255
        )
        assert example.labels.shape == (3, 37, 37) and example.labels.dtype == torch.uint8
        assert example.labels.max() <= 1
    assert world[-1].name == world.names[4]
    with pytest.raises(IndexError):
        world[5]


def test_an_example_depends_on_seed_and_index_alone() -> None:
    world, longer = LesionWorld(3, seed=4, size=40), LesionWorld(7, seed=4, size=40)
    first = world[2]
    longer[0], longer[5]
    again = longer[2]
    assert first.name == again.name
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    assert world.truth(2).contrast == longer.truth(2).contrast


def test_seeds_and_splits_share_no_image() -> None:
    images: set[bytes] = set()
    names: list[str] = []
    for seed in (0, 1, 2):
        for split in lesion_source(num_train=7, num_val=5, num_test=4, seed=seed, size=33).splits.values():
            names += split.names
            images |= {example.image.numpy().tobytes() for example in split}  # type: ignore[attr-defined]
    assert len(images) == len(set(names)) == 3 * (7 + 5 + 4)


def test_mean_is_that_of_the_samples() -> None:
    num_samples = 4000
    for index in range(3):
        truth = LesionWorld(3, seed=5, size=33).truth(index)
        mean = truth.mean()
        frequency = truth.sample(num_samples, np.random.default_rng(index)).mean(0)
        sure = (mean == 0) | (mean == 1)
        np.testing.assert_array_equal(frequency[sure], mean[sure])
        error = np.abs(frequency - mean)[~sure] / np.sqrt(mean * (1 - mean) / num_samples)[~sure]
        # The pixels of a level move together: a handful of independent comparisons, of which none beyond 4 errors.
        assert error.max() < 4


def test_empty_share_of_samples_and_of_readers() -> None:
    world = LesionWorld(400, seed=6, size=32, num_readers=4)
    truth, num_samples = world.truth(0), 4000
    empty = ~truth.sample(num_samples, np.random.default_rng(7)).any((1, 2))
    p = truth.empty_probability
    assert abs(empty.mean() - p) < 4 * np.sqrt(p * (1 - p) / num_samples)

    probabilities = np.array([world.truth(index).empty_probability for index in range(len(world))])
    readers = np.array([~example.labels.bool().flatten(1).any(1).numpy() for example in world])
    error = np.sqrt((probabilities * (1 - probabilities)).sum() / 4) / len(world)
    assert abs(readers.mean() - probabilities.mean()) < 4 * error


def test_readers_are_independent_draws() -> None:
    world = LesionWorld(600, seed=8, size=32, num_readers=3)
    truths = [world.truth(index) for index in range(len(world))]
    p = np.array([truth.empty_probability for truth in truths])
    empty = np.array([~example.labels.bool().flatten(1).any(1).numpy() for example in world])
    residual = (empty - p[:, None]) / np.sqrt(p * (1 - p))[:, None]
    for one, other in ((0, 1), (0, 2), (1, 2)):  # given the image, deviations are uncorrelated
        assert abs((residual[:, one] * residual[:, other]).mean()) < 4 / np.sqrt(len(world))

    # So are the extents: the level's place in the halo, read back from the mask's rim.
    places = np.full(empty.shape, np.nan)
    for index, (example, truth) in enumerate(zip(world, truths, strict=True)):
        for reader, mask in enumerate(example.labels.numpy()):
            if mask.any():
                places[index, reader] = (truth.coordinate[mask == 1].max() - 1) / truth.halo
    both = ~np.isnan(places[:, :2]).any(1)
    correlation = np.corrcoef(places[both, 0], places[both, 1])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(both.sum())
    assert np.nanstd(places) > 0.4  # a uniform place on (-1, 1) has 0.58


def test_masks_of_an_image_are_nested_between_core_and_rim() -> None:
    truth = LesionWorld(3, seed=9, size=45).truth(1)
    masks = truth.sample(50, np.random.default_rng(10))
    seen = sorted((mask for mask in masks if mask.any()), key=np.sum)
    assert len({int(mask.sum()) for mask in seen}) > 5
    assert all((small <= large).all() for small, large in itertools.pairwise(seen))
    core, rim = truth.coordinate < 1 - truth.halo, truth.coordinate <= 1 + truth.halo
    assert core.any() and (core <= seen[0]).all() and (seen[-1] <= rim).all()


@pytest.mark.parametrize("size", [32, 51])
def test_lesions_lie_within_the_image_and_have_a_core(size: int) -> None:
    world = LesionWorld(300, seed=11, size=size)
    for index in range(len(world)):
        profile = world.truth(index).profile
        rim = np.concatenate([profile[0], profile[-1], profile[:, 0], profile[:, -1]])
        assert rim.max() == 0 and profile.max() == 1


def test_empty_probability_falls_with_the_contrast() -> None:
    world = LesionWorld(200, seed=12, size=32)
    truths = sorted((world.truth(index) for index in range(len(world))), key=lambda truth: truth.contrast)
    probabilities = [truth.empty_probability for truth in truths]
    assert all(before > after for before, after in itertools.pairwise(probabilities))
    assert EMPTY_RANGE[0] - 0.05 < probabilities[0] < EMPTY_RANGE[0]
    assert EMPTY_RANGE[1] < probabilities[-1] < EMPTY_RANGE[1] + 0.05


def test_contrast_and_halo_are_visible() -> None:
    world = LesionWorld(200, seed=13, size=48)
    contrasts, seen_contrasts, halos, seen_halos = [], [], [], []
    for index in range(len(world)):
        truth, image = world.truth(index), world[index].image[0].numpy()
        core = image[truth.coordinate < 1 - truth.halo].mean()
        around = (truth.coordinate > 1 + truth.halo) & (truth.coordinate < 2.2)
        tissue = np.median(image[around])
        contrasts.append(truth.contrast)
        seen_contrasts.append(core - tissue)
        outer = (truth.coordinate > 1.08) & (truth.coordinate < 1.25)
        if truth.contrast > 30:
            halos.append(truth.halo)
            seen_halos.append((image[outer].mean() - tissue) / (core - tissue))
    # A naive measurement tells the contrast to within a tenth of its range: the empty share can be read off the image.
    assert np.abs(np.array(contrasts) - seen_contrasts).mean() < 0.1 * (CONTRAST_RANGE[1] - CONTRAST_RANGE[0])
    assert np.corrcoef(halos, seen_halos)[0, 1] > 0.8
    assert min(halos) < HALO_RANGE[0] + 0.05 and max(halos) > HALO_RANGE[1] - 0.05


def test_source_describes_itself() -> None:
    source = lesion_source(num_train=6, num_val=3, seed=2, size=34)
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 6, "val": 3}
    assert not source.drawn
    description = source.description
    assert description.layout == "built-in lesions" and description.counted_classes == (1,)
    assert description.class_names == ("background", "lesion") and description.class_values == (0, 255)
    assert description.rater_names == ("reader1", "reader2", "reader3", "reader4")
    assert source.splits["val"][0].labels.shape == (4, 34, 34)


def test_folder_holds_what_the_source_holds(tmp_path) -> None:  # type: ignore[no-untyped-def]
    source = lesion_source(num_train=3, num_val=2, seed=3, size=35)
    write_folder(source, tmp_path / "data")
    assert len(list((tmp_path / "data").rglob("*.png"))) == (3 + 2) * (1 + 4)
    for split, examples in source.splits.items():
        for index in range(len(examples)):
            example, folder = examples[index], tmp_path / "data" / split
            image = np.asarray(Image.open(folder / "images" / f"{example.name}.png"))
            np.testing.assert_array_equal(image, example.image[0].numpy())
            for number, labels in enumerate(example.labels.numpy(), start=1):
                mask = np.asarray(Image.open(folder / "masks" / f"reader{number}" / f"{example.name}.png"))
                np.testing.assert_array_equal(mask, labels * 255)
    with pytest.raises(InputError, match="not an empty folder"):
        write_folder(source, tmp_path / "data")


class OneImage(ExampleSet):
    names = groups = ("only",)

    def __init__(self, image: torch.Tensor) -> None:
        self.image = image

    def __getitem__(self, index: int) -> Example:
        return Example("only", self.image, torch.zeros(4, 5, 6, dtype=torch.uint8))


@pytest.mark.parametrize(
    "image",
    [torch.full((1, 5, 6), 0.5), torch.full((1, 5, 6), 256.0), torch.full((1, 5, 6), -1.0), torch.zeros(2, 5, 6)],
)
def test_images_that_would_not_survive_are_refused(image: torch.Tensor, tmp_path) -> None:  # type: ignore[no-untyped-def]
    description: DataDescription = lesion_source(1, 1).description
    with pytest.raises(InputError, match="whole grey levels"):
        write_folder(DataSource(description, {"train": OneImage(image)}, drawn=False), tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_images": 0, "seed": 0}, "num_images=0"),
        ({"num_images": 1, "seed": -1}, "seed=-1"),
        ({"num_images": 1, "seed": 0, "size": 31}, "size=31"),
        ({"num_images": 1, "seed": 0, "num_readers": 0}, "num_readers=0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LesionWorld(**settings)
