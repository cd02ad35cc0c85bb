"""Moments after layers that are affine in their input: exact, whatever the inputs' law, if those are independent.

A sum sum_i w_i x_i + b has the mean sum_i w_i mu_i + b and the variance sum_i w_i^2 v_i. So a layer is applied twice:
with its weights to the means, with their squares and without the bias to the variances. Biases are constants.

Weights and bias may be uncertain too, of the means m_i, m_b and the variances u_i, u_b, independent of each other and
of the inputs. Then the mean is sum_i m_i mu_i + m_b and the variance

    sum_i m_i^2 v_i + u_i (mu_i^2 + v_i) + u_b = sum_i (m_i^2 + u_i) v_i + sum_i u_i mu_i^2 + u_b,

for which a layer is applied three times (Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable
Learning of Bayesian Neural Networks", ICML 2015). Of one value both are exact. That the values of a map
share their weights, and so go up and down together, is neglected, as all dependence is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.convolution import thinned
from plurimask.nn.moments.moments import Moments, Propagation, Spent, precise, total_variance

_APPLIED: dict[type[nn.Module], Any] = {
    nn.Linear: functional.linear,
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
    nn.ConvTranspose1d: functional.conv_transpose1d,
    nn.ConvTranspose2d: functional.conv_transpose2d,
    nn.ConvTranspose3d: functional.conv_transpose3d,
}


class Uncertain(NamedTuple):
    """The variances of a layer's weights and biases, in their shapes; the parameters are the means."""

    weight: Tensor
    bias: Tensor | None


def weighted(
    layer: Any, x: Moments, how: Propagation, factors: Tensor | None = None, uncertain: Uncertain | None = None
) -> Moments:
    """A linear layer, or a convolution, transposed or not, padded with zeros.

    Args:
        layer: its parameters.
        x: what it takes.
        how: the floor.
        factors: of the squared weights (logarithms).
        uncertain: the variances of the weights; not given, they are constants.

    Raises:
        ValueError: the layer pads by repeating values, which would not be independent.
    """
    rest: tuple[Any, ...] = ()
    if not isinstance(layer, nn.Linear):
        if layer.padding_mode != "zeros":
            raise ValueError(f"padding_mode={layer.padding_mode!r} repeats values, and moments are of independent ones")
        rest = (layer.stride, layer.padding, layer.dilation, layer.groups)
        if layer.transposed:
            rest = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
        elif set(layer.kernel_size) == {1} and layer.padding in ("valid", (0,) * len(layer.stride)):
            x, rest = x.moved(lambda values: thinned(values, layer.stride)), (1, *rest[1:])
    apply, squared = _APPLIED[type(layer)], layer.weight.square()
    squared = squared if factors is None else squared * factors.exp()
    mean = apply(x.mean, layer.weight, layer.bias, *rest)
    # The floor as the bias of the layer that carries the variances: it costs nothing there.
    floor = layer.weight.new_full((mean.shape[1 if rest else -1],), how.floor) if how.floor else None
    if uncertain is None:
        return Moments(mean, apply(x.variance, squared, floor, *rest))
    biases = floor if uncertain.bias is None else uncertain.bias + how.floor
    of_inputs = apply(x.variance, squared + uncertain.weight, biases, *rest)
    of_weights = apply(x.mean.square(), uncertain.weight, None, *rest)
    # Fast convolutions may give sums of squares that are a little below 0.
    return Moments(mean, (of_inputs + of_weights).clamp(min=0))


WEIGHTED_LAYERS: Mapping[type[nn.Module], Any] = dict.fromkeys(_APPLIED, weighted)
"""Layers of sums with weights, and their rule."""


def batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, x: Moments, how: Propagation) -> Moments:
    """In evaluation exact: the running statistics are constants, and the variance is times gamma^2 / (var + epsilon).

    In training the statistics are those of the batch, `total_variance`: what they would be of drawn values, in
    expectation. That they vary with the draw, by a share of one in the number of values in the batch, is neglected.
    """
    from_batch = layer.training or layer.running_mean is None or layer.running_var is None
    if from_batch:
        dims = [0, *range(2, x.mean.ndim)]
        mean, variance = (one.flatten() for one in total_variance(x.moved(precise), dims))
        if layer.training and layer.running_mean is not None:
            _follow(layer, mean.detach(), variance.detach(), x.mean.numel() // x.mean.shape[1])
    else:
        assert layer.running_mean is not None and layer.running_var is not None
        mean, variance = layer.running_mean, layer.running_var
    return _normalised(layer, x, mean, variance, how)


def group_norm(
    layer: nn.GroupNorm | nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d, x: Moments, how: Propagation
) -> Moments:
    """The statistics of each image's groups are those of drawn values in expectation, `total_variance`; that they vary
    with the draw, by a share of one in the number of a group's values, is neglected. An instance norm has a group for
    each channel.

    Raises:
        ValueError: it keeps running statistics.
    """
    if not isinstance(layer, nn.GroupNorm) and layer.track_running_stats:
        raise ValueError("track_running_stats: an instance norm with running statistics is not supported")
    channels = x.mean.shape[1]
    num_groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else channels
    grouped = x.moved(lambda values: precise(values.reshape(len(values), num_groups, -1)))
    statistics = total_variance(grouped, [2])  # (B, groups, 1) each
    mean, variance = (one.repeat_interleave(channels // num_groups, 1).flatten(1) for one in statistics)
    return _normalised(layer, x, mean, variance, how)


def _normalised(layer: Any, x: Moments, mean: Tensor, variance: Tensor, how: Propagation) -> Moments:
    """By the statistics `(channels,)` or `(B, channels)`, then scaled and shifted. The precision of x stays."""
    scale = (variance + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -mean * scale if layer.bias is None else layer.bias - mean * scale
    ones, dtype = [1] * (x.mean.ndim - 2), x.mean.dtype
    scale, shift = (one.reshape(-1, x.mean.shape[1], *ones) for one in (scale, shift))
    normalised = torch.addcmul(shift.to(dtype), x.mean, scale.to(dtype))
    return Spent(normalised, x.variance * scale.square().to(dtype)).raised(how.floor)


@torch.no_grad()
def _follow(layer: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """The running statistics move towards the batch's, as the layer itself moves them."""
    layer.num_batches_tracked.add_(1)
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_((variance * (count / max(1, count - 1))).to(layer.running_var.dtype), share)
