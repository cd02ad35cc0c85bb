"""Base noise: what a distribution draws before it looks at its image, declared as parts and drawn in one place.

A part says whom its draws belong to, their law and their shape. `draw_noise` makes tensors of all parts, on the CPU, so
that a seed means the same on every device, and so that the first samples are the same however many are drawn.

Draws are independent of each other. Spread draws of latents are not: N of them stand for the normal distribution more
evenly than N independent ones, while each alone still follows it. They are the points of a Sobol sequence, scrambled at
random (linear scrambling and a digital shift, which keeps what Owen's scrambling keeps: Owen 1995; Matousek 1998),
through the quantile function of the normal distribution. Of 2^k draws each of the 2^k equally likely intervals of each
latent holds one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from plurimask.errors import InputError

Noise: TypeAlias = tuple[Tensor, ...]
"""A tensor for each part, with the N samples leading: `(N, *shape)`, or `(N, B, *shape)` of what belongs to images."""

_GROUP = 16
"""torch draws normal numbers in groups of 16, and others where the last group is not full."""
_GOLDEN = (math.sqrt(5) - 1) / 2
_BITS = 30
"""Binary digits of torch's Sobol points."""

MAX_SPREAD = 1024
"""Levels of latents are spread, coarse to fine, while they are so many together; the coarsest is in any case. Finer
ones gain nothing by it (docs/metrics.md): a few points in so many dimensions have few different patterns."""


class Generators(NamedTuple):
    """Random numbers for a batch whose images keep their own draws, whatever images are beside them."""

    shared: torch.Generator
    """For noise that belongs to weights: dropout masks, members of an ensemble."""
    images: tuple[torch.Generator, ...]
    """One per image, for noise that belongs to an image."""


RandomSource: TypeAlias = torch.Generator | Generators | None
_Stream: TypeAlias = torch.Generator | tuple[torch.Generator, ...]
"""One for all, or one for each image."""


@dataclass(frozen=True)
class NoisePart:
    """One part of the noise of a distribution."""

    kind: Literal["weights", "image", "places"]
    """Whom a draw belongs to: a network (one for all images), an image, or the places of an image, side by side."""
    law: Literal["normal", "uniform", "index", "seed"]
    """Standard normal or uniform from 0 to 1, float32; an index or the seed of a generator, int64."""
    shape: tuple[int, ...] = ()
    """Of one draw, of one image where it belongs to images; places have their spatial dimensions last."""
    count: int = 0
    """Of an index: how many there are."""
    weights: tuple[float, ...] | None = None
    """Of an index: how likely each is; equally if not given."""
    stride: tuple[int, ...] = ()
    """Of places: how many pixels one is for, along each dimension."""


def draw_noise(
    parts: Sequence[NoisePart],
    num_samples: int,
    batch_size: int,
    source: RandomSource,
    at_mean: Collection[int] = (),
    spread: bool = False,
) -> Noise:
    """N draws of each part, for a batch of B images.

    Parts of one law are drawn together. The first of such groups draws from the generator as it stands, every further
    one from a stream of its own, seeded by the state in which the generator came: so none depends on how many numbers
    another takes.

    Args:
        parts: what is drawn.
        num_samples: N.
        batch_size: B.
        source: a generator; one for each image and one for weights; or None for torch's own.
        at_mean: numbers of normal parts that are held at their mean, 0; the others are drawn as they would be without.
        spread: whether the draws of an image are spread evenly, of the parts that `spread_parts` gives; the others are
            drawn as they would be without. Each image has a scrambling of its own.

    Raises:
        ValueError: there is not one generator an image, or a part that is to be held has no mean.
        InputError: the draws cannot be spread.
    """
    spreading = spread_parts(parts) if spread else []
    if isinstance(source, Generators) and len(source.images) != batch_size:
        raise ValueError(f"{len(source.images)} generators for a batch of {batch_size} images: give one per image")
    if not all(0 <= number < len(parts) and parts[number].law == "normal" for number in at_mean):
        raise ValueError(
            f"parts {sorted(at_mean)} at the mean: expected numbers of normal parts, of {len(parts)} parts from 0 on"
        )
    groups: dict[tuple[bool, str, int], list[int]] = {}
    for number, part in enumerate(parts):
        of_its_law = -1 if part.law != "index" else number
        groups.setdefault((part.kind == "weights", part.law, of_its_law), []).append(number)
    streams = _streams(source, [*(of_weights for of_weights, *_ in groups), *[False] * spread])
    noise: dict[int, Tensor] = {}
    for stream, ((of_weights, *_), numbers) in zip(streams, groups.items(), strict=False):
        batch = () if of_weights else (batch_size,)
        drawn = _draw_group([parts[number] for number in numbers], num_samples, batch, stream)
        noise |= dict(zip(numbers, drawn, strict=True))
    if spreading:
        even = _spread_draws([parts[number] for number in spreading], num_samples, batch_size, streams[-1])
        noise |= dict(zip(spreading, even, strict=True))
    return tuple(torch.zeros_like(noise[n]) if n in at_mean else noise[n] for n in range(len(parts)))


def spread_parts(parts: Sequence[NoisePart]) -> list[int]:
    """Which parts can be spread: latents of an image; of levels of maps the coarsest ones (`MAX_SPREAD`).

    Raises:
        InputError: there is something else to draw than latents, or the coarsest level has more numbers than the
            sequence has dimensions; says why.
    """
    for part in parts:
        if part.kind == "weights" or part.law != "normal":
            raise InputError(
                "spread draws are for methods that draw latents of an image, and this one draws "
                f"{_without_latents(part)}: ask for independent draws"
            )
    sizes = [math.prod(part.shape) for part in parts]
    if sizes[0] > SobolEngine.MAXDIM:
        raise InputError(
            f"spread draws are for at most {SobolEngine.MAXDIM:,} latents, and the coarsest map of this image has "
            f"{' x '.join(map(str, parts[0].shape))}: ask for independent draws, or give smaller images"
        )
    return [number for number in range(len(parts)) if number == 0 or sum(sizes[: number + 1]) <= MAX_SPREAD]


def can_spread(parts: Sequence[NoisePart]) -> bool:
    """Whether draws of such parts can be spread."""
    try:
        return bool(spread_parts(parts))
    except InputError:
        return False


def _without_latents(part: NoisePart) -> str:
    """What a part that is no latent is, in words."""
    if part.law == "index":
        several = "one of several maps or networks, each of them once before any repeats, which is as even as can be"
        return "nothing" if part.count == 1 else several
    whose = "weights or masks of a network" if part.kind == "weights" else "pixels"
    return f"{whose} by a seed" if part.law == "seed" else f"{part.law} numbers for {whose}"


def take(noise: Noise, index: slice | Tensor) -> Noise:
    """The samples `index` of a noise."""
    return tuple(part[index] for part in noise)


def parts_of_whole(parts: Sequence[NoisePart], size: Sequence[int]) -> list[NoisePart]:
    """The parts of an image of `size` pixels, from those of a tile of it: what belongs to places has more of them."""
    whole = []
    for part in parts:
        if part.kind == "places":
            places = (-(-length // stride) for length, stride in zip(size, part.stride, strict=True))
            part = replace(part, shape=(*part.shape[: -len(part.stride)], *places))
        whole.append(part)
    return whole


def noise_at(noise: Noise, parts: Sequence[NoisePart], start: Sequence[int]) -> Noise:
    """Of the noise of a whole image that of a tile with these `parts`, which begins at the pixel `start`: of what
    belongs to places those of the tile, of all else everything."""
    own = []
    for whole, part in zip(noise, parts, strict=True):
        if part.kind == "places":
            first = [at // stride for at, stride in zip(start, part.stride, strict=True)]
            shape = part.shape[-len(part.stride) :]
            for axis, (at, length) in enumerate(zip(first, shape, strict=True)):
                whole = whole.narrow(axis - len(shape), at, length)
        own.append(whole)
    return tuple(own)


def _streams(source: RandomSource, of_weights: Sequence[bool]) -> list[_Stream]:
    """Where each group draws from."""
    if not isinstance(source, Generators):
        return [_stream(source, place) for place in range(len(of_weights))]
    places = [of_weights[:place].count(shared) for place, shared in enumerate(of_weights)]
    return [
        _stream(source.shared, place) if shared else tuple(_stream(generator, place) for generator in source.images)
        for place, shared in zip(places, of_weights, strict=True)
    ]


def _stream(generator: torch.Generator | None, place: int) -> torch.Generator:
    generator = torch.default_generator if generator is None else generator
    if place == 0:
        return generator
    digest = hashlib.sha256(generator.get_state().numpy().tobytes() + bytes([place])).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _draw_group(parts: Sequence[NoisePart], num_samples: int, batch: tuple[int, ...], stream: _Stream) -> list[Tensor]:
    """Draws of parts of one law, which share each sample's random numbers."""
    if isinstance(stream, tuple):
        of_images = [_draw_group(parts, num_samples, (), generator) for generator in stream]
        return [torch.stack(of_part, dim=1) for of_part in zip(*of_images, strict=True)]
    law = parts[0].law
    if law == "index":
        return [_indices(parts[0], num_samples, stream)]
    sizes = [math.prod(part.shape) for part in parts]
    if law == "seed":
        together = torch.randint(2**62, (num_samples, *batch, sum(sizes)), generator=stream)
    else:
        full = _GROUP // math.gcd(_GROUP, math.prod(batch) * sum(sizes))  # samples that end with a group
        rows = -(-num_samples // full) * full
        draw = torch.randn if law == "normal" else torch.rand
        together = draw(rows, *batch, sum(sizes), generator=stream)[:num_samples]
    shares: tuple[Tensor, ...] = torch.split(together, sizes, dim=-1)
    return [share.reshape(num_samples, *batch, *part.shape) for share, part in zip(shares, parts, strict=True)]


def _spread_draws(parts: Sequence[NoisePart], num_samples: int, batch_size: int, stream: _Stream) -> list[Tensor]:
    """Spread draws of normal parts `(N, B, *shape)`, which are one point of a sequence together."""
    streams = stream if isinstance(stream, tuple) else (stream,) * batch_size
    sizes = [math.prod(part.shape) for part in parts]
    points = _sobol_points(num_samples, sum(sizes))
    draws = torch.stack([torch.special.ndtri(_scrambled(points, generator)).float() for generator in streams], dim=1)
    shares: tuple[Tensor, ...] = torch.split(draws, sizes, dim=-1)
    return [share.reshape(num_samples, batch_size, *part.shape) for share, part in zip(shares, parts, strict=True)]


def _sobol_points(num: int, dimension: int) -> Tensor:
    """The first points `(num, dimension)` of the sequence, whole numbers below 2^30, int64."""
    engine = SobolEngine(dimension)  # type: ignore[no-untyped-call]
    points: Tensor = (engine.draw(num, dtype=torch.float64) * 2**_BITS).long()
    return points


def _scrambled(points: Tensor, generator: torch.Generator) -> Tensor:
    """Points scrambled at random: float64 from 0 to 1, both excluded.

    In each dimension the binary digits are multiplied by a random lower triangular matrix of ones on the diagonal, and
    random digits are added, modulo 2. What is drawn does not depend on the number of points.
    """
    num, dimension = points.shape
    places = torch.arange(_BITS - 1, -1, -1)  # of the digits, the most significant first
    drawn = torch.randint(2**_BITS, (dimension, _BITS + 1), generator=generator)
    columns = (drawn[:, :_BITS] & ((1 << places) - 1)) | (1 << places)
    scrambled = drawn[:, _BITS].repeat(num, 1)
    for digit in range((num - 1).bit_length()):  # of further digits all points have 0
        scrambled ^= columns[:, digit] * ((points >> (_BITS - 1 - digit)) & 1)
    middle: Tensor = (scrambled.double() + 0.5) / 2**_BITS  # of a cell
    return middle


def _indices(part: NoisePart, num_samples: int, generator: torch.Generator) -> Tensor:
    """`(N,)` indices below the count: if they are equally likely, each once in random order before any comes again.

    Else point i of the sequence u + i (sqrt(5) - 1) / 2 modulo 1 chooses by the cumulated weights: each draw has the
    weights' probabilities, and of N together each index has its share of N, give or take one or two.
    """
    if part.weights is None:
        rounds = [torch.randperm(part.count, generator=generator) for _ in range(0, num_samples, part.count)]
        return torch.cat([*rounds, torch.empty(0, dtype=torch.long)])[:num_samples]
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    points = (start + _GOLDEN * torch.arange(num_samples, dtype=torch.float64)) % 1
    edges = torch.tensor(part.weights, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(edges / edges[-1], points).clamp(max=part.count - 1)
