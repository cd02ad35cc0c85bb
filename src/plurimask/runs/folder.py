"""The run folder: the names of what lies in it, and the one writer that it has at a time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from plurimask.errors import InputError
from plurimask.files.reading import read_json
from plurimask.files.writing import remove, remove_temporaries, replace_file
from plurimask.pretrained import refuse_shipped
from plurimask.runs.lock import LOCK_FILE, FolderLock
from plurimask.runs.staging import HIDDEN, Staging, mend

RECORD_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.csv"
RUN_FILES = (RECORD_FILE, WEIGHTS_FILE, METRICS_FILE, "checkpoints", "members")
"""All that a training writes: what is removed where a run is replaced."""


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, of this version or another."""
    try:
        content = read_json(folder / RECORD_FILE, "")
    except InputError:
        return False
    return isinstance(content, dict) and {"format", "method", "config"} <= content.keys()


def is_free(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but what a process that was killed had begun."""
    return not folder.exists() or all(path.name in (LOCK_FILE, *HIDDEN) for path in folder.iterdir())


def refuse_occupied(folder: Path, overwrite: bool) -> None:
    """Raise `InputError` if a run cannot be written into a folder: something is there, and it may not be replaced or is
    no run."""
    refuse_shipped(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder as --out")
    if is_free(folder):
        return
    if not overwrite:
        raise InputError(f"{folder} holds something already: give another --out, or --overwrite to replace a run")
    if not is_run(folder):
        raise InputError(
            f"{folder} holds files, but no run ({RECORD_FILE} is missing, or another program's): --overwrite replaces "
            "nothing but runs; give another --out"
        )


class RunWriter:
    """The one that writes into a run folder, from the start of a block to its end.

    A new run that replaces another is built beside it and takes its place with its first checkpoint; files that are not
    of a run stay. A new run that fails before its first checkpoint leaves nothing.

    Args:
        folder: the run folder.
        resume: the run that is there is continued.
        overwrite: a run that is there may be replaced.

    Raises:
        InputError: at the start of the block, another process writes into the folder, or it holds what may not be
            replaced.
    """

    def __init__(self, folder: Path, resume: bool = False, overwrite: bool = False) -> None:
        self.folder, self.resume, self.overwrite = folder, resume, overwrite
        self.staging: Staging | None = None
        self.record = b""
        """Of a run that is continued, until its first checkpoint stands."""
        self.is_safe = resume
        """Whether there is something to continue from."""
        self.held = ExitStack()

    def __enter__(self) -> RunWriter:
        refuse_shipped(self.folder)
        with ExitStack() as held:
            held.enter_context(FolderLock(self.folder))
            mend(self.folder, RUN_FILES)
            if not self.resume:
                refuse_occupied(self.folder, self.overwrite)
            if is_run(self.folder):
                remove_temporaries(self.folder, RUN_FILES)
                if not self.resume:
                    self.staging = held.enter_context(Staging(self.folder, RUN_FILES))
            self.held = held.pop_all()
        return self

    def here(self, path: Path) -> Path:
        """Where a file or folder of the run lies now."""
        return self.staging.here(path) if self.staging is not None else path

    def begin(self, record: bytes) -> None:
        """Write the record of a run; of one that is continued not before its next checkpoint."""
        if self.resume:
            self.record = record
        else:
            self.finish(record)

    def checkpointed(self) -> None:
        """A checkpoint stands: from now on the folder is this run's."""
        self.is_safe = True
        if self.staging is not None:
            self.staging.settle()
        if self.record:
            self.finish(self.record)
            self.record = b""

    def finish(self, record: bytes) -> None:
        """Write the record of a run as it is now."""
        replace_file(self.here(self.folder / RECORD_FILE), record)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self.held:
            has_failed = kind is not None and issubclass(kind, Exception)  # a signal is no failure
            if has_failed and not self.is_safe and self.staging is None:
                for name in RUN_FILES:
                    remove(self.folder / name)


def mend_run(folder: Path) -> None:
    """Clear up in a run folder behind a process that was killed.

    Raises:
        InputError: another process writes into the folder.
    """
    if folder.is_dir():
        with RunWriter(folder, resume=True):
            pass
