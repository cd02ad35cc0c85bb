"""In which order the tiles of a large image may be computed, by one process or by several at once.

First every tile adds to the averages over the image, where the method needs them; only then can masks be drawn. Tiles
that are not blended do not need each other; a blended one comes after those that it is blended with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from plurimask.prediction.records import Kind
from plurimask.prediction.tiles import TilePlan


class Step(NamedTuple):
    """What is computed of one tile."""

    kind: Kind
    number: int


class Course:
    """Which steps can be made now, as others end. What a tile computes does not depend on this order.

    Args:
        plan: of the tiles.
        missing: of each kind the tiles of which it is not there yet.
    """

    def __init__(self, plan: TilePlan, missing: Mapping[Kind, set[int]]) -> None:
        self.plan, self.left = plan, {kind: set(numbers) for kind, numbers in missing.items()}

    @property
    def is_done(self) -> bool:
        return not any(self.left.values())

    def first(self) -> list[Step]:
        """The steps that can be made before any other has ended."""
        if self.left["sums"]:
            return [Step("sums", number) for number in sorted(self.left["sums"])]
        return [Step("tile", number) for number in sorted(self.left["tile"]) if self._is_free(number)]

    def after(self, ended: Step) -> list[Step]:
        """The steps that can be made now that this one has ended, and could not before."""
        left = self.left[ended.kind]
        left.discard(ended.number)
        if ended.kind == "sums":
            return [] if left else self.first()
        following = self.plan.after(self.plan[ended.number])
        return [Step("tile", number) for number in following if number in left and self._is_free(number)]

    @property
    def words(self) -> str:
        """Which tile is next, for people."""
        total, left = len(self.plan), len(self.left["sums"] or self.left["tile"])
        now = f"tile {min(total, total - left + 1)} of {total}"
        return f"looking at all of it, {now}" if self.left["sums"] else now

    def _is_free(self, number: int) -> bool:
        return self.left["tile"].isdisjoint(self.plan.before(self.plan[number]).values())
