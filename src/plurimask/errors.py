"""The error that a person can mend: wrong data, wrong setting, wrong folder."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")
"""What torch says on the devices that it knows; its own class of error is used for accelerators alone."""


class InputError(ValueError):
    """What came, what is expected and what to do, in one line. The command line prints it and exits with code 2."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a file's name may hold a line break


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no registry, with the nearest known names first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the memory of the machine or of its accelerator does not suffice."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in told for words in _OUT_OF_MEMORY)


def first_mistake(error: ValidationError) -> str:
    """The first of the mistakes that pydantic found in settings, in words."""
    mistake = error.errors()[0]
    where = ".".join(map(str, mistake["loc"]))
    message = mistake["msg"].removeprefix("Value error, ")
    return f"setting {where} = {mistake['input']!r}: {message}" if where else message
