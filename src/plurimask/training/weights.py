"""Weights as a safetensors file that says which run they are of."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from plurimask.errors import InputError

_RUN = "run"


def packed(method: nn.Module, identity: str | None) -> bytes:
    """All weights and buffers as a safetensors file, with the identity of the run that they are of."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}
    return save(tensors, None if identity is None else {_RUN: identity})


def read_weights(path: Path, identity: str | None) -> dict[str, Tensor]:
    """The weights in a file, by name.

    Args:
        identity: of the run that they must be of; None of runs of older versions, whose weights carry none.

    Raises:
        InputError: the file is damaged, or is of another run.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get(_RUN)
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged, no weights can be read: restore the file, or train again") from error
    if found != identity:
        raise InputError(
            f"{path}: these are the weights of another run than that of the record beside them: restore both files as "
            "they were written together, or train again"
        )
    return tensors
