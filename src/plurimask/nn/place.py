"""Where a tile lies in its image: what a network's pass over a tile must know of the whole.

Most layers look at a neighbourhood and need not know. Two do. Linear up-sampling with aligned corners stretches a map
by a ratio that depends on the size of the whole: a tile is interpolated at the places that the whole image would be.
And an average over all places of an image is not that of a tile: it is taken over all tiles beforehand, and known here.
Around a pass `placed` says so, as autocast says the precision. Without it an image is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """A tile's place in its image, in pixels, along each spatial axis."""

    start: tuple[int, ...]
    """Multiples of what the network pools together."""
    size: tuple[int, ...]
    whole: tuple[int, ...]
    """The size of the image."""
    averages: Mapping[nn.Module, Tensor] = field(default_factory=dict)
    """What modules that average over all places found, `(1, F)` each, for the whole image."""


_PLACE: ContextVar[Place | None] = ContextVar("place", default=None)


def here() -> Place | None:
    """The place of the tile that is passed through networks now; None for whole images."""
    return _PLACE.get()


@contextmanager
def placed(place: Place | None) -> Iterator[None]:
    """Inside, networks are passed by a tile at this place."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def known_average(module: nn.Module) -> Tensor | None:
    """What a module averages over the whole image, where that was found before; None where it is to be computed."""
    place = here()
    return None if place is None else place.averages.get(module)


class Neighbours(NamedTuple):
    """Of each place of a finer map along one axis: the two coarser ones around it, and the share of the second."""

    before: Tensor
    after: Tensor
    share: Tensor


def linear_rows(coarse: Tensor, size: Sequence[int], start: int, stop: int) -> Tensor:
    """Features `(B, F, *coarse)` linearly interpolated to `size` with aligned corners, as the tile's place asks: of the
    first axis only the rows from `start` to before `stop`."""
    # Selecting gives a plain layout: it is done on the layout that the features have.
    finer = coarse.movedim(1, -1).contiguous()
    for axis, length in enumerate(size):
        first, last = (start, stop) if axis == 0 else (0, length)
        finer = _along(finer, axis, length, first, last)
    return finer.to(coarse.dtype).movedim(-1, 1)


def _along(x: Tensor, axis: int, length: int, start: int, stop: int) -> Tensor:
    """`(B, *spatial, F)`, interpolated along one axis."""
    dim = axis + 1
    if x.shape[dim] == length:
        return x.narrow(dim, start, stop - start)
    near = _neighbours(axis, x.shape[dim], length, start, stop, x.device)
    before = x.index_select(dim, near.before).float()
    after = x.index_select(dim, near.after).float()
    return before.lerp_(after, near.share.view(-1, *[1] * (x.ndim - 1 - dim)).expand(after.shape))


def _neighbours(axis: int, coarse: int, fine: int, start: int, stop: int, device: torch.device) -> Neighbours:
    """Of the places from `start` to before `stop` of an axis that has `fine` places in a tile, and `coarse` before."""
    place = here()
    if place is None or place.size[axis] == place.whole[axis]:
        shift, origin, finest, coarsest = 0, 0, fine, coarse
    else:
        own, whole = place.size[axis], place.whole[axis]
        by_fine, by_coarse = pooled_by(own, fine), pooled_by(own, coarse)
        shift, origin = place.start[axis] // by_fine, place.start[axis] // by_coarse
        finest, coarsest = -(-whole // by_fine), -(-whole // by_coarse)
    targets = torch.arange(start + shift, stop + shift, dtype=torch.float32, device=device)
    places = targets * ((coarsest - 1) / max(1, finest - 1))
    above = places.long()
    before, after = ((above + step).clamp(max=coarsest - 1).sub(origin).clamp_(0, coarse - 1) for step in (0, 1))
    return Neighbours(before, after, places - above)


def pooled_by(size: int, places: int) -> int:
    """How many pixels of a tile's side of `size` one of its `places` is for: a power of two."""
    by = 1
    while -(-size // by) > places:
        by *= 2
    return by


def places_of_tile(place: Place, size: Sequence[int]) -> tuple[slice, ...]:
    """Which places of the whole image's features are the tile's, where those of the tile have this size."""
    first = [at // pooled_by(own, length) for at, own, length in zip(place.start, place.size, size, strict=True)]
    return tuple(slice(at, at + length) for at, length in zip(first, size, strict=True))
