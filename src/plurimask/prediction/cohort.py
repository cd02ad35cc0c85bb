"""Many images shared out: blocks that are computed together, and the parts of a cohort that several calls take.

What is computed for an image must not depend on which others are finished already, nor on who computes it. Arithmetic
rounds otherwise in another batch; so the images that may share a batch are fixed by their places in the whole list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from plurimask.errors import InputError, shown

MAX_PARTS = 100_000
_WRITTEN = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")

Block = range
"""The places of neighbouring images in the whole list that are computed together."""


@dataclass(frozen=True)
class Part:
    """One of several shares of a cohort, counted from 1."""

    number: int = 1
    total: int = 1

    @property
    def is_all(self) -> bool:
        return self.total == 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


ALL = Part()


def parse_part(words: str | None) -> Part:
    """A part from words such as "3/20"; None: everything.

    Raises:
        InputError: these are no such words, or the number is not from 1 to the total.
    """
    if words is None:
        return ALL
    match = _WRITTEN.fullmatch(words)
    number, total = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= total <= MAX_PARTS:
        raise InputError(
            f"--part {shown(words)}: expected a number and the total, such as 3/20, from 1/20 to 20/20 (an array of "
            "SLURM with --array=1-20 has such numbers)"
        )
    return Part(number, total)


def blocks(num_images: int, size: int) -> list[Block]:
    """All images in blocks of `size` neighbours; the last may be smaller."""
    return [range(start, min(start + size, num_images)) for start in range(0, num_images, size)]


def share(everything: Sequence[Block], part: Part) -> list[Block]:
    """The neighbouring blocks of a part: each block is in one part, and parts have equally many, up to one."""
    return [block for place, block in enumerate(everything) if part.number == 1 + place * part.total // len(everything)]


def refuse_idle(everything: Sequence[Block], part: Part) -> None:
    """Raise `InputError` where there are fewer blocks than parts although there are images enough for all."""
    num_images = everything[-1].stop if everything else 0
    if len(everything) < part.total <= num_images:
        raise InputError(
            f"--part {part}: the {num_images} images are predicted in {len(everything)} batches, fewer than there are "
            f"parts: give --batch-size {max(1, num_images // part.total)} or less in all parts"
        )


def indices_of(some: Iterable[Block]) -> list[int]:
    """The places of all images of blocks."""
    return [index for block in some for index in block]


def within(everything: Sequence[Block], needed: Sequence[int]) -> Iterator[tuple[Block, list[int]]]:
    """The blocks that hold images that are needed, each with the places of those."""
    wanted = set(needed)
    for block in everything:
        if some := [index for index in block if index in wanted]:
            yield block, some
