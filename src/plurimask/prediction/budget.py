"""Whether an image is computed whole or in tiles, so that no more memory is taken than was said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch

from plurimask.errors import InputError
from plurimask.files.memory import give_back, resident_bytes
from plurimask.method import SegmentationMethod
from plurimask.prediction.device import fast_dtype
from plurimask.prediction.field import Field, field_of
from plurimask.prediction.memory import MARGIN, PROGRAM, bytes_per_pixel
from plurimask.prediction.tiled import Read, TiledSegmentation, averages_of, sums_at
from plurimask.prediction.tiles import TilePlan, plan_tiles

BLENDED = (
    "tiles are blended where they overlap, since this method sees further around a pixel than tiles reach: its maps "
    "are near those of the whole image, not the same"
)
SMALLER = (
    "the memory has no room for an image at once, or for tiles of the usual size: in bf16, where sums in another order "
    "round differently, some pixels may differ from those with more --memory"
)
LARGEST_WHOLE = 2**21
"""Pixels: larger images are computed in tiles of one size, whatever the memory, so that they do not depend on it."""
TILE_SIDE = 1024
"""Pixels of the core of such a tile, where image and memory are large enough."""
LEAST_PIXELS = 2**14
"""Images of so few pixels are computed whole in any case."""
_SURELY_ENOUGH = 20_000
"""Bytes for each pixel: more than networks take that people train, so that nothing is measured for small images."""
_CHUNK_SHARE, _BYTES_OF_LOGIT, _MOST_LOGITS = 64, 24, 2**20
"""Logits that are computed at once take a share of the memory, up to so many: where it has room for tiles of the usual
size, how many samples are computed at once does not depend on it. Softmax and sums hold copies of a logit."""
_STEPS, _PACKAGES = 16, 6e7
"""What a program takes above the usual is rounded up to such a share of all memory; some bytes of further packages,
such as those of a worker of Dask, are usual too."""
_STRIP_ROWS = 160
_BLENDED_HALO, _BLENDED_OVERLAP = 64, 64
"""Pixels at least, where no halo is exact."""
CHUNK = {2: 512, 3: 64}
"""Sides, at most, of the blocks in which results are stored: cores of tiles are whole blocks (`TilePlan.block`)."""


_Found = TypeVar("_Found")


@dataclass
class Budget:
    """The memory for predicting images by a method.

    Args:
        method: in evaluation mode, where it predicts.
        total: bytes, of the program and all that it holds.
        num_samples: N, of each image.
        num_channels: K.
    """

    method: SegmentationMethod
    total: float
    num_samples: int
    num_channels: int

    def __post_init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        """What is only approximated, in sentences for people."""

    @cached_property
    def free(self) -> float:
        """Bytes, beside the program and the method; in steps, so that all processes cut an image alike."""
        if math.isinf(self.total):
            return math.inf
        if resident_bytes() > PROGRAM + _PACKAGES:
            give_back()  # what images before this one left
        step = self.total / _STEPS
        above = math.ceil(max(0.0, resident_bytes() - PROGRAM - _PACKAGES) / step) * step
        return max(0.0, self.total - PROGRAM - above)

    @property
    def in_strips(self) -> float:
        """Bytes for each pixel of a large image, whose finest features are computed in strips."""
        return _once(self.method, "in strips", lambda: bytes_per_pixel(self.method, self.num_channels))

    @property
    def at_once(self) -> float:
        """Bytes for each pixel of what is computed at once."""
        return _once(self.method, "at once", lambda: bytes_per_pixel(self.method, self.num_channels, are_large=False))

    @property
    def field(self) -> Field:
        return _once(self.method, "field", lambda: field_of(self.method, self.num_channels))

    @property
    def num_classes(self) -> int:
        return self.method.config.num_classes

    def computing(self, num_pixels: float) -> float:
        """Bytes that computing so many pixels takes, with their samples and statistics."""
        at_once = min(num_pixels, _STRIP_ROWS * math.sqrt(num_pixels))
        features = self.in_strips * num_pixels + max(0.0, self.at_once - self.in_strips) * at_once
        return MARGIN * features + (8 * self.num_channels + 2 * self.num_samples) * num_pixels

    def results(self, num_pixels: float) -> float:
        """Bytes of an image with all that is known of its pixels at the end, in memory: as read and as seen, samples,
        and maps while they are brought to the image's own pixels and written."""
        classes = self.num_classes
        return num_pixels * (8 * self.num_channels + 2 * self.num_samples + 4 * (5 * classes + 6) + 16)

    def is_whole(self, size: Sequence[int]) -> bool:
        """Whether an image of this size is computed at once."""
        return self.fits(size) and math.isinf(self.usual(size))

    def usual(self, size: Sequence[int]) -> float:
        """Pixels of a tile of an image of this size, with what is around it, at most, whatever the memory.

        Of images that are computed whole where there is memory, it is infinite: those that are small, volumes, and
        those for which no halo is exact, or it is wider than a quarter of a tile.
        """
        if len(size) != 2 or math.prod(size) <= LARGEST_WHOLE or len(self.method.strides) != 2:
            return math.inf
        halo = self.field.halo
        if halo is None or 4 * max(halo) > TILE_SIDE:
            return math.inf
        return math.prod(TILE_SIDE + 2 * one for one in halo)

    def fits(self, size: Sequence[int]) -> bool:
        """Whether there is memory for an image of this size at once."""
        pixels = math.prod(size)
        if pixels <= LEAST_PIXELS or len(size) != len(self.method.strides):
            return True
        if pixels * _SURELY_ENOUGH <= self.total - resident_bytes():
            return True
        return self.computing(pixels) + self.results(pixels) <= self.free

    def holds(self, size: Sequence[int]) -> bool:
        """Whether there is room for an image's results, beside tiles that are large enough to be worth it."""
        return self.results(math.prod(size)) <= 0.6 * self.free

    def chunk_elements(self) -> int:
        """How many logits are computed at once in a tile."""
        return int(min(_MOST_LOGITS, max(2**16, self.free / _CHUNK_SHARE / _BYTES_OF_LOGIT * 8)))

    def plan(self, size: Sequence[int], beside: float = 0.0) -> TilePlan:
        """Tiles of an image of this size, where `beside` bytes are held for other things.

        Raises:
            InputError: there is not enough memory for the smallest tiles.
        """
        strides, unit = self.field.strides, CHUNK[len(size)]
        room = self.free - beside - _BYTES_OF_LOGIT * self.chunk_elements()
        usual = self.usual(size)
        low, high = 1.0, min(float(math.prod(size)), usual)
        if self.computing(high) > room:
            while high - low > 1:
                middle = (low + high) / 2
                low, high = (middle, high) if self.computing(middle) <= room else (low, middle)
            high = low
        is_smaller = high < min(math.prod(size), usual) or self.chunk_elements() < _MOST_LOGITS
        if is_smaller and fast_dtype(next(self.method.parameters()).device) == torch.bfloat16:
            self.notes = (SMALLER,)
        halo, overlap = self._around(size, high)
        units = [math.lcm(stride, unit) for stride in strides]
        try:
            return plan_tiles(size, halo, overlap, units, int(high))
        except InputError:
            units = [math.lcm(stride, 64 if len(size) == 2 else 16) for stride in strides]  # blocks are smaller then
            return plan_tiles(size, halo, overlap, units, int(high))

    def _around(self, size: Sequence[int], pixels: float) -> tuple[list[int], list[int]]:
        """Halo and overlap along each axis, for windows of so many pixels."""
        side = pixels ** (1 / len(size))
        halo = self.field.halo
        if halo is not None and all(
            2 * one <= side / 2 or one >= length for one, length in zip(halo, size, strict=True)
        ):
            return list(halo), [0] * len(size)
        self.notes = (BLENDED,)
        strides = self.field.strides
        return (
            [-(-min(_BLENDED_HALO, int(side / 8)) // stride) * stride for stride in strides],
            [-(-min(_BLENDED_OVERLAP, int(side / 8)) // stride) * stride for stride in strides],
        )


_MEASURED: WeakKeyDictionary[SegmentationMethod, dict[str, Any]] = WeakKeyDictionary()


def _once(method: SegmentationMethod, what: str, measure: Callable[[], _Found]) -> _Found:
    """What is measured of a method, which takes some seconds of a large one, and does not change with its weights."""
    known = _MEASURED.setdefault(method, {})
    if what not in known:
        known[what] = measure()
        give_back()
    found: _Found = known[what]
    return found


def in_tiles(
    budget: Budget, read: Read, size: Sequence[int], on_phase: Callable[[str], object], beside: float | None = None
) -> TiledSegmentation:
    """The prediction for an image of a size, which `read` gives, in tiles that fit into the memory.

    `beside`: bytes that are held meanwhile; by default the image's results. What is done is said to `on_phase`.
    """
    plan = budget.plan(size, budget.results(math.prod(size)) if beside is None else beside)
    sums = []
    for tile in plan if budget.method.tiling.averages else ():
        on_phase(f"looking at all of it, tile {tile.number + 1} of {len(plan)}")
        sums.append(sums_at(budget.method, read, plan, tile))
    averages = averages_of(budget.method, sums) if sums else {}
    tiled = TiledSegmentation(budget.method, read, plan, averages, budget.chunk_elements())
    tiled.on_tile = lambda done: on_phase(f"tile {done} of {len(plan)}")
    return tiled
