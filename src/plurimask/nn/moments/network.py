"""An ordinary network turned into one that propagates moments, with the same weights.

The network is traced by `torch.fx` into its layers and functions; each is replaced by its rule. The modules stay those
of the network: what trains one trains the other, and an already trained network gains the uncertainty of its input's
noise without further training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from plurimask.errors import InputError
from plurimask.nn.bayesian.network import gaussian_parameters
from plurimask.nn.moments.affine import Uncertain
from plurimask.nn.moments.checks import overwrites, require_dimensions, require_rules
from plurimask.nn.moments.moments import Moments, Propagation, Spent
from plurimask.nn.moments.rules import AFFINE_LAYERS, FUNCTION_RULES, LAYER_RULES, METHOD_RULES, PLAIN_METHODS


class MomentNetwork(nn.Module):
    """Moments in, moments out. Made by `moment_network` of a traced network, whose modules hold the weights.

    Attributes:
        variances: of each uncertain parameter, in its shape, by its path with / for the dots. The parameters themselves
            are the means.
    """

    def __init__(self, network: fx.GraphModule, how: Propagation, weight_variance: float | None = None) -> None:
        super().__init__()
        self.network, self.how = network, how
        self.factors, self.variances = Factors(), nn.ParameterDict()
        if weight_variance is not None:
            for key, mean in gaussian_parameters(network).items():
                self.variances[key] = nn.Parameter(torch.full_like(mean, weight_variance))

    def forward(self, mean: Tensor, variance: Tensor) -> Moments:
        """Mean and variance `(B, K, *spatial)` of the images, the variance at least 0 -> moments of the output.

        Raises `InputError` if mean and variance are not of one shape, or that is not what a layer takes.
        """
        if mean.shape != variance.shape:
            raise InputError(
                f"a variance of {tuple(variance.shape)} for means of {tuple(mean.shape)}: give one for each value, "
                "such as torch.full_like(mean, 1e-3)"
            )
        return self.run(Moments(mean, variance))

    def uncertain(self) -> dict[int, Tensor]:
        """The variance of each uncertain parameter, by the `id` of the parameter."""
        if not self.variances:
            return {}
        return {id(mean): self.variances[key] for key, mean in gaussian_parameters(self.network).items()}

    def run(self, x: Moments, found: dict[fx.Node, Moments] | None = None) -> Moments:
        """Moments of the images -> moments of the output. `found` takes those of each layer on the way."""
        result: Moments = _Interpreter(self, found).run(x)
        return result


class Factors(nn.Module):
    """Logarithms, by the path of a layer, of what its squared weights are multiplied by (`calibrate_moments`)."""

    def of(self, path: str) -> Tensor | None:
        return self._buffers.get(path.replace(".", "/"))

    def set(self, factors: Mapping[str, Tensor]) -> None:
        self._buffers.clear()
        for path, factor in factors.items():
            self.register_buffer(path.replace(".", "/"), factor)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = [name for name in state_dict if name.startswith(prefix)]
        self.set({name.removeprefix(prefix): state_dict[name].detach().clone() for name in stored})
        super()._load_from_state_dict(state_dict, prefix, *rest)


def moment_network(
    network: nn.Module,
    how: Propagation = Propagation(),  # noqa: B008
    weight_variance: float | None = None,
) -> MomentNetwork:
    """The moment-propagating network of an ordinary one: assumed density filtering.

    It shares the network's modules, so its weights are the same, now and after training either. Rules are in
    `LAYER_RULES`, `FUNCTION_RULES` and `METHOD_RULES`; values are taken as independent and Gaussian throughout.

    Tracing takes the network as it is: what its `forward` decides by `self.training` stays as it was. Layers
    (`nn.Dropout`, batch norm) follow `train()` and `eval()`.

    Args:
        network: one tensor in, one out; layers of `torch.nn` and functions between them, without control flow that
            depends on values. Or one such layer.
        how: floor of the variances, kind of max-pool, compilation.
        weight_variance: not given, weights are constants. Else each weight and bias of a linear layer or convolution is
            an independent Gaussian around its present value, and begins with this variance, above 0. What else has
            parameters, such as batch norm, keeps them as they are.

    Raises:
        InputError: the network cannot be traced, or has a layer or function without a rule; it is named with its path.
            Or a layer has hooks, which the rules would pass by; or memory is overwritten that something else reads.
            Or `weight_variance` is not above 0, or there is no weight that could have it.

    Source: Gast and Roth, "Lightweight Probabilistic Deep Networks", CVPR 2018; assumed density filtering: Opper 1998,
    Minka 2001. Uncertain weights: Hernandez-Lobato and Adams, "Probabilistic Backpropagation", ICML 2015.
    """
    if weight_variance is not None and not weight_variance > 0:
        raise InputError(f"weight_variance must be above 0, not {weight_variance}")
    try:
        traced = fx.symbolic_trace(nn.Sequential(network) if type(network) in LAYER_RULES else network)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{type(network).__name__} cannot be traced by torch.fx, because its forward decides by values ({error}); "
            "of a wrapper such as DataParallel, give the network inside"
        ) from error
    require_rules(traced)
    if weight_variance is not None and not gaussian_parameters(traced):
        raise InputError(
            f"{type(network).__name__} has no linear layer or convolution, whose weights could be uncertain"
        )
    return MomentNetwork(traced, how, weight_variance)


class _Interpreter(fx.Interpreter):
    """Runs a traced network with the rules wherever moments come in; sizes and the like are computed as they are."""

    def __init__(self, of: MomentNetwork, found: dict[fx.Node, Moments] | None) -> None:
        super().__init__(of.network)
        self.network, self.how, self.factors, self.found = of.network, of.how, of.factors, found
        self.uncertain = of.uncertain()
        self.extra_traceback = False  # errors keep their own words
        self.last_readers = {
            reader
            for reader, read in self.user_to_last_uses.items()
            if reader.op == "call_module" and len(read) == 1 and self._is_for_one(read[0])
        }

    def _is_for_one(self, node: fx.Node) -> bool:
        """Whether its result is in tensors of its own, not in a view of others, and is read but once."""
        makes_new = node.op == "call_module" and type(self.network.get_submodule(str(node.target))) in AFFINE_LAYERS
        return makes_new and len(node.users) == 1

    def run_node(self, n: fx.Node) -> Any:
        if n in self.last_readers:
            self.env[n.all_input_nodes[0]] = Spent(*self.env[n.all_input_nodes[0]])
        result = super().run_node(n)
        if isinstance(result, Moments) and overwrites(self.network, n):
            self.env[n.all_input_nodes[0]] = result
        if self.found is not None and n.op == "call_module":
            self.found[n] = result
        return result

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer, (x,) = self.fetch_attr(target), (*args, *kwargs.values())
        with _named(str(target)):
            require_dimensions(type(layer).__name__, x)
            return LAYER_RULES[type(layer)](layer, x, self.how, **self._of_weights(str(target), layer))

    def _of_weights(self, path: str, layer: Any) -> dict[str, Any]:
        """What a rule is told beside the layer: only layers with weights have some."""
        told: dict[str, Any] = {}
        if (factors := self.factors.of(path)) is not None:
            told["factors"] = factors
        if self.uncertain and (variance := self.uncertain.get(id(getattr(layer, "weight", None)))) is not None:
            told["uncertain"] = Uncertain(variance, self.uncertain.get(id(layer.bias)))
        return told

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _has_moments((args, kwargs)):
            return super().call_function(target, args, kwargs)
        if target is getattr:
            return getattr(args[0].mean, args[1])
        with _named(target.__name__):
            require_dimensions(target.__name__, args[0] if args else None)
            return FUNCTION_RULES[target](*args, **kwargs, how=self.how)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _has_moments((args, kwargs)):
            return super().call_method(target, args, kwargs)
        if target in PLAIN_METHODS:
            return getattr(args[0].mean, target)(*args[1:], **kwargs)
        with _named(target):
            return METHOD_RULES[target](*args, **kwargs, how=self.how)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """A rule's refusal says where it was."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error
    except TypeError as error:
        raise InputError(f"{what}: called with arguments that its rule for moments does not take ({error})") from error


def _has_moments(values: Any) -> bool:
    if isinstance(values, Moments):
        return True
    if isinstance(values, dict):
        return any(map(_has_moments, values.values()))
    return isinstance(values, list | tuple) and any(map(_has_moments, values))
