"""Layers with Gaussian weights, applied: how the gradient of an expectation over weights is estimated by one pass.

An ordinary network runs as it is, within a mode that stands between its layers and torch. Where a layer's weights are
Gaussian, what torch is asked to compute with their means M and standard deviations S is computed by a rule:

    plain             y = f(x; M + S e)                    e ~ N(0, 1): one draw for all images of the batch
    flipout           y = f(x; M) + r f(s x; S e)          r, s: signs of outputs and of inputs, for each image
    local             y = f(x; M) + e sqrt(f(x^2; S^2))    the draw is of the values, not of the weights

Each gives a value of y the mean and the variance that random weights give it. Of flipout an image has weights of its
own, as Gaussian as the layer's; those of two images are uncorrelated. Of local reparameterisation each value is drawn
on its own: of a linear layer this is exact; of a convolution it leaves out that the places of a map share their
weights, and go up and down together.

Plain draws: Blundell et al., "Weight Uncertainty in Neural Networks", ICML 2015. Kingma, Salimans and Welling,
"Variational Dropout and the Local Reparameterization Trick", NIPS 2015. Wen, Vicol, Ba, Tran and Grosse, "Flipout",
ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from plurimask.errors import InputError
from plurimask.nn.bayesian.prior import generator_on, standard_normal

Estimator = Literal["local", "flipout", "plain"]

OfParameters: TypeAlias = Mapping[int, Tensor]
"""Something about parameters, each known by its `id`."""

_AFFINE = (
    functional.linear,
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)
_LOOKS = ("__get__", "size", "dim", "numel")
"""What asks for no value of a parameter: its shape, type and the like."""
_TINY = 1e-12
"""Added to variances, since a root has no gradient at 0."""


class DrawnWeights(TorchFunctionMode):
    """Within, whatever is computed with a parameter is computed with what was drawn for it.

    The network itself is not changed: several threads may pass through it at once.
    """

    def __init__(self, drawn: OfParameters) -> None:
        super().__init__()
        self.drawn = drawn

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        return func(*map(self._replaced, args), **{name: self._replaced(value) for name, value in given.items()})

    def _replaced(self, value: Any) -> Any:
        if type(value) in (list, tuple):
            return type(value)(map(self._replaced, value))
        return self.drawn.get(id(value), value)


class Layer(NamedTuple):
    """A convolution or linear layer with Gaussian weights, about to be computed."""

    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """`(B, K, *spatial)` or, of a linear layer, `(B, ..., K)`; weights; biases -> the values."""
    x: Tensor
    means: tuple[Tensor, Tensor | None]
    """Of weights and biases."""
    sigmas: tuple[Tensor, Tensor | None]
    """None where there are no biases, or they are not Gaussian."""
    channel_axis: int

    def signs(self, of: Tensor, generator: torch.Generator | None) -> Tensor:
        """-1 or 1 for each image and channel of inputs or values, equally likely."""
        shape = [1] * of.ndim
        shape[0], shape[self.channel_axis] = of.shape[0], of.shape[self.channel_axis]
        coins = torch.empty(shape, dtype=of.dtype, device=of.device)
        return coins.bernoulli_(0.5, generator=generator_on(of.device, generator)).mul_(2).sub_(1)


def local(layer: Layer, generator: torch.Generator | None) -> Tensor:
    """Values drawn by their means and variances."""
    weight, bias = layer.sigmas
    variance = layer.apply(layer.x.square(), weight.square(), None if bias is None else bias.square())
    mean = layer.apply(layer.x, *layer.means)
    # Fast convolutions may give sums of squares that are a little below 0.
    return torch.addcmul(mean, (variance.clamp(min=0) + _TINY).sqrt(), standard_normal(mean, generator))


def flipout(layer: Layer, generator: torch.Generator | None) -> Tensor:
    """One draw of what weights are off their means, turned round for each image by signs of its own."""
    weight, bias = (None if s is None else s * standard_normal(s, generator) for s in layer.sigmas)
    assert weight is not None
    off = layer.apply(layer.x * layer.signs(layer.x, generator), weight, bias)
    return torch.addcmul(layer.apply(layer.x, *layer.means), off, layer.signs(off, generator).expand_as(off))


class GaussianLayers(TorchFunctionMode):
    """Within, layers with Gaussian weights are computed by a rule.

    Args:
        sigmas: of each Gaussian parameter. The parameters themselves are the means.
        rule: `local` or `flipout`.
        generator: on the CPU.
    """

    def __init__(
        self,
        sigmas: OfParameters,
        rule: Callable[[Layer, torch.Generator | None], Tensor],
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.sigmas, self.rule, self.generator = sigmas, rule, generator

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in _LOOKS or not any(id(value) in self.sigmas for value in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        given = {**dict(zip(("input", "weight", "bias"), args, strict=False)), **kwargs}
        x, weight, bias = (given.pop(name, None) for name in ("input", "weight", "bias"))
        if func not in _AFFINE or id(weight) not in self.sigmas:
            raise InputError(
                f"{func.__name__} is given Gaussian weights, for which only convolutions and linear layers have a "
                "rule: choose the estimator 'plain', which takes any network"
            )

        def apply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            y: Tensor = func(x, weight, bias, *args[3:], **given)
            return y

        sigmas = self.sigmas[id(weight)], self.sigmas.get(id(bias))
        return self.rule(
            Layer(apply, x, (weight, bias), sigmas, -1 if func is functional.linear else 1), self.generator
        )
