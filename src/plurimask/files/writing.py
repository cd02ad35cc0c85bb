"""Writing files so that nothing is lost: whole or not at all, and never over something that was there."""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from plurimask.errors import InputError

_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
"""Names of files that are not written to their end."""
MAX_NAME_BYTES = 200
"""Of a file's name: file systems allow 255, of which some are for temporary names."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream for the new content of a file, which takes its place at the end of the block, whole or not at all: a
    reader, or a killed process, sees the old content or the new.

    Raises:
        InputError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        _discard(temporary)
        raise InputError(
            f"{path}: could not be written ({error.strerror}); what was there before is unharmed"
        ) from error
    except BaseException:
        _discard(temporary)
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, as `replacing`."""
    with replacing(path) as stream:
        stream.write(content)


def _discard(temporary: Path) -> None:
    with suppress(OSError):  # what is wrong is said by the error that led here
        temporary.unlink(missing_ok=True)


def is_within(path: Path, folder: Path) -> bool:
    """Whether `path` lies in `folder`, once all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def table_bytes(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """A CSV file of rows by column. Text that a spreadsheet would take for a formula has an apostrophe before it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns)
    writer.writeheader()
    writer.writerows({column: _cell(value) for column, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def refuse_unwritable(path: Path) -> None:
    """Raise `InputError` if nothing can be written at `path`, be it a file or a folder to come: to be asked before the
    work whose result is to lie there. Nothing is left behind."""
    there = path
    try:
        while not there.is_dir():
            if os.path.lexists(there) and not there.is_file():
                raise InputError(f"--out {path}: {there} is neither a file nor a folder: give another name")
            if there.is_file() and there != path:
                raise InputError(f"--out {path}: {there} is a file, no folder: give another name")
            if len(os.fsencode(there.name)) > MAX_NAME_BYTES:
                raise InputError(f"--out {path}: a name of more than {MAX_NAME_BYTES} bytes: give a shorter one")
            there = there.parent
        with tempfile.TemporaryFile(dir=there):
            pass
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or "no name for a file"
        raise InputError(f"--out {path}: nothing can be written in {there} ({reason}): give another folder") from error


def refuse_existing(path: Path, what: str, overwrite: bool) -> None:
    """Raise `InputError` if nothing can be written there, or a file, or a folder with files, is there already and may
    not be overwritten."""
    refuse_unwritable(path)
    if overwrite or not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise InputError(f"{path} holds {what} already: give another --out, or --overwrite to replace it")


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there; of a link the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `replacing` has not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Remove what `replacing` had begun in processes that were killed, in a folder and anywhere in these folders of it.

    No other process may be writing there.
    """
    for path in chain(folder.iterdir(), *((folder / name).rglob("*") for name in names)):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)
