"""One process at a time writes into a folder."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path

from plurimask.errors import InputError

LOCK_FILE = ".plurimask-lock"
WAIT_SECONDS = 15.0
"""How long a lock is waited for whose process is dead: processes that read for it outlive it by a few seconds."""


class FolderLock:
    """Held within a block, and let go of at its end or with the process, however that ends.

    The operating system locks a file in the folder, so that a process that was killed leaves no lock. The file says on
    which host which process holds it. Where files cannot be locked, that alone decides: who is dead on this host holds
    nothing.

    Args:
        folder: is made if it is not there, and removed at the end if it was and has stayed empty.

    Raises:
        InputError: at the start of the block, another process holds it, or the folder cannot be written into.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_FILE
        self.was_there = folder.exists()

    def __enter__(self) -> FolderLock:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._acquire()
        except OSError as error:
            raise InputError(f"{folder} cannot be written into ({error.strerror}): give another --out") from error
        return self

    def _acquire(self) -> None:
        until = time.monotonic() + WAIT_SECONDS
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise InputError(f"{self.path}: no file of a lock, which would be written to: remove it")
        while True:
            self._file = self.path.open("a+b", buffering=0)
            owner = _owner(self._file)
            if not _take(self._file, owner):
                self._file.close()
                if _is_dead(owner) and time.monotonic() < until:
                    time.sleep(0.1)
                    continue
                raise InputError(_held(self.path.parent, owner))
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                    break
            self._file.close()  # its last owner has removed it since it was opened
        self._file.truncate(0)
        self._file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode())

    def __exit__(self, *_: object) -> None:
        folder = self.path.parent
        if sys.platform == "win32":  # removes no file that is open
            self._file.close()
        self.path.unlink(missing_ok=True)
        self._file.close()
        if not self.was_there and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _owner(file: FileIO) -> tuple[str, int]:
    """Host and process that a lock file names; no host and 0 if it names none."""
    try:
        file.seek(0)
        content = json.loads(file.read(4096))
        return str(content["host"]), int(content["process"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "", 0


def _take(file: FileIO, owner: tuple[str, int]) -> bool:
    """Whether the lock could be taken."""
    try:
        if sys.platform == "win32":
            raise OSError(errno.ENOLCK, "no such locks")
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return not owner[0] or _is_dead(owner)
    return True


def _is_dead(owner: tuple[str, int]) -> bool:
    """Whether a process ran on this host and runs no more."""
    host, process = owner
    if host != socket.gethostname() or sys.platform == "win32":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _held(folder: Path, owner: tuple[str, int]) -> str:
    host, process = owner
    who = f"process {process} on {host}" if host else "another process"
    return (
        f"{folder}: {who} is writing into it: wait until it has ended, or give another --out "
        f"(if that process is no more, remove {folder / LOCK_FILE})"
    )
