"""The moments of activations and maxima as one function each, forward and backward, with few passes over memory.

Elementwise formulas of a dozen operations are bound by memory when each operation reads and writes whole feature maps.
Compiled (`torch.compile`) they are one pass. Where nothing compiles they run block by block, so that what is between
two operations stays in the cache. Gradients are closed forms too, and recompute what the forward had in between:
nothing but the inputs is kept for them.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plurimask.nn.moments.gaussian import (
    larger_gradients,
    larger_moments,
    leaky_gradients,
    leaky_moments,
    leaky_moments_into,
)
from plurimask.nn.moments.moments import precise

BLOCK = 2**17
"""Elements: some blocks of float32 fit into a processor's second-level caches."""

Formula: TypeAlias = Callable[..., tuple[Tensor, ...]]
_WithConstants: TypeAlias = tuple[Formula, tuple[float, ...]]
_NOT_COMPILED: set[Formula] = set()
"""Formulas that the machine's compiler has failed on."""


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs for a device: Triton for a GPU, a C++ compiler for a processor."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))


def fused_leaky(
    mean: Tensor, variance: Tensor, slope: float, floor: float = 0.0, compiled: bool = False, overwrite: bool = False
) -> tuple[Tensor, Tensor]:
    """`leaky_moments` as one differentiable function; mean and variance come back in their own precision.

    `overwrite`: the inputs are nobody else's, and may take the results where no gradient is needed.
    """
    inputs = (mean, variance)
    if torch.is_grad_enabled() and (mean.requires_grad or variance.requires_grad):
        formula, gradients = (leaky_moments, (slope, floor)), (leaky_gradients, (slope,))
        moments: tuple[Tensor, Tensor] = _Fused.apply(formula, gradients, compiled, *inputs)  # type: ignore[no-untyped-call]
        return moments
    one, other = _apply(leaky_moments, inputs, 2, (slope, floor), compiled, overwrite)
    return one, other


def learned_leaky(mean: Tensor, variance: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """`leaky_moments` with slopes that can be broadcast and have gradients.

    Of the two parts of x, which are rectified Gaussians both: max(x, 0) - k max(-x, 0), of covariance minus the product
    of their means.
    """
    (above, spread), (below, other) = fused_leaky(mean, variance, 0.0), fused_leaky(-mean, variance, 0.0)
    total = spread + slope.square() * other + 2 * slope * above * below
    return above - slope * below, total.clamp(min=0)


def fused_larger(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], compiled: bool = False
) -> tuple[Tensor, Tensor]:
    """`larger_moments` of (mean, variance) and (mean, variance) as one differentiable function."""
    formula, gradients = (larger_moments, ()), (larger_gradients, ())
    moments: tuple[Tensor, Tensor] = _Fused.apply(formula, gradients, compiled, *first, *second)  # type: ignore[no-untyped-call]
    return moments


class _Fused(torch.autograd.Function):
    """A formula with its constants, and that of its gradients with theirs."""

    @staticmethod
    def forward(
        ctx: Any, formula: _WithConstants, gradients: _WithConstants, compiled: bool, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*inputs)
        ctx.gradients, ctx.compiled = gradients, compiled
        return _apply(formula[0], inputs, 2, formula[1], compiled)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_results: Tensor) -> tuple[Tensor | None, ...]:
        (formula, constants), inputs = ctx.gradients, ctx.saved_tensors
        return (None, None, None, *_apply(formula, (*inputs, *of_results), len(inputs), constants, ctx.compiled))


def _apply(
    formula: Formula,
    inputs: Sequence[Tensor],
    num_outputs: int,
    constants: tuple[Any, ...],
    compiled: bool,
    overwrite: bool = False,
) -> tuple[Tensor, ...]:
    """An elementwise formula of tensors of one shape, computed in float32 (float64 stays), in the first one's precision
    and memory layout. `overwrite`: the first inputs may take the results.
    """
    like = torch.empty_like(inputs[0], device="meta")  # dense, in the order of the input's strides
    flat = [_in_order_of(like, one).as_strided((one.numel(),), (1,)) for one in inputs]
    overwrite = overwrite and all(one.dtype == like.dtype for one in flat[:num_outputs])
    with torch.autocast(flat[0].device.type, enabled=False):
        results = _compiled_results(formula, (*flat, *constants), overwrite) if compiled else None
        if results is None and (flat[0].device.type != "cpu" or like.numel() <= BLOCK):
            results = _converting(formula)(*flat, *constants)
        elif results is None:
            outputs = flat[:num_outputs] if overwrite else [torch.empty_like(flat[0]) for _ in range(num_outputs)]
            results = _in_blocks(formula, flat, constants, outputs)
    return tuple(result.as_strided(like.shape, like.stride()) for result in results)


def _in_order_of(like: Tensor, values: Tensor) -> Tensor:
    if values.stride() == like.stride():
        return values
    return torch.empty_strided(like.shape, like.stride(), dtype=values.dtype, device=values.device).copy_(values)


def _in_blocks(
    formula: Formula, inputs: Sequence[Tensor], constants: tuple[Any, ...], outputs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Of flat tensors, a block of memory at a time."""
    writing = formula is leaky_moments and inputs[0].dtype in (torch.float32, torch.float64)
    scratch = torch.empty(4, BLOCK if writing else 0, dtype=inputs[0].dtype)
    for start in range(0, len(inputs[0]), BLOCK):
        block = slice(start, start + BLOCK)
        arguments = [*(precise(one[block]) for one in inputs), *constants]
        if writing:
            out, own = (outputs[0][block], outputs[1][block]), scratch[:, : len(inputs[0][block])].unbind()
            leaky_moments_into(out, own, *arguments)
        else:
            for output, value in zip(outputs, formula(*arguments), strict=True):
                output[block] = value
    return tuple(outputs)


def _converting(formula: Formula) -> Formula:
    """The formula on the inputs made precise, its results in the precision of the first input."""

    def converted(*arguments: Any) -> tuple[Tensor, ...]:
        values = [precise(one) if isinstance(one, Tensor) else one for one in arguments]
        return tuple(result.to(arguments[0].dtype) for result in formula(*values))

    return converted


def _compiled_results(formula: Formula, arguments: tuple[Any, ...], overwrite: bool) -> tuple[Tensor, ...] | None:
    """What the compiled formula gives; None where the machine's compiler turns out not to work, which is said once."""
    if formula in _NOT_COMPILED:
        return None
    try:
        return _compiled(formula, overwrite)(*arguments)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, OSError) as error:
        if not _NOT_COMPILED:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"torch.compile does not work here, activations run uncompiled: {reason}", stacklevel=2)
        _NOT_COMPILED.add(formula)
        return None


@cache
def _silence_compiler() -> None:
    """What torch's compiler says of its own work is for those who work on it."""
    warnings.filterwarnings("ignore", module=r"torch\._(dynamo|inductor|functorch)")
    torch._logging.set_logs(  # type: ignore[attr-defined]
        dynamo=logging.ERROR, inductor=logging.ERROR
    )


@cache
def _compiled(formula: Formula, overwrite: bool) -> Formula:
    _silence_compiler()
    converted = _converting(formula)

    def overwriting(*arguments: Any) -> tuple[Tensor, ...]:
        results = converted(*arguments)
        return tuple(argument.copy_(result) for argument, result in zip(arguments, results, strict=False))

    chosen: Any = overwriting if overwrite else converted
    # What is compiled is counted for each code object, and at some number of variants given up: each has its own.
    chosen.__code__ = chosen.__code__.replace(co_name=f"{formula.__name__}_{chosen.__name__}")
    return torch.compile(chosen, dynamic=True)
