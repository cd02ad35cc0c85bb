"""Writing files so that nothing is lost: whole or not at all, and never over something that was there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from plurimask.errors import InputError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader, or a killed process, sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"{path}: could not be written ({error.strerror}); what was there before is unharmed"
        ) from error


def refuse_existing(path: Path, what: str, overwrite: bool) -> None:
    """Raise `InputError` if a file, or a folder with files, is there already and may not be overwritten."""
    if overwrite or not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise InputError(f"{path} holds {what} already: give another --out, or --overwrite to replace it")


def clear(folder: Path, names: Iterable[str]) -> None:
    """Remove these files and folders in `folder`; anything else stays."""
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
