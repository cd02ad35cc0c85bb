"""`plurimask view` in a process of its own, and the browser that looks at it: for benchmarks, pictures and tests."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""None where there is none."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
NO_BROWSER = "no browser here: apt-get install chromium"

_SECONDS_TO_END = 60


class Started(NamedTuple):
    """A viewer that listens."""

    process: subprocess.Popen[str]
    link: str
    """The address with its token."""

    @property
    def address(self) -> str:
        """Without the token."""
        return self.link.partition("?")[0]


@contextmanager
def started_viewer(*words: object) -> Iterator[Started]:
    """`plurimask view` with these words, as soon as it says where it listens; it is ended as by Ctrl-C.

    Raises:
        RuntimeError: it ended before, with what it said.
    """
    command = [sys.executable, "-m", "plurimask", "view", *map(str, words), "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Started(process, _link_of(process))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(_SECONDS_TO_END)


def _link_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
            return found[0]
    raise RuntimeError(f"the viewer did not start: {said}")
