import math

import naive_metrics as naive
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics import joint_distances, judged, pairwise_distance, rater_distance
from plurimask.metrics.distance import mean_of_pairs
from plurimask.sets import distance


def random_maps(num, shape, num_classes, seed):
    return torch.randint(num_classes, (num, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(11,), (5, 7), (2, 3, 4)])
@pytest.mark.parametrize("classes", [[1], [1, 3], [0, 1, 2]])
def test_equals_the_definition(shape, classes):
    first, second = random_maps(5, shape, 4, 0), random_maps(3, shape, 4, 1)
    valid = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.7
    for mask in (None, valid):
        expected = naive.distances(
            first.numpy(), second.numpy(), classes, np.ones(shape, bool) if mask is None else mask.numpy()
        )
        found = pairwise_distance(first, second, classes, mask)
        assert found.shape == (5, 3) and found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.uint8, (4, 3, 2), elements=st.sampled_from([0, 1, 2, 7, IGNORE])), st.sampled_from([[1], [1, 2, 7]])
)
def test_equals_the_definition_for_any_maps(maps, classes):
    raters, valid = judged(torch.from_numpy(maps))
    present, expected_valid = naive.present_and_valid(maps)
    assert len(raters) == len(present)
    np.testing.assert_array_equal(valid.numpy(), expected_valid)
    found = joint_distances([raters], classes, valid)
    if not expected_valid.any():
        assert found.isnan().all()
        return
    np.testing.assert_allclose(found.numpy(), naive.distances(present, present, classes, expected_valid), atol=1e-15)
    assert torch.equal(found, found.T) and bool((found.diagonal() == 0).all())
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def test_empty_maps_of_one_class():
    empty, marked = torch.zeros(1, 3, 2, dtype=torch.uint8), torch.ones(1, 3, 2, dtype=torch.uint8)
    assert float(pairwise_distance(empty, empty.clone(), [1])) == 0
    assert float(pairwise_distance(empty, marked, [1])) == 1


def test_a_class_in_neither_map_is_left_out():
    first = torch.tensor([[1, 1, 0, 0]], dtype=torch.uint8)
    second = torch.tensor([[1, 0, 0, 0]], dtype=torch.uint8)
    assert float(pairwise_distance(first, second, [1, 2, 3])) == 0.5
    assert float(pairwise_distance(first, second, [2, 3])) == 0


def test_one_shared_map_gives_the_square():
    maps = random_maps(4, (3, 5), 3, 3)
    assert torch.equal(pairwise_distance(maps, maps, [1, 2]), pairwise_distance(maps, maps.clone(), [1, 2]))


@pytest.mark.parametrize("limit", [1, 40, 100])
def test_pixels_are_split_without_a_change(monkeypatch, limit):
    maps = random_maps(5, (6, 4, 3), 3, 4)
    valid = random_maps(1, (6, 4, 3), 3, 5)[0] > 0
    whole = joint_distances([maps[:2], maps[2:]], [1, 2], valid)
    monkeypatch.setattr(distance, "MAX_MASK_ELEMENTS", limit)
    assert torch.equal(joint_distances([maps[:2], maps[2:]], [1, 2], valid), whole)


def test_counts_beyond_float32_are_exact():
    # 2^24 + 3 shared pixels: float32 cannot hold the count.
    num = 2**24 + 3
    maps = torch.ones(1, num, dtype=torch.uint8)
    assert int(next(iter(distance.shared_pixels([maps], [1], None)))) == num


def test_autocast_does_not_round_the_counts():
    maps = random_maps(3, (61, 53), 2, 6)
    expected = joint_distances([maps], [1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(joint_distances([maps], [1]), expected)


def test_judged_tells_an_absent_rater_from_one_who_saw_nothing():
    labels = torch.full((3, 2, 4), IGNORE, dtype=torch.uint8)
    labels[1] = 0
    labels[2, 0] = 1
    raters, valid = judged(labels)
    assert len(raters) == 2
    assert valid.tolist() == [[True] * 4, [False] * 4]
    nobody, nothing = judged(labels[:1])
    assert nobody.shape == (0, 2, 4) and not nothing.any()


def test_rater_distance():
    labels = random_maps(4, (5, 6), 3, 7)
    labels[2] = IGNORE
    labels[0, 1] = IGNORE
    present, valid = naive.present_and_valid(labels.numpy())
    expected = naive.distances(present, present, [1, 2], valid)
    assert rater_distance(labels, [1, 2]) == pytest.approx(expected.sum() / 6, abs=1e-15)
    assert rater_distance(labels[1:3], [1, 2]) is None
    apart = torch.full((2, 1, 2), IGNORE, dtype=torch.uint8)
    apart[0, 0, 0] = apart[1, 0, 1] = 1
    assert rater_distance(apart, [1]) is None


def test_no_valid_pixel_is_nan():
    maps = random_maps(2, (3, 4), 2, 8)
    assert joint_distances([maps], [1], torch.zeros(3, 4, dtype=torch.bool)).isnan().all()
    assert math.isnan(mean_of_pairs(joint_distances([maps[:1]], [1])))


def test_errors_say_what_is_wrong():
    maps = random_maps(2, (3, 4), 2, 9)
    with pytest.raises(InputError, match="spatial shape"):
        pairwise_distance(maps, maps[:, :2], [1])
    with pytest.raises(InputError, match="counted_classes"):
        pairwise_distance(maps, maps, [])
