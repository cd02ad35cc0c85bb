"""Convolutions in 2 and 3 dimensions, and the one that follows an up-sampling to the double."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


def _is_faulty(x: Tensor, padding: Sequence[int]) -> bool:
    """Whether torch 2.13 reads memory that nobody wrote in the backward pass of a convolution of `x`.

    It does for volumes of two slices, with kernels of depth 3, in bf16 on a processor: gradients of weights may be NaN.
    One slice of zeros more, where the padding has them, changes no value.
    """
    return x.shape[2] == 2 and padding[0] == 1 and x.device.type == "cpu" and torch.is_grad_enabled()


def convolve_volumes(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int | Sequence[int] = 0) -> Tensor:
    """`conv3d`, also of two slices."""
    own = (padding,) * 3 if isinstance(padding, int) else tuple(padding)
    if not _is_faulty(x, own):
        return functional.conv3d(x, weight, bias, padding=own)
    return functional.conv3d(functional.pad(x, _ONE_SLICE), weight, bias, padding=own)[:, :, :2]


_ONE_SLICE = (0, 0, 0, 0, 0, 1)


def _lengthen(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Before an `nn.Conv3d`, as in `convolve_volumes`: the layer itself stays what everybody knows."""
    (x,) = inputs
    if not _is_faulty(x, layer.padding):  # type: ignore[arg-type]
        return None
    longer = functional.pad(x, _ONE_SLICE)
    longer.is_lengthened = True  # type: ignore[attr-defined]
    return (longer,)


def _shorten(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
    return output[:, :, :2] if getattr(inputs[0], "is_lengthened", False) else None


HARMLESS_HOOKS = frozenset((_lengthen, _shorten))
"""They change no value: what looks at a layer may pass them by."""

CONVOLVE: dict[int, Callable[..., Tensor]] = {2: functional.conv2d, 3: convolve_volumes}
CONVOLVE_TRANSPOSED = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def padded_convolution(in_channels: int, out_channels: int, kernel: Sequence[int]) -> nn.Conv2d | nn.Conv3d:
    """A convolution with this odd kernel, a number for each axis, that keeps the size of its inputs."""
    kind: Any = CONVOLUTION[len(kernel)]
    layer: nn.Conv2d | nn.Conv3d = kind(
        in_channels, out_channels, kernel_size=tuple(kernel), padding=tuple(side // 2 for side in kernel)
    )
    if isinstance(layer, nn.Conv3d):
        layer.register_forward_pre_hook(_lengthen)
        layer.register_forward_hook(_shorten)
    return layer


def thinned(x: Tensor, strides: Sequence[int]) -> Tensor:
    """Of `(B, K, *spatial)` every so many values along each spatial axis, from the first on.

    A strided 1x1 convolution is the plain one of these. It has to be done so: on processors without AVX-512, torch 2.13
    writes outside its memory in the backward pass of the strided one (float32, `channels_last`, under 8 channels).
    """
    return x[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))]


def doubling_kernel(weight: Tensor) -> Tensor:
    """The weights `(in, out, 4, ...)` of the transposed convolution of stride 2 and padding 1 that does what nearest
    up-sampling to the double and a convolution of weights `(out, in, 3, ...)` and padding 1 do.
    """
    for axis in range(2, weight.ndim):
        first, second, third = (weight.narrow(axis, place, 1) for place in range(3))
        # Once doubled, the source pixel lies under one weight, under two, under two, and under one.
        weight = torch.cat([third, second + third, first + second, first], dim=axis)
    return weight.transpose(0, 1)
