"""The weights of a method on disk, and whether they are numbers."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.reading import memory_bytes, require_file


def load_weights(method: nn.Module, path: Path, remedy: str) -> None:
    """Give `method` the weights in a safetensors file; `remedy` ends the message if it cannot have them.

    Raises:
        InputError: the file is damaged, or holds other tensors than the method has, or NaN or infinity.
    """
    require_file(path)
    try:
        tensors = load_file(path)
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path}: damaged, or not the weights of this run: {remedy}") from error
    if differs := _difference(method.state_dict(), tensors):
        raise InputError(f"{path}: not the weights of this run ({differs}): {remedy}")
    require_finite(tensors, str(path), remedy)
    method.load_state_dict(tensors)


def load_tensors(path: Path, limit: int | None = None) -> Any:
    """What `torch.save` wrote: tensors, numbers, text, dictionaries and lists of them, on the processor; no
    code is run.

    Raises:
        InputError: there is no such file, or it unpacks to more than `limit` bytes (the memory of the machine).
        Exception: whatever a damaged file makes torch raise.
    """
    size, limit = require_file(path), memory_bytes() if limit is None else limit
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            size = max(size, sum(member.file_size for member in file.infolist()))
    if size > limit:
        raise InputError(f"{path}: unpacks to {size:,} bytes, expected at most {limit:,}: restore or remove the file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for programmers
        return torch.load(path, map_location="cpu", weights_only=True)


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
