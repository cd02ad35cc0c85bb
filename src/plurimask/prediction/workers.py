"""Tasks on the workers of Dask: a cluster of one's own machine, or a scheduler that runs already.

A scheduler whose address a user gives is trusted: tasks are Python objects, and whoever may speak to it runs code on
its workers. Addresses that begin with tls:// are encrypted and authenticated as Dask's own configuration says.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plurimask.errors import InputError, reason_of, shown
from plurimask.files.memory import parse_memory
from plurimask.version import __version__

if TYPE_CHECKING:
    from distributed import Client

_LOCAL = re.compile(r"local\[([0-9]{1,4})\]")
_ADDRESS = re.compile(r"(?:[a-z+]+://)?[^\s/\[\]]+:[0-9]{1,5}|(?:[a-z+]+://)\S+")
MAX_LOCAL = 256
MAX_DEATHS = 20
"""Of workers with one task, before it is taken for the task's fault; on one's own machine."""
WAIT_SECONDS = 60
"""For a scheduler's first worker."""
AHEAD = 2
"""Tasks that a worker has at hand, so that it never waits."""
_LOOK_SECONDS = 2.0
_ALLOCATOR = {"MALLOC_ARENA_MAX": "1"}
"""In place of Dask's own, by which memory that is given back at once is asked for again: a worker computes in a thread
that is not its first, and what such threads have of their own is given back sooner too."""

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


ONE_AT_A_TIME = threading.Lock()
"""A worker with several threads of Dask computes one block after the other: torch has threads of its own."""


def refuse_other_version(version: str) -> None:
    """In a worker: InputError if the caller's version of the package is another."""
    if version != __version__:
        raise InputError(
            f"this worker has plurimask {__version__}, the caller {version}: install the same version on all"
        )


def refuse_other_run(run: Path, found: str, digest: str) -> None:
    """In a worker: InputError if the run that is found at the path is another than the caller's, of this digest."""
    if found != digest:
        raise InputError(f"{run} is another run on this worker than where it was called: let all see one folder")


def refuse_other_images(place: Path, found: Sequence[str], needed: Sequence[int], names: Sequence[str]) -> None:
    """In a worker: InputError if those that are needed have other names among those found than where it was called."""
    if [found[index] for index in needed if index < len(found)] != list(names):
        raise InputError(f"{place} holds other images on this worker than where it was called")


def refuse_odd_address(words: str | None) -> None:
    """Raise `InputError` if these are neither `local[N]` nor the address of a scheduler."""
    local = _LOCAL.fullmatch(words or "")
    if words is None or (local and 1 <= int(local[1]) <= MAX_LOCAL) or (not local and _ADDRESS.fullmatch(words)):
        return
    raise InputError(
        f"--dask {shown(words)}: expected local[N] with N workers of this machine, 1 to {MAX_LOCAL}, or the address of "
        "a scheduler, such as tcp://head:8786"
    )


def memory_of_each(words: str | None, given: str | None) -> int:
    """Bytes that each process may take: what was given, or of this machine what is usable, in equal shares where
    `local[N]` starts several.

    Raises:
        InputError: as `parse_memory`.
    """
    local = _LOCAL.fullmatch(words or "")
    return parse_memory(given) // (int(local[1]) if local and given is None else 1)


@contextmanager
def connected(words: str) -> Iterator[Client]:
    """A client of the workers that `words` name, `local[N]` or an address; local ones end with the block.

    A worker of one's own machine has one thread of Dask; torch takes as many there as `OMP_NUM_THREADS` says, by
    default the processors' even share.

    Raises:
        InputError: Dask is not installed, or there is no such scheduler, or it has no workers.
    """
    refuse_odd_address(words)
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError("--dask needs Dask: pip install 'plurimask[dask]'") from error
    with ExitStack() as stack:
        place: str | LocalCluster = words
        if local := _LOCAL.fullmatch(words):
            count = int(local[1])
            threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))
            settings = {
                "distributed.scheduler.allowed-failures": MAX_DEATHS,
                "distributed.nanny.pre-spawn-environ": _ALLOCATOR,
                "distributed.worker.profile.enabled": False,  # else it looks at what runs a hundred times a second
            }
            stack.enter_context(dask.config.set(settings))
            place = stack.enter_context(
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address=None,
                    silence_logs=50,
                    env={"OMP_NUM_THREADS": threads},
                )
            )
        try:
            client = stack.enter_context(Client(place, timeout=WAIT_SECONDS if local else 15))
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"--dask {words}: no scheduler with a worker answers there ({reason_of(error)}): check the address, "
                "and that workers have started"
            ) from error
        yield client


def completed(
    client: Client,
    function: Callable[[_Task], _Result],
    tasks: Iterable[_Task],
    named: Callable[[_Task], str] = str,
    then: Callable[[_Task, _Result], Iterable[_Task]] = lambda task, result: (),
) -> Iterator[tuple[_Task, _Result]]:
    """Each task with what `function` gives for it on a worker, in the order in which they end.

    A task whose worker is lost runs again on another. As many tasks are sent out as keep all workers busy, so that the
    scheduler holds few of a long list. `named` says what a task is, for errors; `then` gives the tasks that follow from
    a result, which go before those of the list.

    Raises:
        InputError: what `function` raised, or workers died with one task again and again.
    """
    from distributed import KilledWorker, as_completed

    waiting, running, most, looked = iter(tasks), as_completed(), 0, -_LOOK_SECONDS
    following: deque[_Task] = deque()
    known: dict[str, _Task] = {}
    while True:
        if time.monotonic() - looked >= _LOOK_SECONDS:  # workers come and go
            most, looked = AHEAD * max(1, len(client.nthreads())), time.monotonic()
        while len(known) < most and (task := following.popleft() if following else next(waiting, None)) is not None:
            future = client.submit(function, task, pure=False)
            known[future.key] = task
            running.add(future)
            del future
        if not known:
            return
        ended = next(running)
        task = known.pop(ended.key)
        try:
            result = ended.result()
        except KilledWorker as error:
            raise InputError(
                f"{named(task)}: worker after worker died with it: look into their logs; if memory does not suffice, "
                "take fewer --samples or larger machines"
            ) from error
        ended.release()
        following.extend(then(task, result))
        yield task, result
