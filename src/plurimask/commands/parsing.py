"""From words on the command line to values. The options of a command are fields of pydantic models.

Only what was given is returned, so that a command knows it; the defaults, which the help shows, belong to whoever uses
the values. An option takes as many words as its type has values, a tuple of any length all up to the next option; names
may be written with - or _, and `--name=value` is `--name value`. Every mistake becomes one line.
"""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console

from plurimask.errors import InputError, unknown_name

POSITIONAL = "positional"
"""In the annotation of a field that is given by its place, without a name."""
HELP = {"-h", "--help"}
WORDS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "True|False"}
"""How the help writes a value of each type."""


class Options(BaseModel):
    """The options of a command. The docstring of a subclass is what the help says of the command."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyOptions = TypeVar("AnyOptions", bound=Options)

# Options of several commands.
RunFolder = Annotated[Path, POSITIONAL, Field(description="run folder that `plurimask train` wrote")]
Data = Annotated[Path, POSITIONAL, Field(description="folder of images and masks, or .npz")]
Split = Annotated[str, Field(description="which part of the data")]
PatientGroup = Annotated[
    str | None, Field(description="regular expression for the patient in a name, for drawing the split")
]
Flips = Annotated[
    tuple[str, ...] | None,
    Field(description="classes that turn into a twin at random: CLASS=PROBABILITY ..., street or none"),
]


class Group(NamedTuple):
    """Options under a title in the help."""

    title: str
    fields: Mapping[str, FieldInfo]
    defaults: Mapping[str, Any] = {}
    """What the help shows in place of the fields' own defaults."""


class _Option(NamedTuple):
    title: str
    name: str
    """As it is written; a word in capitals for one that is given by its place."""
    path: str
    """`outer.inner` of a field in a nested model."""
    field: FieldInfo
    kind: Any
    """The type of a value that is not None."""
    takes_none: bool
    is_flag: bool
    default: Any

    def take(self, words: deque[str]) -> Any:
        """Remove from `words` those of this option, and say their value.

        Raises:
            InputError: they are none of its values.
        """
        parts = get_args(self.kind) if get_origin(self.kind) is tuple else (self.kind,)
        taken: list[str] = []
        while words and (Ellipsis in parts or len(taken) < len(parts)) and not words[0].startswith("--"):
            taken.append(words.popleft())
            if self.takes_none and taken == ["None"]:
                return None
        given: Any = taken
        if get_origin(self.kind) is not tuple:
            given = taken[0] if taken else None
        elif get_origin(parts[0]) is tuple:  # several words make one of the values
            size = len(get_args(parts[0]))
            given = [taken[start : start + size] for start in range(0, len(taken), size)]
        allowed: Any = Annotated[self.field.annotation, self.field]
        try:
            return TypeAdapter(allowed).validate_python(given)
        except ValidationError as error:
            mistake = error.errors()[0]
            missing = not taken or mistake["type"] == "missing"
            reason = "a value is missing" if missing else mistake["msg"].removeprefix("Value error, ")
            raise InputError(f"{' '.join([self.name, *taken])}: {reason}") from None

    def help(self) -> tuple[str, str]:
        """How the option is written, and what it does."""
        text, default = self.field.description or "", self.default
        if self.is_flag:
            return self.name.replace("--", "--no-") if default else self.name, text
        if not self.field.is_required():
            shown = " ".join(map(str, default)) or "none" if isinstance(default, tuple) else default
            text = f"{text} (default: {shown})"
        if POSITIONAL in self.field.metadata:
            return self.name + " ..." * (get_origin(self.kind) is tuple), text
        return f"{self.name} {_words(self.kind)}", text


def parse(options: type[AnyOptions], arguments: Sequence[str], command: str) -> AnyOptions:
    """The options of a command that has no others; see `read`."""
    return options(**read(options, [], arguments, command))


def read(general: type[Options], groups: Sequence[Group], arguments: Sequence[str], command: str) -> dict[str, Any]:
    """The values of the options that are among `arguments`, those of nested models in dictionaries.

    Raises:
        InputError: an option is unknown (the nearest names are given), missing, or has an impossible value.
    """
    all_groups = [Group("options", general.model_fields), *groups]
    options = [option for group in all_groups for option in _options(*group)]
    for name, number in Counter(option.name for option in options).items():
        if number > 1:  # of a method from outside of the package
            raise InputError(f"there are two options {name}: rename the method's setting")
    if not HELP.isdisjoint(arguments):
        print(_help(options, command, " ".join((general.__doc__ or "").split())))
        raise SystemExit(0)
    values, loose = _values(options, arguments, command)
    for option in options:
        if POSITIONAL in option.field.metadata and loose:
            values[option.path] = option.take(loose)
        if option.field.is_required() and option.path not in values:
            raise InputError(f"{option.name} is missing (see plurimask {command} --help)")
    if loose:
        raise InputError(f"{loose[0]}: belongs to no option (see plurimask {command} --help)")
    return values


def peek(fields: Mapping[str, FieldInfo], arguments: Sequence[str]) -> dict[str, Any]:
    """The values of those options among `arguments` that decide which others there are."""
    return _values(list(_options("", fields)), arguments)[0]


def console() -> Console:
    """Where commands speak to people: standard error, lines unbroken, so that paths can be copied."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def _options(
    title: str, fields: Mapping[str, FieldInfo], defaults: Mapping[str, Any] = {}, prefix: str = ""
) -> Iterator[_Option]:
    for name, field in fields.items():
        kind, default = field.annotation, defaults.get(name, field.default)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            same = dict.fromkeys(kind.model_fields, default)
            inner = default.model_dump() if isinstance(default, BaseModel) else same
            yield from _options(name, kind.model_fields, inner, f"{prefix}{name}.")
        elif get_origin(kind) is not dict:  # tables of settings come by --config alone
            path, takes_none = prefix + name, NoneType in get_args(kind)
            written = path.upper() if POSITIONAL in field.metadata else "--" + path.replace("_", "-")
            value = next(part for part in get_args(kind) if part is not NoneType) if takes_none else kind
            yield _Option(title, written, path, field, value, takes_none, kind is bool, default)


def _values(
    options: Sequence[_Option], arguments: Sequence[str], command: str | None = None
) -> tuple[dict[str, Any], deque[str]]:
    """The values of named options, and the words that are no option's. Without a command, options may be unknown."""
    named = {option.name: option for option in options}
    negated = {option.name.replace("--", "--no-"): option for option in options if option.is_flag}
    values: dict[str, Any] = {}
    loose: deque[str] = deque()
    words = deque(arguments)
    while words:
        word = words.popleft()
        if not word.startswith("--"):
            loose.append(word)
            continue
        name, sign, value = word.partition("=")
        name = name.replace("_", "-")
        if sign:
            words.appendleft(value)
        option = named.get(name) or negated.get(name)
        if option is None and command:
            raise unknown_name(f"option of plurimask {command}", name, (key for key in named if key.startswith("--")))
        if option is not None:
            *outer, inner = option.path.split(".")
            table = reduce(lambda table, part: table.setdefault(part, {}), outer, values)
            table[inner] = name in named if option.is_flag else option.take(words)
    return values, loose


def _help(options: Sequence[_Option], command: str, description: str) -> str:
    width, left = min(shutil.get_terminal_size().columns, 120), " " * 34
    needed = " ".join(option.help()[0] for option in options if option.field.is_required())
    lines = [f"usage: plurimask {command} {needed} [options]", "", *textwrap.wrap(description, width)]
    for title in dict.fromkeys(option.title for option in options):
        lines += ["", f"{title}:"]
        for usage, text in (option.help() for option in options if option.title == title):
            told = textwrap.fill(text, width, initial_indent=left, subsequent_indent=left)
            start = f"  {usage}  "
            lines.append(start + told[len(start) :] if len(start) <= len(left) else f"{start.rstrip()}\n{told}")
    return "\n".join(lines)


def _words(kind: Any) -> str:
    """How the help writes a value."""
    if get_origin(kind) is tuple:
        return " ".join("..." if part is Ellipsis else _words(part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return WORDS.get(get_args(kind)[0] if get_origin(kind) is Annotated else kind, "VALUE")
