"""The order in which the tiles of a large image may be computed, and which of them may write at once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from plurimask.prediction.records import Cut, TileRecords
from plurimask.prediction.tile_course import Course, Step
from plurimask.prediction.tiles import TilePlan

EXACT = TilePlan((100, 70), (32, 32), (8, 8), (0, 0))
BLENDED = TilePlan((100, 70), (32, 32), (8, 8), (16, 16))
IN_ROWS = TilePlan((40, 30, 20), (16, 30, 16), (2, 0, 2), (4, 0, 0))
"""Blended along the first axis alone."""


def everything(plan: TilePlan) -> set[int]:
    return set(range(len(plan)))


@pytest.mark.parametrize("plan", [EXACT, BLENDED, IN_ROWS])
def test_each_step_is_made_once_and_after_what_it_needs(plan: TilePlan) -> None:
    for seed in range(20):  # workers end in any order
        draws, done = random.Random(seed), list[Step]()
        course = Course(plan, {"sums": everything(plan), "tile": everything(plan)})
        waiting = course.first()
        while waiting:
            assert not course.is_done
            step = waiting.pop(draws.randrange(len(waiting)))
            if step.kind == "tile":
                tile, made = plan[step.number], {one.number for one in done if one.kind == "tile"}
                assert sum(one.kind == "sums" for one in done) == len(plan)
                for axis, at in enumerate(tile.index):
                    if at and plan.overlap[axis]:
                        before = tuple(one - (other == axis) for other, one in enumerate(tile.index))
                        assert next(one.number for one in plan if one.index == before) in made
            done.append(step)
            waiting += course.after(step)
        assert course.is_done and len(done) == 2 * len(plan) == len(set(done))


def test_tiles_that_are_not_blended_wait_for_none() -> None:
    assert Course(EXACT, {"sums": set(), "tile": everything(EXACT)}).first() == [Step("tile", n) for n in range(12)]
    assert Course(BLENDED, {"sums": set(), "tile": everything(BLENDED)}).first() == [Step("tile", 0)]
    along = Course(IN_ROWS, {"sums": set(), "tile": everything(IN_ROWS)})
    assert [step.number for step in along.first()] == [0, 1]
    assert along.after(Step("tile", 1)) == [Step("tile", 3)]


def test_what_is_recorded_is_not_computed_again() -> None:
    course = Course(BLENDED, {"sums": set(), "tile": everything(BLENDED) - {0, 1}})
    assert [step.number for step in course.first()] == [2, 3]
    assert course.words == "tile 3 of 12" and not course.is_done
    assert Course(BLENDED, {"sums": set(), "tile": set()}).is_done
    looking = Course(BLENDED, {"sums": {4, 7}, "tile": everything(BLENDED)})
    assert looking.words == "looking at all of it, tile 11 of 12"
    assert looking.first() == [Step("sums", 4), Step("sums", 7)]
    assert looking.after(Step("sums", 7)) == [] and looking.after(Step("sums", 4)) == [Step("tile", 0)]


def test_no_two_tiles_lie_in_one_block() -> None:
    for plan in (EXACT, IN_ROWS, TilePlan((1300, 1100), (576, 1100), (8, 0), (0, 0))):
        for most in (512, 64, 5):
            for axis, side in enumerate(plan.block(most)):
                assert 1 <= side <= most
                starts = {tile.core[axis].start for tile in plan}
                assert all(start % side == 0 for start in starts)
    assert TilePlan((1300, 1100), (576, 1100), (8, 0), (0, 0)).block(512) == (288, 512)
    assert TilePlan((4000, 4000), (1536, 1024), (8, 8), (0, 0)).block(512) == (512, 512)


def test_records_say_what_is_missing_and_how_it_was_cut(tmp_path: Path) -> None:
    records, cut = TileRecords(tmp_path, {"seed": 1}), Cut(BLENDED, 2**20)
    assert records.known() is None
    records.begin(cut)
    records.write("tile", 3, {})
    assert records.known() == cut and TileRecords(tmp_path, {"seed": 2}).known() is None
    assert records.missing("tile", 5) == {0, 1, 2, 4} and records.missing("sums", 2) == {0, 1}
