"""Random numbers of a whole image, of which a tile takes its own, without holding those of the rest.

A generator gives its numbers one after the other. Those of some rows in the middle are reached by passing over all that
come before, once: on the way the generator's states are kept from place to place, and the next tile begins at the
nearest.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

_STEP = 2**22
"""Draws of 64 bits, 32 MB, that are made at a time while others are passed over."""
_KEPT = 64
"""Seeds whose states are remembered: some megabytes."""
BLOCK = 2048
"""Pixels: numbers of pixels are drawn in squares of this side, each from a generator of its own."""


class BitStream:
    """The draws of 64 random bits of one seed, any of them."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.states: dict[int, Tensor] = {0: generator.get_state()}
        self.places: list[int] = [0]

    def draws(self, start: int, count: int) -> Tensor:
        """`(count,)`, int64: those from the number `start` on."""
        nearest = self.places[bisect_right(self.places, start) - 1]
        generator = torch.Generator()
        generator.set_state(self.states[nearest])
        while nearest < start:
            step = min(_STEP - nearest % _STEP, start - nearest)
            _bits(step, generator)
            nearest += step
            if nearest % _STEP == 0 and nearest not in self.states:
                self.states[nearest] = generator.get_state()
                self.places.append(nearest)  # states are met in order, so that places are sorted
        return _bits(count, generator)


def _bits(count: int, generator: torch.Generator) -> Tensor:
    return torch.empty(count, dtype=torch.int64).random_(-(2**63), None, generator=generator)


_STREAMS: OrderedDict[int, BitStream] = OrderedDict()


def stream_of(seed: int) -> BitStream:
    """The stream of a seed, with what it remembers."""
    stream = _STREAMS.pop(seed, None) or BitStream(seed)
    _STREAMS[seed] = stream
    while len(_STREAMS) > _KEPT:
        _STREAMS.popitem(last=False)
    return stream


def words_of_rows(seed: int, first_draw: int, row: int, rows: slice) -> Tensor:
    """Numbers of 16 bits `(rows, row)`, int16, four a draw: those of some rows of a grid whose rows have so many, and
    whose first number is in the draw of this number."""
    low, high = rows.start * row, rows.stop * row
    draws = stream_of(seed).draws(first_draw + low // 4, -(-high // 4) - low // 4)
    return draws.view(torch.int16)[low % 4 : low % 4 + high - low].view(-1, row)


def split_rows(rows: slice, row: int) -> list[slice]:
    """Rows of so many numbers in parts of a bounded number."""
    step = max(1, _STEP // row)
    return [slice(start, min(rows.stop, start + step)) for start in range(rows.start, rows.stop, step)]


Numbers = Callable[[Sequence[int], torch.Generator], Iterator[Tensor]]
"""A shape `(C, *spatial)` and a generator -> tensors of that shape, one after the other."""


def in_blocks(
    numbers: Numbers, seed: int, classes: int, whole: Sequence[int], box: Sequence[slice]
) -> Iterator[Tensor]:
    """What `numbers` gives for an image of the size `whole`, in the box: `(C, *box)` each.

    An image of one block has the numbers of the seed; of a larger one each block has those of a seed of its own.
    """
    if max(whole) <= BLOCK:
        for one in numbers((classes, *whole), torch.Generator().manual_seed(seed)):
            yield one[(slice(None), *box)]
        return
    of_blocks = []
    for block in _blocks(box):
        shape = [min(BLOCK, length - at * BLOCK) for at, length in zip(block, whole, strict=True)]
        own = torch.Generator().manual_seed(_mixed(seed, block))
        of_blocks.append((block, numbers((classes, *shape), own)))
    while True:
        part = torch.empty(classes, *(side.stop - side.start for side in box))
        for block, ahead in of_blocks:
            drawn = next(ahead, None)
            if drawn is None:
                return
            _copy_overlap(part, drawn, box, block)
        yield part


def _blocks(box: Sequence[slice]) -> list[tuple[int, ...]]:
    ranges = [range(side.start // BLOCK, -(-side.stop // BLOCK)) for side in box]
    grid = torch.cartesian_prod(*(torch.tensor(list(one)) for one in ranges)).view(-1, len(ranges))
    return [tuple(one) for one in grid.tolist()]


def _copy_overlap(part: Tensor, drawn: Tensor, box: Sequence[slice], block: Sequence[int]) -> None:
    to, of = [slice(None)], [slice(None)]
    for side, at, length in zip(box, block, drawn.shape[1:], strict=True):
        first, last = max(side.start, at * BLOCK), min(side.stop, at * BLOCK + length)
        to.append(slice(first - side.start, last - side.start))
        of.append(slice(first - at * BLOCK, last - at * BLOCK))
    part[tuple(to)] = drawn[tuple(of)]


def _mixed(seed: int, block: Sequence[int]) -> int:
    """A seed for a block: different for each, and for each seed."""
    mixed = seed
    for at in block:
        mixed = (mixed * 6364136223846793005 + at + 1442695040888963407) % 2**64
        mixed ^= mixed >> 29
    return mixed % 2**62


def count_of(shape: Sequence[int]) -> int:
    """Draws of 64 bits for a grid of this shape, four numbers each."""
    return -(-math.prod(shape) // 4)
