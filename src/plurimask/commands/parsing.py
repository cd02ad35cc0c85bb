"""From words on the command line to values, by tyro; mistakes become one line each."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel
from rich.console import Console

from plurimask.errors import InputError, unknown_name

Options = TypeVar("Options")

_HELP = {"-h", "--help"}


def parse(options: type[Options], arguments: Sequence[str], command: str, description: str) -> Options:
    """Parse `arguments` into a dataclass or pydantic model.

    Raises:
        InputError: an option is unknown (the nearest names are given), missing, or has an impossible value.
    """
    prog = f"plurimask {command}"
    if not _HELP.intersection(arguments):
        refuse_unknown(arguments, option_names(options), command)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                options,
                args=list(arguments),
                prog=prog,
                description=description,
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise InputError(f"{_one_line(errors.getvalue())} (see {prog} --help)") from None


def option_names(options: type[Any], prefix: str = "") -> list[str]:
    """The long options of a dataclass or pydantic model, nested ones as `outer.inner`."""
    names = []
    if is_dataclass(options):
        annotated: dict[str, Any] = {field.name: field.type for field in fields(options)}
    else:
        annotated = {
            name: field.annotation
            for name, field in options.model_fields.items()
            if tyro.conf.Positional not in field.metadata
        }
    for name, kind in annotated.items():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += option_names(kind, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}".replace("_", "-"))
    return names


def refuse_unknown(arguments: Sequence[str], known: Sequence[str], command: str) -> None:
    """Raise `InputError` for the first `--option` that is not known."""
    for word in arguments:
        if match := re.fullmatch(r"--([A-Za-z][\w.-]*)(=.*)?", word):
            name = match[1].replace("_", "-")
            if name not in known:
                raise unknown_name(f"option of plurimask {command}", f"--{name}", [f"--{other}" for other in known])


def value_of(arguments: Sequence[str], option: str) -> str | None:
    """The value of `--option VALUE` or `--option=VALUE`, before the arguments are parsed as a whole."""
    for position, word in enumerate(arguments):
        if word == f"--{option}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith(f"--{option}="):
            return word.split("=", 1)[1]
    return None


def is_given(arguments: Sequence[str], name: str) -> bool:
    """Whether the option `name`, or one nested in it, is among the arguments."""
    option = "--" + name.replace("_", "-")
    words = [word.replace("_", "-") for word in arguments if word.startswith("--")]
    return any(word == option or word.startswith((f"{option}=", f"{option}.")) for word in words)


def console() -> Console:
    """Where commands speak to people: standard error, lines unbroken, so that paths can be copied."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def _one_line(text: str) -> str:
    """tyro draws a box around its message: take the words out of it."""
    words = re.sub(r"[─━│╭╮╰╯┌┐└┘├┤═]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))
    words = re.sub(r"\s+", " ", words).strip()
    words = re.sub(r"^Parsing error ", "", words)
    return re.sub(r" For full helptext, .*$", "", words)
