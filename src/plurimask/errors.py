"""The error that a person can mend: wrong data, wrong setting, wrong folder."""

from __future__ import annotations

import difflib
import errno
import re
import reprlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_REASON = 200
_ADVICE = re.compile(r"[a-z]\w*_\w+|[A-Z]+_[A-Z_]+|=\s*(True|False)|trust")
"""Words of programs, such as names of arguments, in a sentence for people."""
LONGEST = 2000
"""Characters of a message: a value in it may come from a file of any size."""
_BRIEFLY = reprlib.Repr()
_BRIEFLY.maxstring = _BRIEFLY.maxother = _BRIEFLY.maxlong = 80


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")
"""What torch says on the devices that it knows; its own class of error is used for accelerators alone."""


class InputError(ValueError):
    """What came, what is expected and what to do, in one line. The command line prints it and exits with code 2."""

    def __str__(self) -> str:
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """`text` with line breaks as spaces and what no terminal should be sent as escapes, such as a name may hold; of a
    long one the beginning and the end."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST * 2 // 3]} ... {text[-LONGEST // 3 :]}"
    line = " ".join(text.splitlines())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def shown(value: Any) -> str:
    """A value as it is written in Python, on part of a line: of a long one the beginning and the end."""
    try:
        return _BRIEFLY.repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return f"a value of type {type(value).__name__}"


def reason_of(error: BaseException) -> str:
    """What another library says of a damaged file, on part of a line; the kind of the error alone where it advises to
    switch off a safeguard, which is no advice for anybody."""
    text = " ".join(str(error).split())
    if not text or len(text) > LONGEST_REASON or _ADVICE.search(text):
        return type(error).__name__
    return text


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no registry, with the nearest known names first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6) if len(name) < LONGEST else []
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(f"unknown {kind} {shown(name)}: {hint}Known: {', '.join(names)}.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the memory of the machine or of its accelerator does not suffice."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in told for words in _OUT_OF_MEMORY)


def first_mistake(error: ValidationError) -> str:
    """The first of the mistakes that pydantic found in settings, in words."""
    mistake = error.errors()[0]
    where = ".".join(shown(part) if isinstance(part, str) and len(part) > 80 else str(part) for part in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    return f"setting {where} = {shown(mistake['input'])}: {message}" if where else message
