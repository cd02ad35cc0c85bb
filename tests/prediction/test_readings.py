"""Readings: samples around their representatives, against an independent computation of each part."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from plurimask.errors import InputError
from plurimask.prediction.readings import ENOUGH, class_areas, find_readings, rule, same_maps

Maps = NDArray[np.uint8]
HEIGHT, WIDTH = 72, 90


def disk(radius: float, row: float = 36, column: float = 45, rough: float = 0, seed: int = 0) -> Maps:
    """A disk whose radius varies along its border by about `rough` pixels."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH)), 5)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    inside: Maps = (np.hypot(rows - row, columns - column) + rough * field / field.std() < radius).astype(np.uint8)
    return inside


def shares(maps: list[Maps], counted: tuple[int, ...] = (1,), classes: int = 2) -> list[float]:
    return [round(reading.share, 4) for reading in find_readings(np.stack(maps), counted, classes)]


def test_two_sizes_are_two_readings_with_their_shares_and_areas() -> None:
    maps = [disk(12 if number % 4 == 0 else 26, rough=0.5, seed=number) for number in range(16)]
    large, small = find_readings(np.stack(maps), (1,), 2)
    assert small.members == (0, 4, 8, 12) and small.share == 0.25 and large.share == 0.75
    assert set(small.members) | set(large.members) == set(range(16))
    for reading in (large, small):
        areas = [int((maps[number] == 1).sum()) for number in reading.members]
        assert reading.areas[1] == (min(areas), max(areas))
        assert reading.areas[0] == (HEIGHT * WIDTH - max(areas), HEIGHT * WIDTH - min(areas))
        far = [sum(distance(maps[one], maps[other]) for other in reading.members) for one in reading.members]
        assert reading.medoid == reading.members[int(np.argmin(np.round(far, 9)))]
        pairs = [distance(maps[a], maps[b]) for a, b in itertools.combinations(reading.members, 2)]
        assert reading.mean_distance == pytest.approx(np.mean(pairs))


def distance(first: Maps, second: Maps) -> float:
    union = ((first == 1) | (second == 1)).sum()
    return float(1 - ((first == 1) & (second == 1)).sum() / union) if union else 0.0


@pytest.mark.parametrize("rough", [0.0, 0.3, 0.6])
def test_samples_that_agree_are_one_reading(rough: float) -> None:
    assert shares([disk(20, rough=rough, seed=number) for number in range(16)]) == [1.0]


def test_noise_and_independent_cells_are_shown_by_five_none_of_which_is_most() -> None:
    random = np.random.default_rng(2)
    noise = shares([(random.random((HEIGHT, WIDTH)) < 0.3).astype(np.uint8) for _ in range(12)])
    cells = [disk(6, 9 + 18 * row, 9 + 18 * column) for row in range(4) for column in range(5)]
    drawn = shares([np.maximum.reduce([c * (random.random() < 0.5) for c in cells]) for _ in range(16)])
    assert len(noise) == len(drawn) == 5 and max(noise) < 0.5 and max(drawn) < 0.5


def test_there_are_as_many_readings_as_the_energy_distance_needs() -> None:
    """Of 20 draws of 16 radii each; the number is the smallest whose groups' representatives are near enough."""
    for low, high, most in ((18, 20, 1), (15, 21, 2), (6, 34, 5)):
        counts = []
        for seed in range(20):
            radii = np.random.default_rng(seed).uniform(low, high, 16)
            counts.append(len(shares([disk(radius) for radius in radii])))
        assert max(counts) <= most, (low, high, counts)
    assert min(counts) >= 2


def test_the_number_can_be_asked_for() -> None:
    maps = np.stack([disk(8 + number) for number in range(16)])
    for count in (1, 2, 3, 7):
        found = find_readings(maps, (1,), 2, count)
        assert len(found) == count and sum(one.share for one in found) == pytest.approx(1)
        assert sorted(number for one in found for number in one.members) == list(range(16))
    assert len(find_readings(maps, (1,), 2, 99)) == 16
    maps[:5] = 0
    assert [one.areas[1] for one in find_readings(maps, (1,), 2, 2) if one.areas[1] == (0, 0)] == [(0, 0)]
    (only,) = find_readings(maps, (1,), 2, 1)
    assert only.share == 1 and maps[only.medoid].any()
    with pytest.raises(InputError, match="0 readings"):
        find_readings(maps, (1,), 2, 0)
    assert "as asked for" in rule(3) and str(ENOUGH) in rule()


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_finitely_many_maps_are_a_reading_each(count: int) -> None:
    maps = [disk(7 + 6 * (number % count)) for number in range(20)]
    assert len(shares(maps)) == count and sum(shares(maps)) == pytest.approx(1)
    assert len(shares(maps[:count])) == count  # each once


def test_more_than_five_groups_are_never_shown() -> None:
    maps = [disk(5, 8 + 20 * (number % 3), 8 + 20 * (number // 3)) for number in range(9)] * 3
    assert 1 <= len(shares(maps)) <= 5
    assert sum(shares(maps)) == pytest.approx(1, abs=1e-3)


def test_empty_maps_are_a_reading_of_their_own() -> None:
    maps = [disk(0), *[disk(12, rough=0.3, seed=number) for number in range(7)], disk(0)]
    full, empty = find_readings(np.stack(maps), (1,), 2)
    assert empty.members == (0, 8) and empty.mean_distance == 0 and full.share == pytest.approx(7 / 9)
    assert shares([disk(0)] * 5) == [1.0]
    one_pixel = np.zeros((HEIGHT, WIDTH), np.uint8)
    one_pixel[3, 4] = 1
    assert shares([disk(0), disk(0), one_pixel]) == [round(2 / 3, 4), round(1 / 3, 4)]


def test_one_sample_is_one_reading_and_two_that_differ_are_two() -> None:
    (only,) = find_readings(disk(9)[None], (1,), 2)
    assert (only.members, only.share, only.mean_distance) == ((0,), 1.0, 0.0)
    assert shares([disk(9, column=20), disk(9, column=70)]) == [0.5, 0.5]


def test_background_and_classes_that_do_not_count_make_no_reading() -> None:
    maps = [disk(20) * (2 if number % 2 else 1) for number in range(8)]
    assert shares(maps, (1, 2), 3) == [0.5, 0.5]
    inner = [disk(20) + (disk(8 if number % 2 else 15) == 1).astype(np.uint8) for number in range(8)]
    assert shares([np.minimum(one, 2) for one in inner], (2,), 3) == [0.5, 0.5]
    outside = [
        np.where(disk(5, 10, 10 + 5 * (number % 3)) == 1, 3, one * 2) for number, one in enumerate([disk(9)] * 6)
    ]
    assert shares(outside, (2,), 4) == [1.0]


def test_readings_do_not_depend_on_the_order_of_samples() -> None:
    maps = np.stack([disk(12 if number % 3 else 26, rough=1.5, seed=number) for number in range(9)])
    first = find_readings(maps, (1,), 2)
    assert first == find_readings(maps.copy(), (1,), 2)
    backwards = find_readings(maps[::-1], (1,), 2)
    assert [{8 - member for member in reading.members} for reading in backwards] == [set(one.members) for one in first]


def test_a_sample_belongs_to_the_representative_that_is_nearest() -> None:
    maps = np.stack([disk(6 + 1.5 * number, rough=1, seed=number) for number in range(16)])
    for reading in find_readings(maps, (1,), 2):
        inside = np.array(reading.members)
        others = [one for one in find_readings(maps, (1,), 2) if one != reading]
        for number in inside:
            own = np.mean([distance(maps[number], maps[one]) for one in inside])
            assert all(own < np.mean([distance(maps[number], maps[one]) for one in rest.members]) for rest in others)


def test_areas_are_counted_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (37, 41)).astype(np.uint8)
    expected = [int((labels == index).sum()) for index in range(4)]
    monkeypatch.setattr("plurimask.prediction.readings._BLOCK_PIXELS", 100)
    assert class_areas(labels, 4).tolist() == expected
    assert class_areas(labels.T, 6).tolist() == [*expected, 0, 0]


def test_equal_maps_are_found_by_comparing_all_pairs() -> None:
    random = np.random.default_rng(1)
    different = random.integers(0, 2, (4, 5, 7)).astype(np.uint8)
    samples = different[random.integers(0, 4, 23)]
    found = same_maps(samples)
    assert sorted(number for members in found for number in members) == list(range(23))
    group = {number: place for place, members in enumerate(found) for number in members}
    for one, other in itertools.combinations(range(23), 2):
        assert (group[one] == group[other]) == np.array_equal(samples[one], samples[other])
    assert [len(members) for members in found] == sorted((len(members) for members in found), reverse=True)
    assert same_maps(samples.transpose(0, 2, 1)) == found  # not contiguous


def test_counting_equal_maps_reads_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the time is proportional to their number; and no copy of all of them is made."""
    read = []
    digest = __import__("hashlib").blake2b
    monkeypatch.setattr(
        "plurimask.prediction.readings.hashlib.blake2b",
        lambda data, **size: read.append(len(data)) or digest(data, **size),
    )
    samples = np.zeros((40, 300, 500), np.uint8)
    samples[::3, 1, 1] = 1
    tracemalloc.start()
    found = same_maps(samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(members) for members in found] == [26, 14]
    assert len(read) == 40 and peak < samples[0].nbytes


def test_samples_are_not_copied_into_wider_numbers() -> None:
    """Of a large image they would take eight bytes a pixel and sample."""
    samples = np.zeros((8, 600, 800), np.uint8)
    samples[::2, 100:300, 200:500] = 1
    find_readings(samples[:, :50], (1,), 2)  # what is imported late
    tracemalloc.start()
    found = find_readings(samples, (1,), 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 2 and peak < 3 * samples.nbytes
