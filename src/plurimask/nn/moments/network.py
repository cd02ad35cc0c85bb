"""An ordinary network turned into one that propagates moments, with the same weights.

The network is traced by `torch.fx` into its layers and functions; each is replaced by its rule. The modules stay those
of the network: what trains one trains the other, and an already trained network gains the uncertainty of its input's
noise without further training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, fx, nn

from plurimask.errors import InputError
from plurimask.nn.moments.moments import Moments, Propagation, Spent
from plurimask.nn.moments.rules import (
    AFFINE_LAYERS,
    FUNCTION_RULES,
    LAYER_RULES,
    METHOD_RULES,
    PLAIN_ATTRIBUTES,
    PLAIN_METHODS,
)


class MomentNetwork(nn.Module):
    """Moments in, moments out. Made by `moment_network`.

    Args:
        network: traced; its modules hold the weights.
        how: where there is a choice.
    """

    def __init__(self, network: fx.GraphModule, how: Propagation) -> None:
        super().__init__()
        self.network, self.how = network, how

    def forward(self, mean: Tensor, variance: Tensor) -> Moments:
        """Mean and variance `(B, K, *spatial)` of the images, the variance at least 0 -> moments of the output."""
        result = _Interpreter(self.network, self.how).run(Moments(mean, variance))
        assert isinstance(result, Moments)
        return result


def moment_network(network: nn.Module, how: Propagation = Propagation()) -> MomentNetwork:  # noqa: B008
    """The moment-propagating network of an ordinary one: assumed density filtering.

    It shares the network's modules, so its weights are the same, now and after training either. Rules are in
    `LAYER_RULES`, `FUNCTION_RULES` and `METHOD_RULES`; values are taken as independent and Gaussian throughout.

    Args:
        network: one tensor in, one out; layers of `torch.nn` and functions between them, without control flow that
            depends on values.
        how: floor of the variances, kind of max-pool, compilation.

    Raises:
        InputError: the network cannot be traced, or has a layer or function without a rule; it is named with its path.

    Source: Gast and Roth, "Lightweight Probabilistic Deep Networks", CVPR 2018; assumed density filtering: Opper 1998,
    Minka 2001.
    """
    try:
        traced = fx.symbolic_trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{type(network).__name__} cannot be traced by torch.fx, because its forward decides by values: {error}"
        ) from error
    _require_rules(traced)
    return MomentNetwork(traced, how)


class _Interpreter(fx.Interpreter):
    """Runs a traced network with the rules wherever moments come in; sizes and the like are computed as they are."""

    def __init__(self, network: fx.GraphModule, how: Propagation) -> None:
        super().__init__(network)
        self.network, self.how = network, how
        self.extra_traceback = False  # errors keep their own words
        self.last_readers = {
            reader
            for reader, read in self.user_to_last_uses.items()
            if reader.op == "call_module" and len(read) == 1 and self._makes_new(read[0])
        }

    def _makes_new(self, node: fx.Node) -> bool:
        """Whether its result is in tensors of its own, not in a view of others."""
        return node.op == "call_module" and type(self.network.get_submodule(str(node.target))) in AFFINE_LAYERS

    def run_node(self, n: fx.Node) -> Any:
        if n in self.last_readers:
            self.env[n.args[0]] = Spent(*self.env[n.args[0]])  # type: ignore[index]
        result = super().run_node(n)
        if isinstance(result, Moments) and _overwrites(self.network, n):
            self.env[n.args[0]] = result  # type: ignore[index]
        return result

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.fetch_attr(target)
        with _named(str(target)):
            return LAYER_RULES[type(layer)](layer, args[0], self.how)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _has_moments((args, kwargs)):
            return super().call_function(target, args, kwargs)
        if target is getattr:
            return getattr(args[0].mean, args[1])
        with _named(target.__name__):
            return FUNCTION_RULES[target](*args, **kwargs, how=self.how)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _has_moments((args, kwargs)):
            return super().call_method(target, args, kwargs)
        if target in PLAIN_METHODS:
            return getattr(args[0].mean, target)(*args[1:], **kwargs)
        with _named(target):
            return METHOD_RULES[target](*args, **kwargs, how=self.how)


def _overwrites(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether it works in place: what reads its input later reads its result."""
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.endswith("_") or bool(node.kwargs.get("inplace", False))


@contextmanager
def _named(what: str) -> Iterator[None]:
    """A rule's refusal says where it was."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error


def _has_moments(values: Any) -> bool:
    if isinstance(values, Moments):
        return True
    if isinstance(values, dict):
        return any(map(_has_moments, values.values()))
    return isinstance(values, list | tuple) and any(map(_has_moments, values))


def _require_rules(traced: fx.GraphModule) -> None:
    """Every layer and function that moments come to has a rule."""
    carrying: set[fx.Node] = set()
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise InputError(f"a network of {len(inputs)} inputs: moments go through networks of one input, the images")
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            carrying.add(node)
        elif node.op.startswith("call_") and carrying.intersection(node.all_input_nodes) and not _asks_for_form(node):
            _require_rule(traced, node)
            carrying.add(node)


def _asks_for_form(node: fx.Node) -> bool:
    return (node.op == "call_method" and node.target in PLAIN_METHODS) or (
        node.target is getattr and node.args[1] in PLAIN_ATTRIBUTES
    )


def _require_rule(traced: fx.GraphModule, node: fx.Node) -> None:
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        if type(layer) in LAYER_RULES:
            if len(node.args) != 1 or node.kwargs:
                raise InputError(f"{node.target}: called with more than one tensor, which no rule takes")
            return
        where, kind, known = str(node.target), type(layer).__name__, sorted(one.__name__ for one in LAYER_RULES)
    else:
        rules: Mapping[Any, Any] = FUNCTION_RULES if node.op == "call_function" else METHOD_RULES
        if node.target in rules:
            return
        stack = node.meta.get("nn_module_stack") or {"": None}
        where = str(list(stack)[-1]) or "the network itself"
        kind = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        known = sorted({one if isinstance(one, str) else one.__name__ for one in rules})
    raise InputError(f"{where}: {kind} has no rule for moments; those that have one: {', '.join(known)}")
