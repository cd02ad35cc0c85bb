"""The slices of volumes as examples: each once, under its volume's name, in its group, in its plane."""

from __future__ import annotations

import pytest
import torch
from volume_world import Balls, ball_source

from plurimask.data.preprocessing import Preprocessing
from plurimask.data.slices import Slices, in_slices
from plurimask.data.split import draw_split
from plurimask.data.worlds.lesions import LesionWorld
from plurimask.errors import InputError


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_all_slices_put_together_are_the_volumes(axis: int) -> None:
    volumes = Balls(3, seed=0)
    slices = Slices(volumes, axis)
    start = 0
    for number in range(len(volumes)):
        volume, count = volumes[number], volumes.shape(number)[axis]
        own = [slices[index] for index in range(start, start + count)]
        assert torch.equal(torch.stack([one.image for one in own], axis + 1), volume.image)
        assert torch.equal(torch.stack([one.labels for one in own], axis + 1), volume.labels)
        assert [one.name for one in own] == [f"{volume.name}/slice-{place:03d}" for place in range(count)]
        assert {slices.groups[index] for index in range(start, start + count)} == {volume.name}
        assert slices.shape(start) == own[0].image.shape[1:] == own[0].labels.shape[1:]
        start += count
    assert len(slices) == start and slices[-1].name == slices.names[-1]


def test_a_pixel_has_the_sides_of_its_plane() -> None:
    volumes = Balls(1, seed=0)  # 2.5 x 0.7 x 0.6 mm
    sides = [(0.7, 0.6), (2.5, 0.6), (2.5, 0.7)]
    for axis, expected in enumerate(sides):
        size = Slices(volumes, axis).pixel_size(3)
        assert size is not None and (size.height, size.width, size.depth) == (*expected, None)


def test_no_split_tears_a_volume_apart() -> None:
    slices = Slices(Balls(5, seed=0), 0)
    parts = draw_split(slices.groups, seed=3)
    train, val = ({slices.names[index].partition("/")[0] for index in parts[name]} for name in ("train", "val"))
    assert train and val and not train & val


def test_a_source_in_slices_is_one_of_images_and_one_of_images_has_none() -> None:
    source = in_slices(ball_source(2, 1), 1)
    assert source.description.spatial_dims == 2
    assert {name: len(examples) for name, examples in source.splits.items()} == {"train": 44, "val": 22}
    volumes = ball_source(2, 1)
    assert in_slices(volumes, None) is volumes
    with pytest.raises(InputError, match=r"lesion-0-00000: an image of 36 x 36 pixels.*--slices"):
        Slices(LesionWorld(1, 0, 36), 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("how", [{"center_crop": 5}, {"resize": (9, 13)}, {"image_scaling": "maximum"}])
def test_a_volume_is_prepared_slice_by_slice(axis: int, how: dict[str, object]) -> None:
    volumes = Balls(1, seed=0)
    seen = Preprocessing(mean=(60.0,), std=(20.0,), slices=axis, **how)
    whole = seen.example(volumes[0])
    slices = Slices(volumes, axis)
    of_each = [seen.example(slices[index]) for index in range(len(slices))]
    assert torch.equal(whole.image, torch.stack([one.image for one in of_each], axis + 1))
    assert torch.equal(whole.labels, torch.stack([one.labels for one in of_each], axis + 1))


def test_the_size_of_a_voxel_follows_what_is_made_of_its_slice() -> None:
    size, shape = Balls(1, seed=0).pixel_size(0), (6, 22, 18)
    seen = Preprocessing(mean=(0.0,), std=(1.0,), slices=0, resize=(11, 36)).pixel_size(size, shape)
    assert seen is not None and (seen.depth, seen.height, seen.width) == pytest.approx((2.5, 1.4, 0.3))
    across = Preprocessing(mean=(0.0,), std=(1.0,), slices=2, resize=(12, 11)).pixel_size(size, shape)
    assert across is not None and (across.depth, across.height, across.width) == pytest.approx((1.25, 1.4, 0.6))
    assert Preprocessing(mean=(0.0,), std=(1.0,), slices=1, center_crop=4).window(shape) == (
        slice(1, 5),
        slice(0, 22),
        slice(7, 11),
    )
