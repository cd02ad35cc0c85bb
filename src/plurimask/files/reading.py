"""Reading files of which nobody knows who wrote them: what they are is looked at before what they hold.

Text is UTF-8, with or without a byte-order mark, whatever the locale. JSON and YAML hold plain values alone: no
aliases, no keys twice, no numbers of hundreds of digits, nothing nested without end.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from plurimask.errors import InputError

MAX_BYTES = 2**26
"""Of a text file: a record with the names of a million images is smaller."""
MAX_YAML_BYTES = 2**18
"""Of a file of settings, which people write."""
MAX_DEPTH, MAX_DIGITS = 32, 40
_KINDS: dict[str, Callable[[int], bool]] = {
    "a folder": stat.S_ISDIR,
    "a pipe": stat.S_ISFIFO,
    "a socket": stat.S_ISSOCK,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
}


def is_there(path: Path) -> bool:
    """Whether there is anything of this name, be it a link that leads nowhere."""
    return os.path.lexists(path)


def require_file(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        InputError: there is none, or it is a folder, a pipe, a socket or a device, which may not be opened: some wait
            for ever, others have no end.
    """
    try:
        about = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file: check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no name for a file"
        raise InputError(f"{path}: cannot be read ({reason}): check the path") from error
    if not stat.S_ISREG(about.st_mode):
        kind = next((name for name, is_kind in _KINDS.items() if is_kind(about.st_mode)), "no file")
        raise InputError(f"{path}: {kind}, expected a file: give one, or remove it")
    return about.st_size


def refuse_special(path: Path) -> None:
    """Raise `InputError` if there is something at `path` that is neither a file nor a folder."""
    if not path.is_dir() and path.exists():
        require_file(path)


def memory_bytes() -> int:
    """The memory of the machine: what a file declares beyond that is never read."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def open_file(path: Path) -> BinaryIO:
    """A file for reading; the caller closes it.

    Raises:
        InputError: as `require_file`.
        OSError: it may not be read.
    """
    require_file(path)
    return path.open("rb")


def read_text(path: Path, advice: str, limit: int = MAX_BYTES) -> str:
    """The text in `path`; `advice` says what to do if it cannot be read, and ends the message.

    Raises:
        InputError: there is no such file, it is no text in UTF-8, or longer than `limit` bytes.
    """
    size = require_file(path)
    if size > limit:
        raise InputError(f"{path}: {size:,} bytes, expected at most {limit:,}: {advice}")
    try:
        with path.open("rb") as stream:
            return stream.read(limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no text in UTF-8 (byte {error.start}): save it as UTF-8, or {advice}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): {advice}") from error


def read_json(path: Path, advice: str) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: as `read_text`, or it is no JSON, or holds what is not plain.
    """
    return parse_json(read_text(path, advice), str(path), advice)


def parse_json(text: str, where: str, advice: str) -> Any:
    """What a JSON text stands for; `where` names it in errors.

    Raises:
        InputError: it is no JSON, or holds what is not plain.
    """
    try:
        content = json.loads(text, parse_int=_integer, object_pairs_hook=_object)
        _refuse_odd(content)
    except RecursionError as error:
        raise InputError(f"{where}: nested deeper than {MAX_DEPTH} levels: {advice}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not readable as JSON (line {error.lineno}, {error.msg}): {advice}") from error
    except _Odd as odd:
        raise InputError(f"{where}: {odd}: {advice}") from odd
    return content


def read_yaml(path: Path, advice: str) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: as `read_text`, or it is no YAML, or holds what is not plain.
    """
    text = read_text(path, advice, MAX_YAML_BYTES)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):  # before anything is built
            if isinstance(event, yaml.AliasEvent):
                raise _Odd("an alias (*name), which is not read")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _Odd(f"nested deeper than {MAX_DEPTH} levels")
        content = yaml.load(text, Loader=_PlainLoader)
        _refuse_odd(content)
    except _Odd as odd:
        raise InputError(f"{path}: {odd}: {advice}") from odd
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{path}: not readable as YAML (line {line}, {error.problem}): {advice}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as YAML ({type(error).__name__}): {advice}") from error
    return content


class _Odd(Exception):
    """What no file of plain values holds, in words."""


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Odd(f"a number of {len(digits)} digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Odd(f"the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return table


class _PlainLoader(yaml.SafeLoader):
    """No key twice, and no whole number that is longer than any setting."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        table: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(table) < len(node.value):
            keys = [key.value for key, _ in node.value]
            raise _Odd(f"the key {next((key for key in keys if keys.count(key) > 1), keys[0])!r} twice")
        return table


def _refuse_odd(content: Any) -> None:
    """Raise `_Odd` if a value is not plain."""
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Odd(f"nested deeper than {MAX_DEPTH} levels")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                inner += value
            else:
                _refuse_odd_value(value)
        level = inner


def _refuse_odd_value(value: Any) -> None:
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _Odd("half of a character (a lone surrogate)")
    elif isinstance(value, int):
        if abs(value) >= 10**MAX_DIGITS:
            raise _Odd(f"a number of more than {MAX_DIGITS} digits")
    elif value is not None and not isinstance(value, float):
        raise _Odd(f"a value of type {type(value).__name__}, expected numbers, text, lists and tables")


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
        import torch  # only where it is needed

        return torch.load(path, map_location="cpu", weights_only=True)
