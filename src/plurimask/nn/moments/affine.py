"""Moments after layers that are affine in their input: exact, whatever the inputs' law, if those are independent.

A sum sum_i w_i x_i + b has the mean sum_i w_i mu_i + b and the variance sum_i w_i^2 v_i. So a layer is applied twice:
with its weights to the means, with their squares and without the bias to the variances. Biases are constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.convolution import thinned
from plurimask.nn.moments.moments import Moments, Propagation, Spent, total_variance

_CONVOLUTIONS: dict[type[nn.Module], Any] = {
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
    nn.ConvTranspose1d: functional.conv_transpose1d,
    nn.ConvTranspose2d: functional.conv_transpose2d,
    nn.ConvTranspose3d: functional.conv_transpose3d,
}


def convolution(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Moments, how: Propagation, factors: Tensor | None = None
) -> Moments:
    """Any stride, padding with zeros, dilation and number of groups. `factors`: of the squared weights (logarithms).

    Raises:
        ValueError: the layer pads by repeating values, which would not be independent.
    """
    if layer.padding_mode != "zeros":
        raise ValueError(f"padding_mode={layer.padding_mode!r} repeats values, and moments are of independent ones")
    stride: int | tuple[int, ...] = layer.stride
    if set(layer.kernel_size) == {1} and layer.padding in ("valid", (0,) * len(layer.stride)):
        x, stride = x.moved(lambda values: thinned(values, layer.stride)), 1
    rest = (stride, layer.padding, layer.dilation, layer.groups)
    convolve, floor = _CONVOLUTIONS[type(layer)], _floor(layer.weight, layer.out_channels, how)
    return Moments(
        convolve(x.mean, layer.weight, layer.bias, *rest),
        convolve(x.variance, _squared(layer.weight, factors), floor, *rest),
    )


def transposed_convolution(
    layer: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d,
    x: Moments,
    how: Propagation,
    factors: Tensor | None = None,
) -> Moments:
    """Any stride, padding, dilation and number of groups."""
    rest = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
    convolve, floor = _CONVOLUTIONS[type(layer)], _floor(layer.weight, layer.out_channels, how)
    return Moments(
        convolve(x.mean, layer.weight, layer.bias, *rest),
        convolve(x.variance, _squared(layer.weight, factors), floor, *rest),
    )


def linear(layer: nn.Linear, x: Moments, how: Propagation, factors: Tensor | None = None) -> Moments:
    floor = _floor(layer.weight, layer.out_features, how)
    return Moments(
        functional.linear(x.mean, layer.weight, layer.bias),
        functional.linear(x.variance, _squared(layer.weight, factors), floor),
    )


def _squared(weight: Tensor, factors: Tensor | None) -> Tensor:
    return weight.square() if factors is None else weight.square() * factors.exp()


WEIGHTED_LAYERS: Mapping[type[nn.Module], Any] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), transposed_convolution),
    nn.Linear: linear,
}
"""Layers of sums with weights, and their rules."""


def batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, x: Moments, how: Propagation) -> Moments:
    """In evaluation exact: the running statistics are constants, and the variance is times gamma^2 / (var + epsilon).

    In training the statistics are those of the batch, `total_variance`: what they would be of drawn values, in
    expectation. That they vary with the draw, by a share of one in the number of values in the batch, is neglected.
    """
    from_batch = layer.training or layer.running_mean is None or layer.running_var is None
    if from_batch:
        dims = [0, *range(2, x.mean.ndim)]
        mean, variance = (one.flatten() for one in _in_float32(x, dims))
        if layer.training and layer.running_mean is not None:
            _follow(layer, mean.detach(), variance.detach(), x.mean.numel() // x.mean.shape[1])
    else:
        assert layer.running_mean is not None and layer.running_var is not None
        mean, variance = layer.running_mean, layer.running_var
    scale = (variance + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -mean * scale if layer.bias is None else layer.bias - mean * scale
    return _scaled_and_shifted(x, scale, shift, how)


def group_norm(layer: nn.GroupNorm, x: Moments, how: Propagation) -> Moments:
    """The statistics of each image's groups are those of drawn values in expectation, `total_variance`; that they vary
    with the draw, by a share of one in the number of a group's values, is neglected.
    """
    return _normalised(x, layer.num_groups, layer, how)


def instance_norm(
    layer: nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d, x: Moments, how: Propagation
) -> Moments:
    """A group norm with a group for each channel.

    Raises:
        ValueError: it keeps running statistics.
    """
    if layer.track_running_stats:
        raise ValueError("track_running_stats: an instance norm with running statistics is not supported")
    return _normalised(x, x.mean.shape[1], layer, how)


def _normalised(x: Moments, num_groups: int, layer: Any, how: Propagation) -> Moments:
    grouped = x.moved(lambda values: values.reshape(len(values), num_groups, -1))
    mean, variance = _in_float32(grouped, [2])  # (B, groups, 1)
    channels = x.mean.shape[1]
    per_group = channels // num_groups
    scale = (variance + layer.eps).rsqrt().repeat_interleave(per_group, 1).flatten(1)  # (B, channels)
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -mean.repeat_interleave(per_group, 1).flatten(1) * scale
    return _scaled_and_shifted(x, scale, shift if layer.bias is None else shift + layer.bias, how)


def _scaled_and_shifted(x: Moments, scale: Tensor, shift: Tensor, how: Propagation) -> Moments:
    """Channel by channel: scale and shift are `(channels,)` or `(B, channels)`. The precision of x stays."""
    ones = [1] * (x.mean.ndim - 2)
    scale, shift = (one.reshape(-1, x.mean.shape[1], *ones) for one in (scale, shift))
    mean = torch.addcmul(shift.to(x.mean.dtype), x.mean, scale.to(x.mean.dtype))
    return Spent(mean, x.variance * scale.square().to(x.mean.dtype)).raised(how.floor)


def _in_float32(x: Moments, dims: list[int]) -> tuple[Tensor, Tensor]:
    precise = x if x.mean.dtype == torch.float64 else x.moved(Tensor.float)
    return total_variance(precise, dims)


@torch.no_grad()
def _follow(layer: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """The running statistics move towards the batch's, as the layer itself moves them."""
    layer.num_batches_tracked.add_(1)
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_((variance * (count / max(1, count - 1))).to(layer.running_var.dtype), share)


def _floor(weight: Tensor, channels: int, how: Propagation) -> Tensor | None:
    """The floor as the bias of the layer that carries the variances: it costs nothing there."""
    return weight.new_full((channels,), how.floor) if how.floor else None
