"""One thread that computes, and a bounded number of jobs that wait for it: the most urgent first.

Jobs of one key are one job, however many wait for it. A job that nobody waits for any more is stopped: before its turn,
or at the next of its phases.
"""

from __future__ import annotations

import heapq
import itertools
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import torch

NOW, SOON, LATER = 0, 1, 2
"""How urgent: a drag, an image that somebody waits for, the rest of the list."""
MAX_WAITING = 256
IDLE_SECONDS = 0.4
"""So long nothing must have been asked for before the rest of the list goes on."""
_COUNTED = re.compile(r"mask (\d+) of (\d+)$")


@contextmanager
def threads_for(num_pixels: int, few: int) -> Iterator[None]:
    """Torch's threads for work on so many pixels: one up to `few`. Several wait for each other at every step of a small
    network, which on a machine that has other work takes a hundred times as long as the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if num_pixels <= few else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Cancelled(Exception):
    """Nobody waits for it any more, or a newer one took its place."""


class TooBusy(Exception):
    """More is asked for than waits at a time."""


class Job:
    """Something to compute; `future` has what comes out."""

    def __init__(self, key: Hashable, action: Callable[[Job], Any]) -> None:
        self.key, self.action, self.future = key, action, Future[Any]()
        self.num_waiting = 1
        self.phase, self.done, self.total = "waiting", 0, 0
        self.is_running = False

    def tell(self, phase: str) -> None:
        """Called at each phase of the work, in words as of `predict_images`; the place where it can be stopped."""
        if self.num_waiting <= 0:
            raise Cancelled
        counted = _COUNTED.search(phase)
        self.phase = counted[0] if counted else phase.rpartition(": ")[2]
        self.done, self.total = (int(counted[1]), int(counted[2])) if counted else (0, self.total)


class Worker:
    """The thread. Without a `spare` job it sleeps when nothing is asked for.

    Args:
        spare: gives the next job of the rest of the list, or None if there is none; it is asked when nothing else is to
            be done. As soon as something else is, that job is stopped, and may be given again.
    """

    def __init__(self, spare: Callable[[], Callable[[Job], Any] | None] = lambda: None) -> None:
        self.spare = spare
        self._heap: list[tuple[int, int, Job]] = []
        self._jobs: dict[Hashable, Job] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._spare_job: Job | None = None
        self._asked = 0.0
        self._thread = threading.Thread(target=self._work, name="plurimask-viewer", daemon=True)
        self._thread.start()

    def submit(self, key: Hashable, action: Callable[[Job], Any], urgency: int = SOON, replaces: bool = False) -> Job:
        """A job to wait for, `job.future`; who stops waiting says so by `leave`.

        Where one of this key waits or runs, that one is joined; with `replaces`, one that waits is cancelled instead.

        Raises:
            TooBusy: `MAX_WAITING` jobs wait already.
        """
        with self._changed:
            self._asked = time.monotonic()
            old = self._jobs.get(key)
            if old is not None and not replaces and old.num_waiting > 0:
                old.num_waiting += 1
                return old
            if self._is_closed or max(len(self._jobs), len(self._heap)) >= MAX_WAITING:
                raise TooBusy
            if old is not None and not old.is_running:
                old.num_waiting = 0
                _fail(old, Cancelled())
            if self._spare_job is not None:
                self._spare_job.num_waiting = 0
            job = Job(key, action)
            self._jobs[key] = job
            heapq.heappush(self._heap, (urgency, next(self._numbers), job))
            self._changed.notify_all()
            return job

    def leave(self, job: Job) -> None:
        """One who waited for a job does no more."""
        with self._changed:
            job.num_waiting -= 1

    def jobs(self) -> list[Job]:
        """Those that run or wait."""
        with self._changed:
            return list(self._jobs.values())

    def wake(self) -> None:
        """There is a spare job again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop: what runs ends at its next phase, what waits is cancelled."""
        with self._changed:
            self._is_closed = True
            for job in self._jobs.values():
                job.num_waiting = 0
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            if job.num_waiting <= 0:
                _fail(job, Cancelled())
            else:
                try:
                    result = job.action(job)
                except BaseException as error:  # whoever waits is told
                    _fail(job, error)
                else:
                    with suppress(Exception):  # nobody waits any more
                        job.future.set_result(result)
            with self._changed:
                self._spare_job = None
                if self._jobs.get(job.key) is job:
                    del self._jobs[job.key]

    def _next(self) -> Job | None:
        """The next job; None once the worker is closed and nothing waits."""
        with self._changed:
            while True:
                if self._heap:
                    job = heapq.heappop(self._heap)[2]
                    job.is_running = True
                    return job
                if self._is_closed:
                    return None
                quiet = time.monotonic() - self._asked
                action = self.spare() if quiet >= IDLE_SECONDS else None
                if action is not None:
                    job = Job(("spare", next(self._numbers)), action)
                    job.is_running = True
                    self._jobs[job.key] = self._spare_job = job
                    return job
                self._changed.wait(IDLE_SECONDS - quiet if quiet < IDLE_SECONDS else None)


def _fail(job: Job, error: BaseException) -> None:
    with suppress(Exception):
        job.future.set_exception(error)
