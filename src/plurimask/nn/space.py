"""The space that a network works in: its dimensions, and what happens along each axis from scale to scale.

The axes of a volume differ: slices may be 5 mm apart where pixels are 0.7 mm, and there may be few of them. A network
that treats all axes alike would mix what is far apart and pool a short axis away. `pooling_of` chooses instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

PerScale: TypeAlias = tuple[tuple[int, ...], ...]
"""Numbers for each scale, finest first, one along each axis."""

LEAST_SIZE = 4
"""Places of the coarsest features along an axis that is pooled, at least (Isensee et al. 2021)."""
_NEAR = 2.0
"""Spacings whose ratio is below this count as alike."""


class Space(NamedTuple):
    """How many dimensions, and how each scale treats them; by default all axes alike."""

    dims: int = 2
    strides: PerScale = ()
    """Pooling from each scale to the next: 1 or 2 along each axis; empty: 2 everywhere."""
    kernels: PerScale = ()
    """Of the convolutions of each scale: 1 or 3 along each axis; empty: 3 everywhere."""

    def stride(self, scale: int) -> tuple[int, ...]:
        """From a scale, the finest being 0, to the next coarser."""
        return self.strides[scale] if self.strides else (2,) * self.dims

    def kernel(self, scale: int) -> tuple[int, ...]:
        """Of the convolutions at a scale."""
        return self.kernels[scale] if self.kernels else (3,) * self.dims

    def coarser(self, number: int) -> Space:
        """The space of a network that begins so many scales further down."""
        return self._replace(strides=self.strides[number:], kernels=self.kernels[number:])

    def sizes(self, size: Sequence[int], num_scales: int) -> list[tuple[int, ...]]:
        """The sizes of an encoder's features for images of `size`, finest first: pooling rounds up."""
        sizes = [tuple(size)]
        for scale in range(num_scales - 1):
            sizes.append(tuple(math.ceil(one / by) for one, by in zip(sizes[-1], self.stride(scale), strict=True)))
        return sizes

    def total_strides(self, num_scales: int) -> list[tuple[int, ...]]:
        """Pixels of the image that a place of each scale is for, along each axis, finest first."""
        totals = [(1,) * self.dims]
        for scale in range(num_scales - 1):
            totals.append(tuple(one * by for one, by in zip(totals[-1], self.stride(scale), strict=True)))
        return totals

    def fault(self, num_scales: int) -> str | None:
        """What is wrong with it for a network of so many scales, in words; None if nothing is."""
        for name, own, count, allowed in (
            ("strides", self.strides, num_scales - 1, (1, 2)),
            ("kernels", self.kernels, num_scales, (1, 3)),
        ):
            if own and not (
                len(own) == count and all(len(axes) == self.dims and {*axes} <= {*allowed} for axes in own)
            ):
                return (
                    f"{name} must be {count} times {self.dims} numbers, each {allowed[0]} or {allowed[1]}, for "
                    f"{num_scales} scales in {self.dims} dimensions, not {own}"
                )
        return None


PLANE = Space()


def pooling_of(
    size: Sequence[int], spacing: Sequence[float] | None, num_scales: int, least_size: int = LEAST_SIZE
) -> Space:
    """The space of a network for images or patches of `size`, whose pixels are `spacing` apart.

    From scale to scale those axes are halved that leave at least `least_size` places and whose spacing is less than
    twice that of the finest of them; so spacings become alike, and then all are halved together. A kernel is 1 along an
    axis whose spacing is still twice that of the finest axis or more, and 3 from the first scale on where it is not.
    Where no axis can be halved any more the further scales have the size of the last.

    Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
    Methods 2021, on the topology of its networks.

    Args:
        size: along each axis, of what the network is trained on.
        spacing: along each axis, in any unit; None if it is not known: all axes count as alike.
        num_scales: of the network; nnU-Net adds scales while an axis can be halved, here they are given.
        least_size: places along an axis that a scale has at least, where the axis was halved.
    """
    sizes, spacings = list(size), [1.0] * len(size) if spacing is None else list(spacing)
    strides, kernels = [], []
    kernel = [1] * len(sizes)
    for scale in range(num_scales):
        finest = min(spacings)
        kernel = [3 if side == 3 or own / finest < _NEAR else 1 for side, own in zip(kernel, spacings, strict=True)]
        kernels.append(tuple(kernel))
        if scale == num_scales - 1:
            break
        long = [axis for axis, length in enumerate(sizes) if length >= 2 * least_size]
        finest_long = min((spacings[axis] for axis in long), default=math.inf)
        halved = {axis for axis in long if spacings[axis] / finest_long < _NEAR}
        strides.append(tuple(2 if axis in halved else 1 for axis in range(len(sizes))))
        sizes = [math.ceil(length / by) for length, by in zip(sizes, strides[-1], strict=True)]
        spacings = [own * by for own, by in zip(spacings, strides[-1], strict=True)]
    return Space(len(sizes), tuple(strides), tuple(kernels))
