"""The types that options may have: one value, several, or either; and how the help writes them."""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

WORDS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "True|False"}


def kind_of(field: FieldInfo) -> tuple[Any, tuple[Any, ...]]:
    """The type of a value that is not None, and the types of its words where it is a tuple."""
    kind: Any = field.annotation
    if NoneType in get_args(kind):
        several = [part for part in get_args(kind) if get_origin(part) is tuple]
        kind = next(part for part in [*several, *get_args(kind)] if part is not NoneType)
    return kind, get_args(kind) if get_origin(kind) is tuple else ()


def has_rows(parts: tuple[Any, ...]) -> bool:
    """Whether a value is a tuple of tuples of any length, each of which is a word with commas."""
    return bool(parts) and get_origin(parts[0]) is tuple and Ellipsis in get_args(parts[0])


def is_either(field: FieldInfo) -> bool:
    """Whether a value is one word or several, such as `96` or `8 64 64`."""
    kinds = [part for part in get_args(field.annotation) if part is not NoneType]
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return is_union and len(kinds) == 2 and sum(get_origin(part) is tuple for part in kinds) == 1


def words_of(kind: Any) -> str:
    """How the help writes a value."""
    if get_origin(kind) is tuple:
        return " ".join("..." if part is Ellipsis else words_of(part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return WORDS.get(get_args(kind)[0] if get_origin(kind) is Annotated else kind, "VALUE")
