"""Calls of plurimask as processes of their own, the workers of Dask below them, and what they have written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tifffile


def start(words: list[str]) -> subprocess.Popen[str]:
    """A call that runs; its output is what is said."""
    command = [sys.executable, "-m", "plurimask", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # rounding depends on the number of threads
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def children(process: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def workers_of(process: int) -> list[int]:
    """The workers of Dask that a process has started."""
    return [one for one in children(process) if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()]


def tree(folder: Path) -> dict[str, bytes]:
    """Each file with its content; of TIFFs, which tell the time, the pixels."""
    return {
        str(path.relative_to(folder)): tifffile.imread(path).tobytes() if path.suffix == ".tif" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
