"""Decoded files that stay in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

CACHE_BYTES = 2**30


class Sized(Protocol):
    """What a cache holds: an array, or what has one."""

    @property
    def nbytes(self) -> int: ...


_T = TypeVar("_T", bound=Sized)


class ArrayCache:
    """Decoded arrays in their stored type, up to a number of bytes; what does not fit is read again each time.

    A copy for another process starts empty.
    """

    def __init__(self, budget: int = CACHE_BYTES) -> None:
        self.budget, self.used = budget, 0
        self._arrays: dict[Path, Sized] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, read: Callable[[Path], _T]) -> _T:
        """The array of `path`, which is always read by the same function; not to be written to."""
        array = cast("_T | None", self._arrays.get(path))
        if array is None:
            array = read(path)
            with self._lock:
                if path not in self._arrays and self.used + array.nbytes <= self.budget:
                    self._arrays[path] = array
                    self.used += array.nbytes
        return array

    def __getstate__(self) -> int:
        return self.budget

    def __setstate__(self, budget: int) -> None:
        self.__init__(budget)  # type: ignore[misc]
