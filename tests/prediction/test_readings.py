"""Readings: samples in groups that their distances bear out, against an independent computation of each part."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from plurimask.prediction.readings import AGREEMENT, class_areas, find_readings, group_samples, same_maps, silhouette

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
    maps = [disk(12 if number % 4 == 0 else 26, rough=1.5, seed=number) for number in range(16)]
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


@pytest.mark.parametrize("rough", [0.0, 1.0, 4.0])
def test_samples_that_agree_or_differ_without_groups_are_one_reading(rough: float) -> None:
    assert shares([disk(20, rough=rough, seed=number) for number in range(16)]) == [1.0]


def test_noise_and_independent_cells_are_one_reading() -> None:
    random = np.random.default_rng(2)
    assert shares([(random.random((HEIGHT, WIDTH)) < 0.3).astype(np.uint8) for _ in range(12)]) == [1.0]
    cells = [disk(6, 9 + 18 * row, 9 + 18 * column) for row in range(4) for column in range(5)]
    assert shares([np.maximum.reduce([c * (random.random() < 0.5) for c in cells]) for _ in range(16)]) == [1.0]


def test_a_narrow_continuum_is_mostly_one_reading_and_a_wide_one_is_cut() -> None:
    """Of 20 draws of 16 radii each; the seeds are fixed."""
    for low, high, is_one in ((15, 21, True), (6, 34, False)):
        radii = [np.random.default_rng(seed).uniform(low, high, 16) for seed in range(20)]
        found = [shares([disk(radius) for radius in one]) for one in radii]
        assert sum((len(one) == 1) == is_one for one in found) >= 16, (low, high)


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
    maps = [disk(0), *[disk(9, rough=1, seed=number) for number in range(7)], disk(0)]
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


def test_equal_samples_give_equal_readings_in_any_order_of_equals() -> None:
    maps = np.stack([disk(12 if number % 3 else 26, rough=1.5, seed=number) for number in range(9)])
    first = find_readings(maps, (1,), 2)
    assert first == find_readings(maps.copy(), (1,), 2)
    backwards = find_readings(maps[::-1], (1,), 2)
    assert [{8 - member for member in reading.members} for reading in backwards] == [set(one.members) for one in first]


def test_the_silhouette_is_the_published_one_but_for_small_groups() -> None:
    random = np.random.default_rng(5)
    places = np.concatenate(
        [random.normal(0, 0.3, (7, 2)), random.normal(3, 0.3, (4, 2)), random.normal(-4, 0.3, (1, 2))]
    )
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    labels = np.array([1] * 7 + [2] * 4 + [3])
    scores = []
    for number, label in enumerate(labels):
        others = [distances[number, k] for k in range(12) if labels[k] == label and k != number]
        a = max(AGREEMENT, sum(others) / max(1, len(others)))
        b = min(distances[number, labels == other].mean() for other in {1, 2, 3} - {label})
        scores.append((b - a) / max(a, b))
    assert silhouette(distances, labels) == pytest.approx(np.mean(scores), abs=1e-12)
    groups = group_samples(distances / 10, np.zeros(12, bool))
    assert sorted(group.tolist() for group in groups) == [list(range(7)), list(range(7, 11)), [11]]


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
