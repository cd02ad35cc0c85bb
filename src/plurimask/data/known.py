"""What was found in files by an earlier scan, so that no file is read twice only to learn what it holds.

For each data set a file in the user's cache says what the files held, with their size and time of change. It is written
where a scan took long, read without trust (what is damaged is ignored), and of many the oldest are removed. The folder
is `$XDG_CACHE_HOME/plurimask/known`, by default below `~/.cache`; `PLURIMASK_INDEX=0` switches it off.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plurimask.errors import InputError
from plurimask.files.writing import replace_file

FORMAT = 1
SWITCH = "PLURIMASK_INDEX"
SLOW_SECONDS = 1.0
"""Where a scan took less, it is made again next time."""
YOUNG_SECONDS = 2.0
"""A file that was changed so shortly before may change again without another time of change."""
MAX_FILES = 64
"""Data sets that are known."""
MAX_BYTES = 2**28
"""Of one of them, unpacked."""


def cache_folder() -> Path:
    """Where it lies; nothing is made."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".cache") / "plurimask" / "known"


def common_folder(files: Sequence[Path]) -> Path:
    """The folder in which all of the files lie, be it some levels down; the current one of none."""
    return Path(os.path.commonpath([file.absolute().parent for file in files])) if files else Path()


class FileStates:
    """The size and time of change of files, each of which is looked at once: for a moment, not for good."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Of the file that has this path.

        Raises:
            OSError: it cannot be looked at.
        """
        state = self._known.get(name)
        if state is None:
            about = os.stat(name)  # noqa: PTH116  (it is asked for 100,000 files)
            state = self._known[name] = f"{about.st_size} {about.st_mtime_ns}"
        return state


class KnownFiles:
    """What some files of a data set hold, by an earlier scan and by this one.

        known = KnownFiles("masks", root)
        value = known.get(files)        # None: never seen, or changed since
        known.put(files, value)         # after they were read
        known.save()

    Args:
        purpose: what values mean; their form is part of it.
        root: the folder of the files.
        context: what values depend on beside the files.
        states: of the files, if they were looked at a moment ago. A file that changes after that is read once more by
            the next scan, as its state is then another one.
    """

    def __init__(self, purpose: str, root: Path, context: str = "", states: FileStates | None = None) -> None:
        self.root, self.began = os.path.abspath(root), time.time()  # noqa: PTH100  (links stay)
        self.identity = hashlib.sha256(json.dumps([FORMAT, purpose, self.root, context]).encode()).hexdigest()
        self.path = cache_folder() / f"{self.identity[:32]}.json.z" if os.environ.get(SWITCH) != "0" else None
        self.date = ""
        """Of the earlier scan."""
        self.num_known = self.num_read = 0
        """Files of which the values were known, and of which they were not."""
        self._stamps: dict[str, tuple[str, int]] = {}
        self._values: list[Any] = []
        self._numbers: dict[str, int] = {}
        self._seen: dict[str, tuple[str, int]] = {}
        self._states = states
        self._load()

    def get(self, files: Sequence[Path]) -> Any:
        """The value that is known for files in the state in which they are; None if none is. Equal values of two calls
        are one object, not to be changed."""
        if not self._stamps:
            self.num_read += len(files)
            return None
        key, stamp = self._state(files)
        known = self._stamps.get(key)
        if known is None or known[0] != stamp:
            self.num_read += len(files)
            return None
        self._seen[key] = known
        self.num_known += len(files)
        return self._values[known[1]]

    def put(self, files: Sequence[Path], value: Any) -> None:
        """Remember a value, as JSON knows it, of files that were read."""
        if self.path is None:
            return
        key, stamp = self._state(files)
        if self._youngest(stamp) < self.began - YOUNG_SECONDS:
            self._seen[key] = stamp, self._number(value)

    def save(self) -> None:
        """Write what is known of the files that were asked for, if anything is new and finding it took long."""
        is_same = self._seen == self._stamps or not self.num_read
        if self.path is None or is_same or time.time() - self.began < SLOW_SECONDS:
            return
        used = sorted({number for _, number in self._seen.values()})
        places = {number: place for place, number in enumerate(used)}
        content = {
            "identity": self.identity,
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "keys": list(self._seen),
            "stamps": [stamp for stamp, _ in self._seen.values()],
            "numbers": [places[number] for _, number in self._seen.values()],
            "values": [self._values[number] for number in used],
        }
        text = json.dumps(content).encode()
        if len(text) > MAX_BYTES:
            return
        with suppress(InputError, OSError):  # a cache that cannot be written is none
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self.path, zlib.compress(text, 1))
            self._remove_oldest()

    def note(self, what: str) -> list[str]:
        """That an earlier scan was used, in a sentence for people; nothing if it was not."""
        if not self.num_known:
            return []
        return [
            f"{what} of {self.num_known:,} files are known from a scan of {self.date}, {self.num_read:,} were read "
            f"({SWITCH}=0 reads all)"
        ]

    def _load(self) -> None:
        if self.path is None or not self.path.is_file():
            return
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, zlib.error):
            unpacking = zlib.decompressobj()
            content = json.loads(unpacking.decompress(self.path.read_bytes(), MAX_BYTES))
            keys, stamps, numbers, values = (content[name] for name in ("keys", "stamps", "numbers", "values"))
            is_sound = content["identity"] == self.identity and isinstance(values, list)
            is_sound = is_sound and all(isinstance(one, str) for one in (*keys, *stamps))
            if is_sound and all(isinstance(one, int) and 0 <= one < len(values) for one in numbers):
                self.date, self._values = str(content["date"]), values
                self._stamps = dict(zip(keys, zip(stamps, numbers, strict=True), strict=True))

    def _state(self, files: Sequence[Path]) -> tuple[str, str]:
        """The files by name, and the size and time of change of each."""
        names, states = list(map(str, files)), FileStates() if self._states is None else self._states
        return "\n".join(names), "\n".join([states[name] for name in names])

    def _youngest(self, stamp: str) -> float:
        return max((int(line.partition(" ")[2]) for line in stamp.split("\n")), default=0) / 1e9

    def _number(self, value: Any) -> int:
        if len(self._numbers) < len(self._values):
            self._numbers = {json.dumps(known): number for number, known in enumerate(self._values)}
        text = json.dumps(value)
        number = self._numbers.setdefault(text, len(self._values))
        if number == len(self._values):
            self._values.append(json.loads(text))
        return number

    def _remove_oldest(self) -> None:
        assert self.path is not None
        files = sorted(self.path.parent.glob("*.json.z"), key=lambda file: file.stat().st_mtime)
        for file in files[:-MAX_FILES]:
            file.unlink(missing_ok=True)
