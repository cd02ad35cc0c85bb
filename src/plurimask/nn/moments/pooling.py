"""Moments after pooling and resizing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from plurimask.nn.moments.activation import is_compiled
from plurimask.nn.moments.fused import BLOCK, fused_larger
from plurimask.nn.moments.moments import Moments, Propagation, Spent

_AVERAGE: dict[int, Any] = {2: functional.avg_pool2d, 3: functional.avg_pool3d}
_LINEAR = ("linear", "bilinear", "trilinear")
_FAR = 20.0
"""Standard deviations: a value so far below another is never the larger one, to the last digit."""


# ---- averages: exact ----------------------------------------------------------------------------------------------


def average_pool(x: Moments, window: dict[str, Any], how: Propagation) -> Moments:
    """The mean of n values has 1 / n^2 of the sum of their variances; at the border n may be smaller.

    `window` is what `avg_pool2d` or `avg_pool3d` takes.
    """
    pool = _AVERAGE[x.mean.ndim - 2]
    ones = torch.ones_like(x.mean[:1, :1], dtype=torch.float32)
    # Of ones, the sum is how many values there are, and the mean that number over the divisor.
    divisor = pool(ones, **{**window, "divisor_override": 1}) / pool(ones, **window)
    mean, variance = pool(x.mean, **window), pool(x.variance, **window)
    return Spent(mean, variance.div_(divisor.to(variance.dtype))).raised(how.floor)


# ---- the largest of a window --------------------------------------------------------------------------------------


class Window(NamedTuple):
    """Of a max-pool, a number for each axis."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool


def max_pool(x: Moments, window: Window, how: Propagation) -> Moments:
    """The largest of each window, by the exact largest of two again and again (Clark 1961; `Propagation.max_pool`).

    What is approximated: the larger of two Gaussians, taken on as if it were Gaussian too. The tests bound the error.

    Raises:
        ValueError: "symmetric", and the window has not two places along each of two axes.
    """
    larger = partial(_larger, compiled=is_compiled(how, x))
    if how.max_pool == "pairwise":
        for axis in reversed(range(len(window.kernel_size))):
            x = reduce(larger, _taps(x, window, axis))
        return x.raised(how.floor)
    if window.kernel_size != (2, 2):
        raise ValueError(f"max_pool='symmetric' is for windows of 2 x 2, not {window.kernel_size}: use 'pairwise'")
    a, b, c, d = (one for row in _taps(x, window, 0, whole=True) for one in _taps(row, window, 1, whole=True))
    pairings = (((a, b), (c, d)), ((a, c), (b, d)), ((a, d), (b, c)))
    means, variances = zip(*(larger(larger(*one), larger(*other)) for one, other in pairings), strict=True)
    return Moments(sum(means[1:], means[0]) / 3, sum(variances[1:], variances[0]) / 3).raised(how.floor)


def _larger(one: Moments, other: Moments, compiled: bool) -> Moments:
    """The larger of two; where the second is shorter along some axis, the rest of the first has no rival."""
    for axis in range(2, one.mean.ndim):
        common, length = other.mean.shape[axis], one.mean.shape[axis]
        if common < length:
            alone = one.moved(lambda values, a=axis, c=common, n=length: values.narrow(a, c, n - c))  # type: ignore[misc]
            rivals = one.moved(lambda values, a=axis, c=common: values.narrow(a, 0, c))  # type: ignore[misc]
            both = _larger(rivals, other, compiled)
            return Moments(*(torch.cat(parts, axis) for parts in zip(both, alone, strict=True)))
    return Moments(*fused_larger(one, other, compiled))


def _taps(x: Moments, window: Window, axis: int, whole: bool = False) -> list[Moments]:
    """For each place of the window along an axis, the values that lie under it, one for each window.

    Under the last places fewer windows have values where windows reach beyond the end; `whole`: values that are never
    the largest stand there instead.
    """
    size, step, pad, apart = (part[axis] for part in window[:4])
    length = x.mean.shape[axis + 2]
    reach = length + 2 * pad - apart * (size - 1) - 1
    count = (-(-reach // step) if window.ceil_mode else reach // step) + 1
    if (count - 1) * step >= length + pad:  # the last window would begin beyond the end
        count -= 1
    after = (count - 1) * step + apart * (size - 1) + 1 - pad - length
    if pad or (after > 0 and (whole or (size, apart) != (step, 1))):
        x = _padded(x, axis, pad, max(0, after))
    reach, later_axes = (count - 1) * step + 1, [slice(None)] * (x.mean.ndim - 3 - axis)
    starts = [place * apart for place in range(size) if place * apart < x.mean.shape[axis + 2]]
    return [x.moved(itemgetter((..., slice(start, start + reach, step), *later_axes))) for start in starts]


def _padded(x: Moments, axis: int, before: int, after: int) -> Moments:
    """With sure values in front and behind that are never the largest."""
    mean, variance = x.mean.detach(), x.variance.detach()
    rounding = 4 * torch.finfo(mean.dtype).eps * float(mean.abs().amax()) + 1e-12
    low = float(mean.amin().double() - _FAR * variance.amax().double().sqrt()) - rounding
    sides = [0, 0] * (x.mean.ndim - 3 - axis) + [before, after]
    return Moments(functional.pad(x.mean, sides, value=low), functional.pad(x.variance, sides, value=0.0))


# ---- resizing: exact ----------------------------------------------------------------------------------------------


class Resizing(NamedTuple):
    """What `interpolate` takes. One of size and scale_factor is given."""

    size: Any = None
    scale_factor: Any = None
    mode: str = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None
    antialias: bool = False


def resize(x: Moments, to: Resizing, how: Propagation) -> Moments:
    """To another size. Linear interpolation is a weighted sum: the variances take the squares of the weights.

    (Published code interpolates the variances with the weights themselves, which is up to twice too much along each
    axis.) Nearest copies both. Each pixel is exact; that neighbours share sources is neglected.

    Raises:
        ValueError: another mode, or antialias.
    """
    if to.antialias or to.mode not in ("nearest", "nearest-exact", *_LINEAR):
        kind = "antialias" if to.antialias else f"mode={to.mode!r}"
        raise ValueError(f"interpolate with {kind} has no moments here: use nearest, bilinear or trilinear")
    mean = functional.interpolate(x.mean, **to._asdict())
    if to.mode not in _LINEAR:
        return Moments(mean, functional.interpolate(x.variance, **to._asdict()))
    factors = to.scale_factor if isinstance(to.scale_factor, Sequence) else [to.scale_factor] * (mean.ndim - 2)
    mixtures: dict[int, _Mixture] = {}
    for axis, factor in enumerate(factors):
        sizes = x.mean.shape[axis + 2], mean.shape[axis + 2]
        if sizes[0] != sizes[1]:
            given = None if to.recompute_scale_factor else factor
            mixtures[axis + 2] = _mixture(sizes, bool(to.align_corners), given, x.variance)
    return Moments(mean, _interpolated(x.variance, mixtures, how.floor))


class _Mixture(NamedTuple):
    """Along an axis, which two places each place is mixed of, and the squared weights of linear interpolation."""

    lower: Tensor
    upper: Tensor
    of_lower: Tensor
    of_upper: Tensor


def _mixture(sizes: tuple[int, int], align_corners: bool, factor: float | None, like: Tensor) -> _Mixture:
    """Of an axis' sizes before and after; `factor`: how far apart the places lie, if not as far as the sizes say."""
    before, after = sizes
    places = torch.arange(after, dtype=torch.float64)
    if align_corners:
        source = places * ((before - 1) / max(1, after - 1))  # in units of the places before
    else:
        source = ((places + 0.5) * (1 / factor if factor else before / after) - 0.5).clamp(min=0)
    lower = source.long().clamp(max=before - 1)
    upper = (lower + 1).clamp(max=before - 1)
    share = torch.where(upper == lower, 0, (source - lower).clamp(max=1))
    weights = ((1 - share).square().to(like), share.square().to(like))
    return _Mixture(lower.to(like.device), upper.to(like.device), *weights)


def _interpolated(variance: Tensor, mixtures: Mapping[int, _Mixture], floor: float) -> Tensor:
    # Selecting gives a plain layout: it is done on the layout that the features have.
    is_last = variance.ndim == 4 and variance.is_contiguous(memory_format=torch.channels_last)
    order = (0, 2, 3, 1) if is_last else tuple(range(variance.ndim))
    plain = variance.permute(order)
    by_axis = {order.index(dim): mixture for dim, mixture in mixtures.items()}
    if not by_axis:
        return variance + floor
    if plain.device.type != "cpu" or (plain.requires_grad and torch.is_grad_enabled()):
        mixed = _mixed(plain, by_axis) + floor
    else:
        mixed = _in_parts(plain, by_axis, floor)
    return mixed.permute([order.index(place) for place in range(variance.ndim)])


def _mixed(values: Tensor, mixtures: Mapping[int, _Mixture]) -> Tensor:
    for axis, (lower, upper, of_lower, of_upper) in mixtures.items():
        shape = [-1 if place == axis else 1 for place in range(values.ndim)]
        near = values.index_select(axis, lower).mul_(of_lower.view(shape))
        far, share = values.index_select(axis, upper), of_upper.view(shape)
        values = near + far * share if far.requires_grad else near.addcmul_(far, share)
    return values


def _in_parts(values: Tensor, mixtures: Mapping[int, _Mixture], floor: float) -> Tensor:
    """`_mixed` of a part of an axis' places at a time, so that what is between stays in a processor's cache."""
    shape = [len(mixtures[place].lower) if place in mixtures else size for place, size in enumerate(values.shape)]
    axis = min(mixtures)
    length = max(1, BLOCK * shape[axis] // max(1, math.prod(shape)))
    mixed = values.new_empty(shape)
    for start in range(0, shape[axis], length):
        places = slice(start, min(start + length, shape[axis]))
        part = _mixed(values, {**mixtures, axis: _Mixture(*(one[places] for one in mixtures[axis]))})
        torch.add(part, floor, out=mixed.narrow(axis, start, part.shape[axis]))
    return mixed
