"""Crops of volumes, volumes brought to a spacing and back, and those that are kept in memory."""

from __future__ import annotations

import pickle

import pytest
import torch

from plurimask.data.crops import random_crop, sides_of, sides_words, stack_padded, window
from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing, Views
from plurimask.data.remembered import CachedVolumes, VolumeCache, bytes_of, cache_bytes, remembered
from plurimask.data.resampling import resized, spacing_of
from plurimask.data.windows import ObjectWindows, crop_on_object, marked_places
from plurimask.distribution import IGNORE
from plurimask.errors import InputError

DEPTH, HEIGHT, WIDTH = 9, 20, 26
SIZE = PixelSize(0.5, 0.75, "mm", 3.0)


def volume(marks: dict[tuple[int, int, int, int], int] | None = None, name: str = "a") -> Example:
    """A volume whose values tell the place; `marks` are classes by rater and place."""
    labels = torch.zeros(2, DEPTH, HEIGHT, WIDTH, dtype=torch.uint8)
    for place, value in (marks or {}).items():
        labels[place] = value
    count = DEPTH * HEIGHT * WIDTH
    return Example(name, torch.arange(count).view(1, DEPTH, HEIGHT, WIDTH).float(), labels)


class Listed(ExampleSet):
    def __init__(self, examples: list[Example], size: PixelSize | None = SIZE) -> None:
        self.examples, self.size, self.read = examples, size, list[int]()
        self.names = self.groups = [str(number) for number in range(len(examples))]

    def __getitem__(self, index: int) -> Example:
        self.read.append(index)
        return self.examples[index]

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.size


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- crops


def test_a_window_of_a_volume_has_three_sides_and_stays_inside() -> None:
    cut = window(volume(), (7, 3, 24), (4, 6, 8))
    assert cut.image.shape == (1, 4, 6, 8)
    assert cut.labels.shape == (2, 4, 6, 8)
    assert float(cut.image[0, 0, 0, 0]) == (5 * HEIGHT + 3) * WIDTH + 18
    assert window(volume(), (0, 0, 0), (40, 6, 8)).image.shape == (1, DEPTH, 6, 8)
    assert window(volume(), (0, 0, 0), 8).image.shape == (1, 8, 8, 8)
    assert sides_of(96, 2) == (96, 96)
    assert (sides_words(96), sides_words((8, 64, 64))) == ("96", "8 x 64 x 64")


def test_random_crops_lie_everywhere() -> None:
    starts = {tuple(_start(random_crop(volume(), (4, 6, 8), seeded(seed)))) for seed in range(300)}
    for axis, most in enumerate((DEPTH - 4, HEIGHT - 6, WIDTH - 8)):
        assert {start[axis] for start in starts} == set(range(most + 1))


def _start(cut: Example) -> list[int]:
    first = int(cut.image[0, 0, 0, 0])
    return [first // (HEIGHT * WIDTH), first // WIDTH % HEIGHT, first % WIDTH]


def test_a_crop_on_an_object_holds_it_in_its_middle_half() -> None:
    one = volume({(1, 4, 10, 13): 1})
    for seed in range(60):
        cut = crop_on_object(one, (4, 8, 12), marked_places(one.labels, [1]), seeded(seed))
        assert cut.image.shape == (1, 4, 8, 12)
        ((depth, row, column),) = cut.labels[1].nonzero().tolist()
        assert (1 <= depth < 3, 2 <= row < 6, 3 <= column < 9) == (True, True, True)
        assert int(cut.image[0, depth, row, column]) == (4 * HEIGHT + 10) * WIDTH + 13


def test_validation_windows_of_volumes_are_around_what_is_marked() -> None:
    windows = ObjectWindows(
        Listed([volume({(0, 4, 10, 13): 1})]), Preprocessing(mean=(0.0,), std=(1.0,)), (4, 8, 12), [1]
    )
    assert windows[0].labels[0, 2, 4, 6] == 1
    assert windows.pixel_size(0) == SIZE


def test_smaller_volumes_stand_in_the_middle_and_nobody_judged_around_them() -> None:
    small = window(volume(), (0, 0, 0), (3, 5, 26))
    images, labels = stack_padded([volume(), small])
    assert images.shape == (2, 1, DEPTH, HEIGHT, WIDTH)
    assert torch.equal(images[1, :, 3:6, 7:12], small.image)
    assert float(images[1].abs().sum()) == float(small.image.sum())
    assert bool((labels[1, :, :3] == IGNORE).all())
    assert torch.equal(labels[1, :, 3:6, 7:12], small.labels)


# ---- spacing


def test_linear_interpolation_of_a_volume_keeps_a_plane() -> None:
    """What is linear along all axes is so at other sizes too, but at the borders."""
    axes = torch.meshgrid(*(torch.arange(n) + 0.5 for n in (8, 12, 10)), indexing="ij")
    plane = (3 * axes[0] + 2 * axes[1] - axes[2])[None]
    found = resized(plane, (16, 18, 15))
    places = torch.meshgrid(
        *((torch.arange(n) + 0.5) * old / n for n, old in ((16, 8), (18, 12), (15, 10))), indexing="ij"
    )
    want = (3 * places[0] + 2 * places[1] - places[2])[None]
    inner = (slice(None), slice(2, -2), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inner], want[inner], atol=1e-4, rtol=0)


def test_labels_of_a_volume_stay_labels() -> None:
    labels = torch.randint(3, (2, 6, 8, 10), generator=seeded(), dtype=torch.uint8) * 100
    doubled = resized(labels, (12, 16, 20))
    assert torch.equal(doubled[:, ::2, ::2, ::2], labels)
    assert torch.equal(doubled[:, 1::2, 1::2, 1::2], labels)


def test_volumes_are_brought_to_a_spacing_with_their_labels() -> None:
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,), spacing=(1.5, 1.0, 1.5))
    one = volume()
    one.labels[0, :, 10:], one.labels[1] = 1, IGNORE
    seen = preprocessing.example(one, SIZE)
    assert seen.image.shape == (1, 18, 10, 13)
    assert seen.labels.shape == (2, 18, 10, 13)
    assert bool((seen.labels[0, :, 5:] == 1).all())
    assert seen.labels[0].unique().tolist() == [0, 1]
    assert preprocessing.pixel_size(SIZE, (DEPTH, HEIGHT, WIDTH)) == PixelSize(1.0, 1.5, "mm", 1.5)
    in_micrometres = PixelSize(500.0, 750.0, "µm", 3000.0)
    assert preprocessing.seen(one.image, in_micrometres).shape == seen.image.shape
    again = Views(Listed([one]), preprocessing)
    assert preprocessing.view(again[0], again.pixel_size(0)).image is again[0].image or torch.equal(
        preprocessing.view(again[0], again.pixel_size(0)).image, again[0].image
    )


@pytest.mark.parametrize("size", [None, PixelSize(1.0, 1.0, "mm"), PixelSize(1.0, 1.0, "in", 1.0)])
def test_a_volume_of_unknown_spacing_is_refused_by_name(size: PixelSize | None) -> None:
    assert spacing_of(size) is None
    with pytest.raises(InputError, match="thorax: its file does not say how large its voxels are"):
        Preprocessing(mean=(0.0,), std=(1.0,), spacing=(1.0, 1.0, 1.0)).image(volume().image, "thorax", size)


def test_a_centre_crop_of_a_volume_comes_before_the_spacing() -> None:
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,), center_crop=(3, 8, 10), spacing=(1.5, 0.5, 0.75))
    assert preprocessing.view(volume(), SIZE).image.shape == (1, 6, 8, 10)
    assert preprocessing.window((DEPTH, HEIGHT, WIDTH)) == (slice(3, 6), slice(6, 14), slice(8, 18))


# ---- memory


def test_the_least_recently_used_volumes_make_room() -> None:
    base = Listed([volume(name=str(number)) for number in range(4)])
    size = bytes_of(base.examples[0])
    cache = VolumeCache(2 * size)
    kept = CachedVolumes(base, cache)
    for index in (0, 1, 0, 2, 0, 1):  # 2 takes the place of 1, and 1 that of 2
        assert kept[index].name == str(index)
    assert base.read == [0, 1, 2, 1]
    assert cache.num_bytes == 2 * size
    assert kept[-1].name == "3"


def test_a_copy_of_the_cache_for_another_process_is_empty() -> None:
    kept = CachedVolumes(Listed([volume()]), VolumeCache(2**30))
    kept[0]
    copy = pickle.loads(pickle.dumps(kept))
    assert not copy.cache.kept
    assert copy[0].name == kept[0].name
    assert copy.cache.num_bytes == kept.cache.num_bytes


def test_sets_that_share_a_cache_are_kept_apart() -> None:
    cache = VolumeCache(2**30)
    names = [CachedVolumes(Listed([volume(name=name)]), cache)[0].name for name in ("a", "b", "c")]
    assert names == ["a", "b", "c"]  # none of the sets is there any more when the next is made


def test_what_is_larger_than_the_cache_is_read_again_and_drives_nothing_out() -> None:
    small, large = Listed([window(volume(), (0, 0, 0), 4)]), Listed([volume()])
    cache = VolumeCache(bytes_of(small.examples[0]))
    one, other = CachedVolumes(small, cache), CachedVolumes(large, cache)
    for _ in range(2):
        one[0], other[0]
    assert (small.read, large.read) == ([0], [0, 0])


def test_train_and_val_share_the_memory_that_is_stated() -> None:
    about = DataDescription(
        layout="listed", class_names=("background", "it"), class_values=(0, 1), ignore_value=None, has_background=True,
        encoding="0 and 1", channel_names=("intensity",), rater_names=("a", "b"), spatial_dims=3,
    )  # fmt: skip
    splits = {"train": Listed([volume()] * 3), "val": Listed([volume()]), "test": Listed([volume()])}
    found = remembered(DataSource(about, splits, drawn=False), 1.0)
    train, val = found.splits["train"], found.splits["val"]
    assert isinstance(train, CachedVolumes)
    assert isinstance(val, CachedVolumes)
    assert train.cache is val.cache
    assert train.cache.max_bytes == 2**30 == cache_bytes(1.0)
    assert found.splits["test"] is splits["test"]
    assert remembered(found) is found
    assert cache_bytes(None) > 0
