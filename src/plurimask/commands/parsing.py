"""From words on the command line to values: `argparse`, with an argument for each field of pydantic models.

Only what was given is returned, so that a command knows it; the defaults, which the help shows, belong to whoever uses
the values. An option takes as many words as its type has values, a tuple of any length all up to the next option; names
may be written with - or _, and `--name=value` is `--name value`. Every mistake becomes one line.
"""

from __future__ import annotations

import os
import shlex
from argparse import SUPPRESS, ArgumentError, ArgumentParser, BooleanOptionalAction, HelpFormatter, Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console

from plurimask.commands.kinds import has_rows, is_either, kind_of, words_of
from plurimask.errors import InputError, unknown_name
from plurimask.pretrained import PREFIX, data_of

if TYPE_CHECKING:
    from plurimask.data import Place

POSITIONAL = "positional"
"""In the annotation of a field that is given by its place, without a name."""
LONGEST_WORDS = 200
"""Characters of what was given, in a message."""
"""How the help writes a value of each type."""


class Options(BaseModel):
    """The options of a command. The docstring of a subclass is what the help says of the command; a name that is a
    word of Python ends with _ there, as `from_`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyOptions = TypeVar("AnyOptions", bound=Options)

# Options of several commands.
RunFolder = Annotated[
    Path,
    POSITIONAL,
    Field(description="run folder that `plurimask train` wrote, or pretrained:NAME, a model of the package"),
]
Data = Annotated[
    Path | None,
    POSITIONAL,
    Field(
        description="folder of images and masks, or .npz, or pretrained:NAME, the examples beside a model; with "
        "--images, where patterns start"
    ),
]
ImagePattern = Annotated[
    str | None,
    Field(description="pattern of the images in any tree, in quotes: '*/t1/*.png'; ** stands for any folders"),
]
MaskPatterns = Annotated[
    tuple[str, ...],
    Field(description="rater and pattern of the masks: 'anna=*/anna/*_seg.png' ...; what * stands for pairs them"),
]
Foreground = Annotated[bool, Field(description="masks number their objects: every value but 0 is the foreground")]
Split = Annotated[str, Field(description="which part of the data")]
SliceDraws = Annotated[
    Literal["shared", "independent"] | None,
    Field(
        description="of a run with --slices: all slices of a sample share what is drawn, so that neighbours agree (the "
        "default), or each has draws of its own, for comparison"
    ),
]
PatientGroup = Annotated[
    str | None, Field(description="regular expression for the patient in a name, for drawing the split")
]
Flips = Annotated[
    tuple[str, ...] | None,
    Field(description="classes that turn into a twin at random: CLASS=PROBABILITY ..., street or none"),
]


class WithData(Protocol):
    """The options of a command that reads images and masks."""

    @property
    def data(self) -> Path | None: ...
    @property
    def images(self) -> str | None: ...
    @property
    def masks(self) -> tuple[str, ...]: ...
    @property
    def foreground(self) -> bool: ...


class Group(NamedTuple):
    """Options under a title in the help, which shows `defaults` in place of the fields' own."""

    title: str
    fields: Mapping[str, FieldInfo]
    defaults: Mapping[str, Any] = {}


def parse(options: type[AnyOptions], arguments: Sequence[str], command: str) -> AnyOptions:
    """The options of a command that has no others; see `read`."""
    return options(**read(options, [], arguments, command))


def read(general: type[Options], groups: Sequence[Group], arguments: Sequence[str], command: str) -> dict[str, Any]:
    """The values of the options that are among `arguments`, those of nested models in dictionaries.

    Raises:
        InputError: an option is unknown (the nearest names are given), missing, or has an impossible value.
    """
    parser = _Parser(command, [Group("", general.model_fields), *groups])
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    needed = {path: option for path, option in parser.fields.items() if option[1].is_required()}
    places = {name: name if field.is_required() else f"[{name}]" for name, field in parser.fields.values()}
    usage = [shown for name, shown in places.items() if name.isupper()]
    usage += [f"{name} {words_of(field.annotation)}" for name, field in needed.values() if not name.isupper()]
    parser.usage, parser.description = f"%(prog)s {' '.join(usage)} [options]", general.__doc__
    given, loose = parser.parse_known_intermixed_args([*_separate(arguments)])
    if unknown := next((word for word in loose if word.startswith("--")), None):
        names = [name for name, _ in parser.fields.values() if not name.isupper()]
        raise unknown_name(f"option of plurimask {command}", unknown, names)
    values = parser.values(given)
    if missing := [name for path, (name, _) in needed.items() if path not in values]:
        parser.error(f"{missing[0]} is missing")
    if loose:
        parser.error(f"{_brief(loose[0].strip())}: belongs to no option")
    return values


def peek(fields: Mapping[str, FieldInfo], arguments: Sequence[str], command: str) -> dict[str, Any]:
    """The values of those named options among `arguments` that decide which others there are."""
    named = {name: field for name, field in fields.items() if POSITIONAL not in field.metadata}
    parser = _Parser(command, [Group("", named)])
    return parser.values(parser.parse_known_args([*_separate(arguments)])[0])


def place_of(options: WithData) -> Place:
    """Where the data of a command lie; patterns start from the current folder where no other is given.

    Raises:
        InputError: there are neither data nor patterns, or a rater has two patterns.
    """
    from plurimask.data import Place
    from plurimask.data.layouts.globs import masks_by_rater

    masks = masks_by_rater(options.masks)
    if options.data is None and options.images is None:
        raise InputError("DATA is missing: give the folder of images and masks, or patterns by --images and --masks")
    return Place(data_of(options.data or Path()), "foreground" if options.foreground else None, options.images, masks)


def shell_word(path: Path) -> str:
    """A path as a word of a shell that no command takes for an option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def console() -> Console:
    """Where commands speak to people: standard error, lines unbroken, so that paths can be copied, and names as they
    are, with square brackets and colons."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


class _Parser(ArgumentParser):
    """To argparse no option is required: a name that is misspelt is to be told before one that is missing."""

    def __init__(self, command: str, groups: Sequence[Group]) -> None:
        super().__init__(f"plurimask {command}", argument_default=SUPPRESS, add_help=False, allow_abbrev=False)
        self.formatter_class = partial(HelpFormatter, max_help_position=34)
        self.fields: dict[str, tuple[str, FieldInfo]] = {}
        """By `outer.inner`: the name as it is written, in capitals if it is given by its place; and the field."""
        try:
            for group in groups:
                self.add(group)
        except ArgumentError as error:  # of a method from outside of the package
            raise InputError(f"there are two options {error.argument_name}: rename the method's setting") from error

    def add(self, group: Group, at: str = "") -> None:
        section = self.add_argument_group(group.title) if group.title else self
        for name, field in group.fields.items():
            kind, default, path = field.annotation, group.defaults.get(name, field.default), at + name
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                same = dict.fromkeys(kind.model_fields, default)
                inner = default.model_dump() if isinstance(default, BaseModel) else same
                self.add(Group(name, kind.model_fields, inner), f"{path}.")
            elif get_origin(kind) is not dict:  # tables of settings come by --config alone
                by_place = POSITIONAL in field.metadata
                several = " ..." if get_origin(kind) is tuple else ""
                written = path.upper() + several if by_place else "--" + path.rstrip("_").replace("_", "-")
                self.fields[path] = written, field
                own = _settings(written, field, default) | ({} if by_place else {"dest": path})
                section.add_argument(path if by_place else written, **own)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")

    def values(self, namespace: Namespace) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for path, given in vars(namespace).items():
            outer, _, inner = path.rpartition(".")
            table = values.setdefault(outer, {}) if outer else values
            table[inner] = _value(*self.fields[path], given)
        return values


def _separate(arguments: Sequence[str]) -> Iterator[str]:
    """Names with -, and values in words of their own: with a space ahead where argparse would see an option."""
    for word in arguments:
        name, sign, value = word.partition("=") if word.startswith("--") else ("", "=", word)
        if name:
            yield name.replace("_", "-")
        if sign:
            yield f" {value}" if value[:1] in ("-", " ") and value != "-h" else value


def _settings(name: str, field: FieldInfo, default: Any) -> dict[str, Any]:
    """What argparse must know of an option."""
    shown = " ".join(map(str, default)) or "none" if isinstance(default, tuple) else default
    told = "" if field.is_required() or field.annotation is bool or name.isupper() else f" (default: {shown})"
    text = {"help": f"{field.description or ''}{told}".replace("%", "%%")}
    kind, parts = kind_of(field)
    if name.isupper():
        return {"nargs": "*" if parts else "?", "metavar": name, **text}
    if field.annotation is bool:
        return {"action": BooleanOptionalAction if default else "store_true", **text}
    if is_either(field):
        return {"nargs": "+", "metavar": words_of(parts[0]), **text}
    if parts and Ellipsis not in parts:
        return {"nargs": len(parts), "metavar": tuple(map(words_of, parts)), **text}
    metavar = f"{words_of(get_args(parts[0])[0])},..." if has_rows(parts) else words_of(parts[0] if parts else kind)
    return {"nargs": "*" if parts else None, "metavar": metavar, **text}


def _value(name: str, field: FieldInfo, given: bool | str | list[str]) -> Any:
    """The value of an option's words, which argparse gives as a list where there may be several."""
    words = [str(word).removeprefix(" ") for word in (given if isinstance(given, list) else [given])]
    kind, parts = kind_of(field)
    if words == ["None"] and NoneType in get_args(field.annotation):
        return None
    if name == "--out" and words[0].startswith(PREFIX):
        raise InputError(f"--out {_brief(words[0])}: models of the package are only read: give a place of your own")
    if "" in words and Path in (kind, *parts):
        raise InputError(f"{name}: an empty word, expected a path: is a variable of the shell not set?")
    value: Any = words if parts and not (is_either(field) and len(words) == 1) else words[0]
    if has_rows(parts):
        value = [word.split(",") for word in words]
    elif parts and get_origin(parts[0]) is tuple:  # several words make one of the values
        size = len(get_args(parts[0]))
        value = [words[start : start + size] for start in range(0, len(words), size)]
    allowed: Any = Annotated[field.annotation, field]
    try:
        return TypeAdapter(allowed, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        mistake = error.errors()[0]
        if is_either(field) and len(words) not in (1, len(parts)):
            expected = f"expected one value, or {len(parts)}: {field.description}"
            raise InputError(f"{_brief(' '.join([name, *words]))}: {expected}") from None
        reason = "a value is missing" if mistake["type"] == "missing" else mistake["msg"].removeprefix("Value error, ")
        if parts and words and os.path.exists(words[-1]):  # noqa: PTH110  (no word is too long for it)
            reason += f" ({name} takes all words up to the next option)"
        raise InputError(f"{_brief(' '.join([name, *words]))}: {reason}") from None


def _brief(words: str) -> str:
    return words if len(words) < LONGEST_WORDS else f"{words[:LONGEST_WORDS]} ..."
