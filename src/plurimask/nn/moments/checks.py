"""What a traced network must be so that moments can go through it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import fx, nn
from torch.nn import functional

from plurimask.errors import InputError
from plurimask.nn.convolution import HARMLESS_HOOKS
from plurimask.nn.moments.moments import Moments
from plurimask.nn.moments.rules import (
    FUNCTION_RULES,
    LAYER_RULES,
    METHOD_RULES,
    MOVING_FUNCTIONS,
    MOVING_METHODS,
    PLAIN_ATTRIBUTES,
    PLAIN_METHODS,
)

_DROPOUTS = (functional.dropout, functional.dropout2d, functional.dropout3d)
_PASSING_LAYERS = (nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def require_rules(traced: fx.GraphModule) -> None:
    """Every layer and function that moments come to has a rule, which knows all that the network does there.

    Raises:
        InputError: not so; what it is about is named with its path.
    """
    carrying: set[fx.Node] = set()
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise InputError(f"a network of {len(inputs)} inputs: moments go through networks of one input, the images")
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            carrying.add(node)
        elif node.op.startswith("call_") and carrying.intersection(node.all_input_nodes) and not _asks_for_form(node):
            _require_rule(traced, node)
            _require_no_other_reader(traced, node)
            carrying.add(node)
        elif node.op == "output" and node.args[0] not in carrying:
            raise InputError("the network returns no single tensor that comes from its input: moments need one output")


def require_dimensions(name: str, x: Any) -> None:
    """Of a layer or function that is for so many spatial dimensions.

    Raises:
        ValueError: the moments have others, such as images without a batch.
    """
    stated = re.fullmatch(r"(?:conv|max_?pool|avg_?pool|adaptive_?avg_?pool|convtranspose)([123])d", name.lower())
    if stated and isinstance(x, Moments) and x.mean.ndim != int(stated[1]) + 2:
        axes = "DHW"[-int(stated[1]) :]
        raise ValueError(f"takes ({', '.join('BK' + axes)}), not the shape {tuple(x.shape)}")


def overwrites(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether it works in place: what reads its input later reads its result."""
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.endswith("_") or bool(node.kwargs.get("inplace", False))


def _asks_for_form(node: fx.Node) -> bool:
    return (node.op == "call_method" and node.target in PLAIN_METHODS) or (
        node.target is getattr and node.args[1] in PLAIN_ATTRIBUTES
    )


def _require_rule(traced: fx.GraphModule, node: fx.Node) -> None:
    if node.op == "call_module":
        _require_layer_rule(str(node.target), traced.get_submodule(str(node.target)), node)
        return
    rules: Mapping[Any, Any] = FUNCTION_RULES if node.op == "call_function" else METHOD_RULES
    kind = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    if node.target not in rules:
        known = sorted({one if isinstance(one, str) else one.__name__ for one in rules})
        raise InputError(f"{_path(node)}: {kind} has no rule for moments; those that have one: {', '.join(known)}")
    if node.target in _DROPOUTS and (node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)):
        raise InputError(
            f"{_path(node)}: {kind} that drops would do so in evaluation too, because its mode is a constant here: "
            "use the layer nn.Dropout, or convert the network in eval()"
        )


def _require_layer_rule(path: str, layer: nn.Module, node: fx.Node) -> None:
    if type(layer) not in LAYER_RULES:
        known = ", ".join(sorted(one.__name__ for one in LAYER_RULES))
        raise InputError(f"{path}: {type(layer).__name__} has no rule for moments; those that have one: {known}")
    if len(node.args) + len(node.kwargs) != 1:
        raise InputError(f"{path}: called with more than one tensor, which no rule takes")
    if {*layer._forward_pre_hooks.values(), *layer._forward_hooks.values()} - HARMLESS_HOOKS:
        raise InputError(
            f"{path}: {type(layer).__name__} has hooks, which a rule would pass by: remove them first (of weights: "
            "remove_weight_norm, remove_spectral_norm, prune.remove)"
        )


def _require_no_other_reader(traced: fx.GraphModule, node: fx.Node) -> None:
    """What is overwritten in place is not a view that others read otherwise: moments would not follow there."""
    if not overwrites(traced, node):
        return
    overwritten = node.all_input_nodes[0]
    shared = any(_passes_on(traced, user) for user in overwritten.users if user is not node)
    while _passes_on(traced, overwritten):
        overwritten = overwritten.all_input_nodes[0]
        shared = shared or len(overwritten.users) > 1
    if shared:
        raise InputError(f"{_path(node)}: works in place on a view that others read too: make it not in place")


def _passes_on(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether its result may be in the memory of what it gets."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _PASSING_LAYERS)
    if node.op == "call_method":
        return node.target in MOVING_METHODS
    return node.op == "call_function" and node.target in (*MOVING_FUNCTIONS, *_DROPOUTS)


def _path(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {"": None}
    return str(list(stack)[-1]) or "the network itself"
