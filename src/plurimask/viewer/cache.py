"""What was computed and may be asked for again, up to a number of bytes: what was not asked for longest goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Least recently used first out; safe to use from several threads.

    Args:
        budget: bytes of all values together. One that is larger by itself is not kept.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value of a key, which counts as used now."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Key, value: Value, size: int, only_if_free: bool = False) -> None:
        """Keep a value of `size` bytes; with `only_if_free` nothing else makes way for it, and it is the next to go."""
        with self._lock:
            self._drop(key)
            if size > self.budget or (only_if_free and self.used + size > self.budget):
                return
            while self.used + size > self.budget:
                self._drop(next(iter(self._kept)))
            self._kept[key] = value, size
            self.used += size
            if only_if_free:
                self._kept.move_to_end(key, last=False)

    def drop(self, key: Key) -> None:
        """Forget a key, if it is there."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._kept:
            self.used -= self._kept.pop(key)[1]

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)
