"""The distribution over label maps of an image that is too large to be computed at once.

It is that of the whole image: its noise is drawn for the whole, and a tile takes its part of what belongs to places, so
that each sample is one map. What a network finds by an average over the whole image is found first, tile by tile. Each
tile's logits are computed when they are needed, a bounded number of samples at a time, and never kept: what is kept are
label maps and running statistics.

Where no halo makes a tile's scores those of the whole image, tiles overlap, and in the overlap the logits go over
linearly from one tile to the next, along one axis after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from plurimask.distribution import (
    MAX_CHUNK_ELEMENTS,
    MixtureSegmentation,
    RunningStatistics,
    SegmentationDistribution,
    Statistics,
)
from plurimask.method import SegmentationMethod
from plurimask.nn.place import Place, placed
from plurimask.nn.strips import strips_of
from plurimask.noise import Noise, RandomSource, noise_at, parts_of_whole, take
from plurimask.prediction.device import fast_precision, images_in_layout
from plurimask.prediction.field import averaging_modules
from plurimask.prediction.tiles import Box, Tile, TilePlan, along_last

Read: TypeAlias = Callable[[Box], Tensor]
"""A box of the image -> its pixels `(K, *box)`, float32, as the network sees them."""
EdgeKey: TypeAlias = tuple[tuple[int, ...], int]
Edges: TypeAlias = dict[EdgeKey, Tensor]
"""What tiles computed beyond their cores, for blending: by the place in the grid of the tile that owns it, and the axis
along which that comes next. Logits `(N, 1, C, *zone)`."""
_STRIP_ROWS = 128
"""Of a tile's finest features: enough that the rows around them cost little."""


class TileSums(NamedTuple):
    """What a tile adds to the averages over the image, of each averaging module."""

    total: list[Tensor]
    """`(F,)`, float64."""
    places: list[int]


class TiledSegmentation(SegmentationDistribution):
    """One image in tiles.

    Args:
        method: in evaluation mode.
        read: gives the image.
        plan: of its tiles.
        averages: over the whole image, of the modules that need them (`averages_of`).
        chunk_elements: logits of so many samples are computed at once as have so many elements.
    """

    def __init__(
        self,
        method: SegmentationMethod,
        read: Read,
        plan: TilePlan,
        averages: Mapping[nn.Module, Tensor] = {},
        chunk_elements: int = MAX_CHUNK_ELEMENTS,
    ) -> None:
        self.method, self.read, self.plan, self.averages = method, read, plan, dict(averages)
        self.chunk_elements = chunk_elements
        self.on_tile: Callable[[int], object] = int
        first = self._first(len(read(tuple(slice(0, 1) for _ in plan.whole))))
        device = next(method.parameters()).device
        batch, classes = first.logits_shape[:2]
        super().__init__((batch, classes, *plan.whole), device, parts_of_whole(first.noise, plan.whole))
        self.finite = first.components()
        self.has_closed_form = first.closed_form is not None and self.finite is None

    def _first(self, num_channels: int) -> SegmentationDistribution:
        """Of a smallest image, which shows what is drawn."""
        device = next(self.method.parameters()).device
        image = torch.zeros(1, num_channels, *[1] * len(self.plan.whole), device=device)
        ones = (1,) * len(self.plan.whole)
        with torch.inference_mode(), placed(Place((0,) * len(ones), ones, ones, self.averages)):
            first: SegmentationDistribution = self.method(image)
        return first

    # ---- one tile -------------------------------------------------------------------------------------------------

    def predicted(self, tile: Tile) -> SegmentationDistribution:
        """Of a tile's window; inside `at(tile)`."""
        image = _batch(self.read(tile.window), self.method)
        with fast_precision(image.device):
            prediction: SegmentationDistribution = self.method(image)
        return prediction

    def place(self, tile: Tile) -> Place:
        return Place(tile.start, tile.size, self.plan.whole, self.averages)

    @torch.inference_mode()
    def statistics_at(self, tile: Tile, draws: Noise, weights: Tensor, edges: Edges) -> tuple[Statistics, Edges]:
        """Statistics of the core of a tile, and what it computed of the cores after it.

        A function of the image, the tile and the noise; where tiles are blended, of the `edges` of those before it.

        Args:
            tile: of the plan.
            draws: noise of the whole image.
            weights: of the draws, `(M,)`.
            edges: given by the tiles before.
        """
        with placed(self.place(tile)), strips_of(_STRIP_ROWS * tile.size[-1]):
            prediction = self.predicted(tile)
            own = noise_at(draws, prediction.noise, tile.start)
            running: RunningStatistics | None = None
            given: dict[EdgeKey, list[Tensor]] = {}
            step = max(1, self.chunk_elements // prediction.draw_elements)
            for start in range(0, len(weights), step):
                part = slice(start, min(start + step, len(weights)))
                before = {key: one[part] for key, one in edges.items() if key[0] == tile.index}
                logits = _owned(prediction.logits(take(own, part)), tile, self.plan, before, given)
                running = running or RunningStatistics(len(weights), logits)
                running.add(logits, part, weights[part].to(logits.device))
            assert running is not None
            found = running.result
            if self.has_closed_form:
                found = _with_closed_form(found, prediction, (slice(None), *tile.inner))
        return found, {key: torch.cat(parts) for key, parts in given.items()}

    def logits_at(self, tile: Tile, draws: Noise, edges: Edges) -> tuple[Tensor, Edges]:
        """Logits `(N, 1, C, *core)`, and what was computed of the cores after it."""
        given: dict[EdgeKey, list[Tensor]] = {}
        with torch.inference_mode(), placed(self.place(tile)), strips_of(_STRIP_ROWS * tile.size[-1]):
            prediction = self.predicted(tile)
            logits = prediction.logits(noise_at(draws, prediction.noise, tile.start))
            return _owned(logits, tile, self.plan, edges, given), {key: parts[0] for key, parts in given.items()}

    # ---- the whole ------------------------------------------------------------------------------------------------

    def scores(self, noise: Noise) -> Tensor:
        """Of the whole image: as large as logits are."""
        whole, edges = torch.empty(len(noise[0]), *self.logits_shape), Edges()
        for tile in self.plan:
            logits, given = self.logits_at(tile, noise, edges)
            whole[along_last(tile.core, whole.ndim)] = logits.cpu()
            edges = _remaining(edges, tile) | given
        return whole

    def statistics_of(self, draws: Noise, weights: Tensor, on_draws: Callable[[int], object] = int) -> Statistics:
        classes, whole = self.logits_shape[1], self.plan.whole
        result = Statistics(
            torch.empty(len(weights), 1, *whole, dtype=torch.uint8),
            *(torch.empty(1, *some, *whole) for some in ((classes,), (), (classes,))),
        )
        for tile, found in self.tiles(draws, weights):
            part: Tensor
            for part, own in zip(result, found, strict=True):
                part[along_last(tile.core, part.ndim)] = own.cpu()
            self.on_tile(tile.number + 1)
        on_draws(len(weights))
        return result

    def tiles(self, draws: Noise, weights: Tensor) -> Iterator[tuple[Tile, Statistics]]:
        """Statistics of all tiles, in their order."""
        edges = Edges()
        for tile in self.plan:
            found, given = self.statistics_at(tile, draws, weights, edges)
            edges = _remaining(edges, tile) | given
            yield tile, found

    def sample(
        self, num_samples: int, generator: RandomSource = None, at_mean: Collection[int] = (), spread: bool = False
    ) -> Tensor:
        draws = self.draw_noise(num_samples, generator, at_mean, spread)
        return self.statistics_of(draws, torch.full((num_samples,), 1 / num_samples)).maps

    def components(self) -> MixtureSegmentation | None:
        """As of any tile: which networks or heads they are is not a matter of place."""
        if self.finite is None:
            return None
        shares = self.finite.weights.tolist()
        return MixtureSegmentation(self, self.finite.draws, None if len(set(shares)) == 1 else shares)


# ---- averages over the whole image -----------------------------------------------------------------------------------


def sums_at(method: SegmentationMethod, read: Read, plan: TilePlan, tile: Tile) -> TileSums:
    """What a tile adds: the sums over its core's places of the features that are averaged."""
    image, totals, counts = _batch(read(tile.window), method), [], []
    place = Place(tile.start, tile.size, plan.whole)
    with torch.inference_mode(), placed(place), strips_of(_STRIP_ROWS * tile.size[-1]), fast_precision(image.device):
        for module in averaging_modules(method):
            features: Tensor = module.averaged(image)[0]  # type: ignore[operator]
            own = features[(slice(None), *_places_of_core(tile, features.shape[1:]))].flatten(1)
            totals.append(own.double().sum(1).cpu())
            counts.append(own.shape[1])
    return TileSums(totals, counts)


def averages_of(method: SegmentationMethod, sums: Sequence[TileSums]) -> dict[nn.Module, Tensor]:
    """The averages `(1, F)`, float32, from the sums of all tiles in their order."""
    averages = {}
    for number, module in enumerate(averaging_modules(method)):
        total = torch.stack([one.total[number] for one in sums]).sum(0)
        averages[module] = (total / sum(one.places[number] for one in sums)).float()[None]
    return averages


def _places_of_core(tile: Tile, size: Sequence[int]) -> Box:
    """The core's places among the coarse ones of a window."""
    box = []
    for inner, pixels, places in zip(tile.inner, tile.size, size, strict=True):
        by = 2 ** math.ceil(math.log2(pixels / places))
        box.append(slice(inner.start // by, -(-inner.stop // by)))
    return tuple(box)


# ---- blending -------------------------------------------------------------------------------------------------------


def _owned(logits: Tensor, tile: Tile, plan: TilePlan, edges: Edges, given: dict[EdgeKey, list[Tensor]]) -> Tensor:
    """Of logits `(n, 1, C, *window)` those of the core, blended with what tiles before gave; what tiles after need is
    added to `given`."""
    ends = [
        min(side.stop + more, length) for side, more, length in zip(tile.inner, plan.overlap, tile.size, strict=True)
    ]
    box = tuple(slice(side.start, end) for side, end in zip(tile.inner, ends, strict=True))
    own = logits[along_last(box, logits.ndim)]
    for axis in reversed(range(len(plan.whole))):
        dim, length = axis + 3, tile.core[axis].stop - tile.core[axis].start
        if own.shape[dim] > length:
            following = tuple(at + (other == axis) for other, at in enumerate(tile.index))
            given.setdefault((following, axis), []).append(own.narrow(dim, length, own.shape[dim] - length).clone())
            own = own.narrow(dim, 0, length)
        zone = plan.zone(tile, axis)
        if zone is not None:
            width = zone.stop - zone.start
            share = ((torch.arange(width, device=own.device) + 0.5) / width).view(-1, *[1] * (own.ndim - 1 - dim))
            own = own.clone()
            mixed = own.narrow(dim, 0, width)
            mixed.copy_(torch.lerp(edges[tile.index, axis].to(own.device), mixed, share))
    return own


def _remaining(edges: Edges, tile: Tile) -> Edges:
    """Without those that only this tile needed."""
    return {key: one for key, one in edges.items() if key[0] != tile.index}


def _with_closed_form(found: Statistics, prediction: SegmentationDistribution, box: Box) -> Statistics:
    """The maps of draws, with the statistics that need none."""
    exact = prediction.closed_form
    assert exact is not None
    expected = exact.entropy() - exact.mutual_information()
    return Statistics(
        found.maps, exact.mean()[(slice(None), *box)], expected[box], exact.variance()[(slice(None), *box)]
    )


def _batch(image: Tensor, method: SegmentationMethod) -> Tensor:
    """An image `(K, *spatial)` as a batch of one, where the method is."""
    return images_in_layout(image[None].to(next(method.parameters()).device), "channels_last")
