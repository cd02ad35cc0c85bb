"""Which rule each layer, function and tensor method has: the vocabulary of networks that can propagate moments."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.moments import affine
from plurimask.nn.moments.activation import dropout, leaky_relu, prelu, softmax
from plurimask.nn.moments.moments import Moments, Propagation, scaled
from plurimask.nn.moments.pooling import Resizing, Window, average_pool, max_pool, resize

LayerRule: TypeAlias = Callable[..., Moments]
FunctionRule: TypeAlias = Callable[..., Any]


def _same(value: Any, dims: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,) * dims


_MAX_POOL = ("stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE_POOL = ("stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")


def _max_pool(x: Moments, kernel_size: Any, *rest: Any, how: Propagation, **named: Any) -> Moments:
    given = {**dict(zip(_MAX_POOL, rest, strict=False)), **named}
    if given.get("return_indices"):
        raise ValueError("a max-pool that returns indices has no moments")
    stride = kernel_size if given.get("stride") in (None, []) else given["stride"]
    sizes = (kernel_size, stride, given.get("padding", 0), given.get("dilation", 1))
    kernel, steps, padding, dilation = (_same(size, x.mean.ndim - 2) for size in sizes)
    return max_pool(x, Window(kernel, steps, padding, dilation, bool(given.get("ceil_mode", False))), how)


def _max_pool_layer(layer: Any, x: Moments, how: Propagation) -> Moments:
    return _max_pool(x, layer.kernel_size, *(getattr(layer, name) for name in _MAX_POOL), how=how)


def _average_pool(x: Moments, kernel_size: Any, *rest: Any, how: Propagation, **named: Any) -> Moments:
    return average_pool(x, {"kernel_size": kernel_size, **dict(zip(_AVERAGE_POOL, rest, strict=False)), **named}, how)


def _average_pool_layer(layer: Any, x: Moments, how: Propagation) -> Moments:
    return _average_pool(x, layer.kernel_size, *(getattr(layer, name) for name in _AVERAGE_POOL), how=how)


def _adaptive_average(x: Moments, output_size: Any, how: Propagation) -> Moments:
    if any(size != 1 for size in _same(output_size, x.mean.ndim - 2)):
        raise ValueError(f"an adaptive average pool to {output_size} has no rule: only the global one, to 1")
    return _mean(x, tuple(range(2, x.mean.ndim)), True, how=how)


def _upsample(layer: nn.Upsample, x: Moments, how: Propagation) -> Moments:
    names = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
    return resize(x, Resizing(*(getattr(layer, name) for name in names)), how)


def _dropout(x: Moments, p: float = 0.5, training: bool = True, inplace: bool = False, *, how: Propagation) -> Moments:
    return dropout(x, p, training)


def _relu(x: Moments, inplace: bool = False, *, how: Propagation) -> Moments:
    return leaky_relu(x, 0.0, how)


def _leaky_relu(x: Moments, negative_slope: float = 0.01, inplace: bool = False, *, how: Propagation) -> Moments:
    return leaky_relu(x, negative_slope, how)


def _softmax(x: Moments, dim: int, *rest: Any, how: Propagation, **named: Any) -> Moments:
    return softmax(x, dim)


def _softmax_layer(layer: nn.Softmax, x: Moments, how: Propagation) -> Moments:
    if layer.dim is None:
        raise ValueError("softmax without a dim: give the dimension of the classes, 1")
    return softmax(x, layer.dim)


def _add(x: Any, other: Any, *, alpha: float = 1, how: Propagation) -> Moments:
    if not isinstance(x, Moments):
        x, other = scaled(other, alpha), x
    elif isinstance(other, Moments):
        if other is x and alpha == 1:
            return scaled(x, 2.0)
        other = scaled(other, alpha) if alpha != 1 else other
        return Moments(x.mean + other.mean, x.variance + other.variance)
    else:
        other = alpha * other
    mean = x.mean + other
    return Moments(mean, x.variance.expand_as(mean))


def _subtract(x: Any, other: Any, *, alpha: float = 1, how: Propagation) -> Moments:
    return _add(x, other, alpha=-alpha, how=how)


def _multiply(x: Any, other: Any, *, how: Propagation) -> Moments:
    x, factor = (x, other) if isinstance(x, Moments) else (other, x)
    if isinstance(factor, Moments):
        raise ValueError("a product of two uncertain tensors has no rule: only one with a number or a sure tensor")
    return scaled(x, factor)


def _divide(x: Moments, other: Any, *, how: Propagation) -> Moments:
    if not isinstance(x, Moments) or isinstance(other, Moments):
        raise ValueError("a division by an uncertain tensor has no rule")
    return scaled(x, 1 / other)


def _cat(tensors: Any, dim: int = 0, *, axis: int | None = None, how: Propagation) -> Moments:
    dim = dim if axis is None else axis
    parts = [(one, torch.zeros_like(one)) if isinstance(one, Tensor) else one for one in tensors]
    return Moments(*(torch.cat(of_parts, dim) for of_parts in zip(*parts, strict=True)))


def _mean(x: Moments, dim: Any = None, keepdim: bool = False, *, how: Propagation) -> Moments:
    dims = tuple(range(x.mean.ndim)) if dim is None else _same(dim, 1)
    count = math.prod(x.mean.shape[one] for one in dims)
    return Moments(x.mean.mean(dims, keepdim), x.variance.mean(dims, keepdim) / count).raised(how.floor)


def _pad(x: Moments, pad: Any, mode: str = "constant", value: float | None = None, *, how: Propagation) -> Moments:
    if mode != "constant":
        raise ValueError(f"pad with mode={mode!r} repeats values, and moments are of independent ones")
    return Moments(functional.pad(x.mean, pad, mode, value), functional.pad(x.variance, pad, mode, 0.0))


def _moving(function: Callable[..., Tensor]) -> FunctionRule:
    """The rule of a function that only moves, repeats or leaves out values."""

    def rule(x: Moments, *rest: Any, how: Propagation, **named: Any) -> Moments:
        return x.moved(lambda values: function(values, *rest, **named))

    return rule


AFFINE_LAYERS: Mapping[type[nn.Module], LayerRule] = {
    **affine.WEIGHTED_LAYERS,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), affine.batch_norm),
    **dict.fromkeys((nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), affine.group_norm),
}
"""The rules of layers whose results are always new tensors."""

LAYER_RULES: Mapping[type[nn.Module], LayerRule] = {
    **AFFINE_LAYERS,
    nn.ReLU: lambda layer, x, how: leaky_relu(x, 0.0, how),
    nn.LeakyReLU: lambda layer, x, how: leaky_relu(x, layer.negative_slope, how),
    nn.PReLU: prelu,
    **dict.fromkeys(
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
        lambda layer, x, how: dropout(x, layer.p, layer.training),
    ),
    **dict.fromkeys((nn.MaxPool2d, nn.MaxPool3d), _max_pool_layer),
    **dict.fromkeys((nn.AvgPool2d, nn.AvgPool3d), _average_pool_layer),
    **dict.fromkeys(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        lambda layer, x, how: _adaptive_average(x, layer.output_size, how),
    ),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), _upsample),
    nn.Softmax: _softmax_layer,
    nn.Softmax2d: lambda layer, x, how: softmax(x, -3),
    nn.Identity: lambda layer, x, how: x,
    nn.Flatten: lambda layer, x, how: x.moved(layer),
}
"""The rule of each kind of layer: (layer, moments, how) -> moments."""

MOVING_METHODS = (
    *("contiguous", "expand", "flatten", "flip", "float", "narrow", "permute", "reshape", "squeeze", "to", "transpose"),
    *("unflatten", "unsqueeze", "view"),
)
MOVING_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(torch.flatten, torch.reshape, torch.permute, torch.squeeze, torch.unsqueeze, torch.transpose, torch.flip),
    operator.getitem,
)
"""What only moves, repeats or leaves out values: its result may be in the memory of what it gets."""

METHOD_RULES: Mapping[str, FunctionRule] = {
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("add", "add_"), _add),
    **dict.fromkeys(("sub", "sub_"), _subtract),
    **dict.fromkeys(("mul", "mul_"), _multiply),
    **dict.fromkeys(("div", "div_"), _divide),
    "softmax": _softmax,
    "mean": _mean,
    "clone": _moving(Tensor.clone),
    **{name: _moving(getattr(Tensor, name)) for name in MOVING_METHODS},
}
"""The rule of each method of a tensor, by its name."""

FUNCTION_RULES: Mapping[Callable[..., Any], FunctionRule] = {
    **dict.fromkeys((functional.relu, functional.relu_, torch.relu, torch.relu_), _relu),
    **dict.fromkeys((functional.leaky_relu, functional.leaky_relu_), _leaky_relu),
    **dict.fromkeys((functional.dropout, functional.dropout2d, functional.dropout3d), _dropout),
    **dict.fromkeys((functional.max_pool2d, functional.max_pool3d), _max_pool),
    **dict.fromkeys((functional.avg_pool2d, functional.avg_pool3d), _average_pool),
    **dict.fromkeys(
        (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
        _adaptive_average,
    ),
    **dict.fromkeys(
        (functional.interpolate, functional.upsample),
        lambda x, *rest, how, **named: resize(x, Resizing(*rest, **named), how),
    ),
    **dict.fromkeys((functional.softmax, torch.softmax), _softmax),
    functional.pad: _pad,
    **dict.fromkeys((torch.cat, torch.concat), _cat),
    **dict.fromkeys((operator.add, operator.iadd, torch.add), _add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub), _subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul), _multiply),
    **dict.fromkeys((operator.truediv, torch.div), _divide),
    torch.mean: _mean,
    **{function: _moving(function) for function in MOVING_FUNCTIONS},
}
"""The rule of each function; the first argument is the moments, or a list of them."""

PLAIN_METHODS = ("size", "dim", "numel")
PLAIN_ATTRIBUTES = ("shape", "ndim", "dtype", "device")
"""What is asked of a tensor's form, not of its values: answered by the mean's."""
