"""How a large image is cut into tiles: in two dimensions or three.

Each tile owns a box, its core; the cores are the image, without gap or overlap. What is read for a tile is its window:
the core and around it what the network sees from there. Windows end at the image's own border, so that a network pads
there, and only there, with zeros. Where tiles are blended each window also reaches some way into the next cores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plurimask.errors import InputError

Box = tuple[slice, ...]


def along_last(box: Box, num_dims: int) -> Box:
    """A box of the last dimensions of `num_dims`, with all of those before."""
    return (slice(None),) * (num_dims - len(box)) + box


@dataclass(frozen=True)
class Tile:
    """One tile of a plan."""

    number: int
    """In reading order."""
    index: tuple[int, ...]
    """Its place in the grid of tiles."""
    core: Box
    """The pixels that it owns."""
    window: Box
    """The pixels that are read for it."""

    @property
    def inner(self) -> Box:
        """The core, seen from the window's start."""
        return tuple(
            slice(core.start - window.start, core.stop - window.start)
            for core, window in zip(self.core, self.window, strict=True)
        )

    @property
    def start(self) -> tuple[int, ...]:
        return tuple(side.start for side in self.window)

    @property
    def size(self) -> tuple[int, ...]:
        """Of the window."""
        return tuple(side.stop - side.start for side in self.window)


@dataclass(frozen=True)
class TilePlan:
    """A grid of tiles.

    Attributes:
        whole: the size of the image.
        core: the sides of the cores; the last along an axis may be shorter.
        halo: pixels that are read around a core along each axis, at most.
        overlap: pixels of the next core, along each axis, that both tiles compute and that are blended; 0 for none.
    """

    whole: tuple[int, ...]
    core: tuple[int, ...]
    halo: tuple[int, ...]
    overlap: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """How many tiles there are along each axis."""
        return tuple(-(-length // side) for length, side in zip(self.whole, self.core, strict=True))

    def __len__(self) -> int:
        return math.prod(self.grid)

    def __iter__(self) -> Iterator[Tile]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Tile:
        rest, index = number, []
        for count in reversed(self.grid):
            rest, at = divmod(rest, count)
            index.append(at)
        return self.at(tuple(reversed(index)), number)

    def at(self, index: tuple[int, ...], number: int) -> Tile:
        """The tile at a place of the grid."""
        cores, windows = [], []
        for at, whole, side, halo, overlap in zip(index, self.whole, self.core, self.halo, self.overlap, strict=True):
            start, stop = at * side, min(whole, (at + 1) * side)
            cores.append(slice(start, stop))
            windows.append(slice(max(0, start - halo), min(whole, stop + overlap + halo)))
        return Tile(number, index, tuple(cores), tuple(windows))

    def zone(self, tile: Tile, axis: int) -> slice | None:
        """Along an axis, the part of the core that the tile before computes too; None for the first."""
        if not self.overlap[axis] or not tile.index[axis]:
            return None
        start = tile.core[axis].start
        return slice(start, min(self.whole[axis], start + self.overlap[axis]))

    def before(self, tile: Tile) -> dict[int, int]:
        """Of each axis along which a tile is blended with the one before it, the number of that one."""
        return {
            axis: tile.number - self._apart(axis) for axis, at in enumerate(tile.index) if self.overlap[axis] and at
        }

    def after(self, tile: Tile) -> list[int]:
        """The numbers of the tiles that a tile is before."""
        return [
            tile.number + self._apart(axis)
            for axis, (at, count) in enumerate(zip(tile.index, self.grid, strict=True))
            if self.overlap[axis] and at + 1 < count
        ]

    def _apart(self, axis: int) -> int:
        """By how much the numbers of neighbours along an axis differ."""
        return math.prod(self.grid[axis + 1 :])

    def block(self, most: int) -> tuple[int, ...]:
        """The sides, at most so long, of blocks of which every core is made up, so that no two tiles write to one."""
        return tuple(
            most if side == length else max(part for part in range(1, most + 1) if side % part == 0)
            for side, length in zip(self.core, self.whole, strict=True)
        )

    @property
    def largest_window(self) -> int:
        """Pixels of the largest window."""
        sides = []
        for whole, side, halo, overlap in zip(self.whole, self.core, self.halo, self.overlap, strict=True):
            sides.append(min(whole, side + 2 * halo + overlap))
        return math.prod(sides)


def plan_tiles(
    whole: Sequence[int], halo: Sequence[int], overlap: Sequence[int], unit: Sequence[int], max_pixels: int
) -> TilePlan:
    """The tiles of an image: as large as may be, nearly cubes, and of about one size.

    Args:
        whole: the size of the image.
        halo, overlap: of the tiles along each axis; multiples of the stride of the network.
        unit: the sides of cores are multiples of these, unless they are the whole side of the image.
        max_pixels: of a window.

    Raises:
        InputError: not even the smallest core, with what is around it, has so few pixels.
    """
    around = [2 * one + more for one, more in zip(halo, overlap, strict=True)]
    sides = list(whole)  # of windows
    while math.prod(sides) > max_pixels:
        # The longest axes first: one that is shorter than the others stays whole, and has no halo.
        limit = _side_within(whole, max_pixels)
        sides = [min(length, limit) for length in whole]
        if math.prod(sides) <= max_pixels:
            break
    cores = [
        length if side >= length else max(step, (side - more) // step * step)
        for length, side, more, step in zip(whole, sides, around, unit, strict=True)
    ]
    plan = TilePlan(tuple(whole), tuple(cores), tuple(halo), tuple(overlap))
    if plan.largest_window > max_pixels:
        raise InputError(
            f"tiles of {' x '.join(map(str, cores))} pixels and {' x '.join(map(str, halo))} around them are the "
            f"smallest for this method, and the memory is for {max_pixels:,} pixels at once: give more --memory"
        )
    even = [
        side if side == length else min(side, -(-length // -(-length // side) // step) * step)
        for length, side, step in zip(whole, cores, unit, strict=True)
    ]
    return TilePlan(tuple(whole), tuple(even), tuple(halo), tuple(overlap))


def _side_within(whole: Sequence[int], max_pixels: int) -> int:
    """The longest side with which boxes, no longer than the image along any axis, have at most so many pixels."""
    rest, remaining = max_pixels, sorted(whole)
    for place, length in enumerate(remaining):
        side = int(rest ** (1 / (len(remaining) - place)) + 1e-9)
        if length > side:
            return max(1, side)
        rest //= length
    return max(whole)
