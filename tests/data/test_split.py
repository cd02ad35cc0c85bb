"""Splits keep groups together, depend on the seed alone, and come back from stored names."""

from __future__ import annotations

import random

import pytest

from plurimask.data.split import apply_split, draw_split, group_names
from plurimask.errors import InputError

GROUPS = [f"p{index // 3}" for index in range(61)]  # 21 groups


def test_groups_stay_together_and_shares_hold() -> None:
    split = draw_split(GROUPS, seed=3)
    train, val = ({GROUPS[index] for index in split[name]} for name in ("train", "val"))
    assert not train & val and len(val) == 4 and len(train) == 17
    assert sorted(split["train"] + split["val"]) == list(range(61))


def test_the_seed_decides_and_the_order_does_not() -> None:
    order = list(range(61))
    random.Random(0).shuffle(order)
    shuffled = draw_split([GROUPS[index] for index in order], seed=3)
    assert {order[index] for index in shuffled["val"]} == set(draw_split(GROUPS, seed=3)["val"])
    assert len({tuple(draw_split(GROUPS, seed)["val"]) for seed in range(8)}) > 4


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_both_sides_have_a_group(share: float) -> None:
    split = draw_split(["a", "b", "b"], 0, share)
    assert split["train"] and split["val"]


def test_too_little_to_split() -> None:
    with pytest.raises(InputError, match=r"one image only.*add images"):
        draw_split(["a"], 0)
    with pytest.raises(InputError, match="no images"):
        draw_split([], 0)
    with pytest.raises(InputError, match="all 3 images are in one group"):
        draw_split(["a", "a", "a"], 0)


def test_stored_names() -> None:
    stored = {"train": ["c", "a", "gone"], "val": ["b"], "test": ["gone too"]}
    assert apply_split(["a", "b", "c", "d"], stored) == {"train": [2, 0], "val": [1]}
    with pytest.raises(InputError, match=r"none of the images.*c, a, gone.*x, y.*trained on"):
        apply_split(["x", "y"], stored)


def test_groups_from_names() -> None:
    assert group_names(["p1_z3", "p2_z3"], "^p[0-9]+") == ["p1", "p2"]
    assert group_names(["x/p1_z3", "y/p2_z4"], "p([0-9]+)_") == ["1", "2"]
    with pytest.raises(InputError, match="finds nothing in the name 'q'"):
        group_names(["p1", "q"], "p[0-9]")
    with pytest.raises(InputError, match="malformed"):
        group_names(["p1"], "p(")
