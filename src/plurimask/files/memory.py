"""How much memory there is to use: the machine's, that of its container, or what a user says."""

from __future__ import annotations

import ctypes
import gc
import os
import re
from contextlib import suppress
from pathlib import Path

from plurimask.errors import InputError, shown
from plurimask.files.reading import memory_bytes

_WRITTEN = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*([KMGT])i?B?", re.IGNORECASE)
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
USABLE = 0.8
"""Of the machine's memory, where nothing else is said: other programs and the system have the rest."""
LEAST = 6 * 10**8
"""Bytes: Python and torch alone take about so much."""


def memory_limit() -> int:
    """Bytes of the machine, or of the container that the program runs in, if that is less."""
    limit = memory_bytes()
    for path in _LIMITS:
        try:
            words = Path(path).read_text().strip()
        except OSError:
            continue
        if words.isdigit():
            limit = min(limit, int(words))
    return limit


def parse_memory(words: str | None) -> int:
    """Bytes from words such as "4GB" or "700MB"; None: what of this machine is usable.

    Raises:
        InputError: these are no such words, or it is less than the program itself takes.
    """
    if words is None:
        return int(USABLE * memory_limit())
    match = _WRITTEN.fullmatch(words.strip())
    if match is None:
        raise InputError(f"--memory {shown(words)}: expected a number with its unit, such as 4GB or 700MB")
    found = int(float(match[1]) * _UNITS[match[2].upper()])
    if found < LEAST:
        raise InputError(
            f"--memory {shown(words)}: the program alone takes about {LEAST // 10**6} MB: give more, such as 1GB"
        )
    return found


def resident_bytes() -> int:
    """What the program takes now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return LEAST
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Let the system have what was freed: allocators keep it for later, and it counts as memory of the program."""
    gc.collect()
    with suppress(OSError, AttributeError):  # of the GNU C library alone
        ctypes.CDLL(None).malloc_trim(0)
