"""One attack: a command line of plurimask over broken material, run in this process, and what is wrong with its end."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import io
import os
import re
import resource
import shutil
import signal
import stat
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO
from unittest import mock

from matplotlib.figure import Figure
from PIL import Image

from plurimask.commands.main import main

SECONDS = int(os.environ.get("PLURIMASK_ATTACK_SECONDS", "120"))
"""After so many a command counts as hung: it takes less than one where nothing else runs."""
MEMORY = 4 * 2**30
"""Bytes that a command may take beside what the process has already: more is refused by the system."""
LONGEST_LINE, LONGEST_OUTPUT = 3000, 20_000
"""Characters of a message, and of all that a refused command prints."""
_ADVICE = re.compile(r"allow_pickle|weights_only|add_safe_globals|set_int_max_str_digits|MAX_IMAGE_PIXELS|maxsize")
"""What other libraries advise, and nobody must follow."""


@dataclass
class Case:
    """One command line, and what was broken before."""

    folder: Path
    arguments: list[str]
    must_fail: bool
    """Whether exit code 2 is due; else 0 is right too."""
    story: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = " ".join(word if len(word) < 60 else f"{word[:57]}..." for word in self.arguments)
        text = f"{'; '.join(self.story) or 'nothing broken'}: plurimask {words}".replace(str(self.folder), "*")
        return text.encode("unicode_escape").decode()


class Hung(BaseException):
    """No `except Exception` holds it."""


def run(arguments: list[str]) -> tuple[int, str]:
    """The exit code and all that was printed, as a shell would have it."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "utf-8", errors="strict", write_through=True)
    err = io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", write_through=True)
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with streams[0], streams[1], _undrawn(), bounded(), warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, kind, *_: err.write(f"{kind.__name__}: {message}\n")
        try:
            code = main(arguments)
        except SystemExit as end:  # of --help
            code = int(end.code or 0)
    return code, raw.getvalue().decode("utf-8", "replace")


def _undrawn() -> contextlib.AbstractContextManager[object]:
    """Figures are made, but not drawn, which takes longer than all the rest and has tests of its own."""

    def save(self: Figure, stream: BinaryIO, **_: Any) -> None:
        Image.new("L", (2, 2)).save(stream, "PNG")

    return mock.patch.object(Figure, "savefig", save)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Time and memory are limited."""

    def ring(_: int, __: FrameType | None) -> None:
        raise Hung

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, hard))
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(2 * SECONDS, exit=True, file=sys.__stderr__)  # where no signal is heard
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def faults(case: Case) -> list[str]:
    """Run the command; what is wrong with how it ended, in words."""
    kept = case.folder / "kept"
    before = state(kept)
    try:
        code, printed = run(case.arguments)
    except Hung:
        return [f"hangs at\n{traceback.format_exc()}"]
    except (Exception, KeyboardInterrupt):
        return [f"a traceback\n{traceback.format_exc()}"]
    found = [] if state(kept) == before else ["the files have changed"]
    return found + _wrong_words(code, printed, case.must_fail)


def _wrong_words(code: int, printed: str, must_fail: bool) -> list[str]:
    found = []
    if code not in (0, 2):
        found.append(f"exit code {code}")
    if must_fail and code == 0:
        found.append("exit code 0, expected 2")
    lines = printed.splitlines()
    messages = [line for line in lines if line.startswith("plurimask: ")]
    if code == 2 and (len(messages) != 1 or messages[0] != lines[-1]):
        found.append(f"{len(messages)} messages, expected one at the end")
    if code == 2 and (len(printed) > LONGEST_OUTPUT or max(map(len, lines), default=0) > LONGEST_LINE):
        found.append(f"prints {len(printed)} characters")
    if advice := _ADVICE.search(printed):
        found.append(f"gives another library's advice, {advice[0]}")
    if re.search(r"\w+Warning: |Traceback", printed):
        found.append("prints a warning of a library")
    if code == 2 and re.search(r"[\x00-\x08\x0b-\x1f\x7f]", printed.replace("\r", "")):
        found.append("prints control characters")
    return [f"{what}\n{printed[-3000:]}" for what in found]


def state(folder: Path) -> str:
    """A hash of all names, kinds, links, rights and contents."""
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(parent) / name
            about = path.lstat()
            digest.update(os.fsencode(path) + oct(about.st_mode).encode())
            if stat.S_ISLNK(about.st_mode):
                digest.update(os.fsencode(path.readlink()))
            elif stat.S_ISREG(about.st_mode):
                digest.update(path.read_bytes() if about.st_size < 2**24 else str(about.st_size).encode())
    return digest.hexdigest()


def copied(source: Path, target: Path) -> Path:
    """A copy of a file or folder that may be broken."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def pick(rng: Any, options: Any) -> Any:
    """One of `options`, as it is."""
    return options[int(rng.integers(len(options)))]
