"""The error that a person can mend: wrong data, wrong setting, wrong folder."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What came, what is expected and what to do, in one line. The command line prints it and exits with code 2."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no registry, with the nearest known names first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}.")
