"""The weights of a method on disk: a safetensors file of finite numbers that says which run they are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.files.reading import require_file

_RUN = "run"
DIVERGED = "the last checkpoint is unharmed; lower the learning rate"


def packed(method: nn.Module, identity: str | None) -> bytes:
    """All weights and buffers as a safetensors file, with the identity of the run that they are of.

    Raises:
        InputError: one of them is not finite.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}
    require_finite(tensors, "the trained method", DIVERGED)
    return save(tensors, None if identity is None else {_RUN: identity})


def load_weights(method: nn.Module, path: Path, identity: str | None, remedy: str) -> None:
    """Give `method` the weights in a file.

    Args:
        identity: of the run that they must be of; None of runs of older versions, whose weights carry none.
        remedy: ends the message if it cannot have them.

    Raises:
        InputError: the file is damaged, of another run, or holds other tensors than the method has, or NaN or infinity.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get(_RUN)
        tensors = load_file(path)
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path}: damaged, or not the weights of this run: {remedy}") from error
    if differs := _difference(method.state_dict(), tensors):
        raise InputError(f"{path}: not the weights of this run ({differs}): {remedy}")
    require_finite(tensors, str(path), remedy)
    if found != identity:
        raise InputError(
            f"{path}: these are the weights of another run than that of the record beside them: restore both files as "
            f"they were written together, or {remedy}"
        )
    method.load_state_dict(tensors)


def flattened(state: Any, at: str = "") -> dict[str, Tensor]:
    """The tensors in nested dictionaries and lists, by the way to them: `optimizer.state.0.exp_avg`."""
    if isinstance(state, Tensor):
        return {at: state}
    items = state.items() if isinstance(state, Mapping) else enumerate(state if isinstance(state, list | tuple) else ())
    parts = [flattened(part, f"{at}.{key}" if at else str(key)) for key, part in items]
    return {name: values for part in parts for name, values in part.items()}


def require_finite(tensors: Mapping[str, Tensor], where: str, remedy: str) -> None:
    """Raise `InputError` if a value of one of `tensors` is NaN or infinite; it names the tensor."""
    for name, values in tensors.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise InputError(f"{where}: {name} holds NaN or infinity, with which nothing can be calculated: {remedy}")


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The first difference in names, shapes and types, in words; None if there is none."""
    for name, values in expected.items():
        if name not in found:
            return f"{name} is missing"
        for what, one, other in (
            ("shape", tuple(values.shape), tuple(found[name].shape)),
            ("type", values.dtype, found[name].dtype),
        ):
            if one != other:
                return f"{name} has the {what} {other}, expected {one}"
    more = sorted(found.keys() - expected.keys())
    return f"there is no {more[0]} in it" if more else None
