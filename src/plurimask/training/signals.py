"""Signals that end a command, in one place: Ctrl-C (SIGINT), SIGTERM, SIGHUP, and SIGUSR1, the warning of a scheduler.

Each ends it with the exit code 128 + the signal's number. Within `stopping`, which training is, the first lets the step
under way be finished and saved, and a second ends at once; elsewhere the first does. At once means by an exception, so
that what is half-written is taken away. Python ignores exceptions in what it calls while it frees an object; a signal
that came just then is sent again. A signal that was ignored when the process started stays ignored (`nohup`); but
not Ctrl-C, which shells ignore for all that they start in the background.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
ENDING = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
WARNING = getattr(signal, "SIGUSR1", None)
"""It precedes SIGTERM, which is no second signal then."""
SAME_SECONDS = 0.25
"""Signals within this time are one: `timeout` and schedulers send it to a process and again to its group."""

_AGAIN_SECONDS = 0.01

_Handler: TypeAlias = Callable[[int, FrameType | None], None]
_came: list[tuple[int, float]] = []
"""The signals that came to the command that runs, and when."""


class Interrupted(KeyboardInterrupt):
    """A signal ends the command at once."""


def exit_code() -> int:
    """Of a command that a signal ended."""
    return 128 + (_came[-1][0] if _came else signal.SIGINT)


def last_signal() -> str | None:
    """The name of the signal that came last to the command that runs, if there was one."""
    return signal.Signals(_came[-1][0]).name if _came else None


def _note(number: int) -> bool:
    """Note a signal. Returns whether it is one with the signal before it."""
    now = time.monotonic()
    is_same = bool(_came) and now - _came[-1][1] <= SAME_SECONDS
    _came.append((number, now))
    return is_same


@contextmanager
def ending() -> Iterator[None]:
    """What a command runs in: a signal raises `Interrupted`."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not _note(number):
            raise Interrupted

    _came.clear()
    with _handling(on_signal), _nothing_ignored():
        yield


@contextmanager
def _nothing_ignored() -> Iterator[None]:
    """An `Interrupted` that Python ignores, since an object was being freed when its signal came, is raised again soon.

    Other exceptions that it ignores are printed as ever.
    """
    before = sys.unraisablehook

    def on_ignored(ignored: sys.UnraisableHookArgs) -> None:
        if not isinstance(ignored.exc_value, Interrupted):
            before(ignored)
            return
        number = exit_code() - 128
        _came.clear()  # the next one is not the same
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = on_ignored
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Tells whether a signal came since, so that the step under way is finished; a second one raises `Interrupted`, and
    so does the end of the block if a signal came that nobody was told of."""
    came: list[int] = []
    was_told = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        is_same, is_warned = _note(number), came[-1:] == [WARNING] and number != WARNING
        came.append(number)
        if len(came) > 1 and not is_same and not is_warned:
            raise Interrupted

    def has_come() -> bool:
        nonlocal was_told
        was_told = was_told or bool(came)
        return was_told

    with _handling(on_signal):
        yield has_come
    if came and not was_told:
        raise Interrupted


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    """Signals that end go to `handler` within the block, and afterwards where they went before."""
    before = {number: signal.getsignal(number) for number in _heard()}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _heard() -> list[int]:
    """The signals that are listened to."""
    if threading.current_thread() is not threading.main_thread():  # others see no signals
        return []
    return [number for number in ENDING if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


def shield(worker: int = 0) -> None:
    """Makes a process deaf that only reads for another, who stops it, or of which nothing but its end is left."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def own_process() -> Callable[[int], None]:
    """What a process begins with that is one command: outside of `ending`, a signal ends it without an exception.

    Returns:
        What is to be told the exit code of the command when it is over. A signal that comes then changes it no more.
    """
    codes: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        os._exit(codes[0] if codes else 128 + number)

    for number in _heard():
        signal.signal(number, on_signal)
    atexit.register(shield)  # called after all that is registered later: then Python itself listens no more
    return codes.append
