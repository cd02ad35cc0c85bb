"""One thread that works: order, what is shared, what is stopped; and what is kept in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any

import pytest

from plurimask.viewer import work
from plurimask.viewer.cache import Cache
from plurimask.viewer.work import LATER, NOW, SOON, Cancelled, Job, TooBusy, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    one = Worker()
    yield one
    one.close()


class Blocker:
    """A job that holds the worker until it is let go."""

    def __init__(self, worker: Worker) -> None:
        self.go, self.is_on = threading.Event(), threading.Event()
        self.job = worker.submit("blocker", self._block, NOW)
        assert self.is_on.wait(10)

    def _block(self, job: Job) -> None:
        self.is_on.set()
        assert self.go.wait(10)


def test_the_most_urgent_comes_first(worker: Worker) -> None:
    blocker, order = Blocker(worker), list[str]()
    jobs = [
        worker.submit(name, lambda job, name=name: order.append(name), urgency)
        for name, urgency in (("later", LATER), ("soon", SOON), ("now", NOW), ("soon too", SOON))
    ]
    blocker.go.set()
    wait([job.future for job in jobs], 10)
    assert order == ["now", "soon", "soon too", "later"]


def test_equal_requests_are_one_job(worker: Worker) -> None:
    blocker, calls = Blocker(worker), list[int]()
    jobs = [worker.submit("same", lambda job: calls.append(1) or 7) for _ in range(3)]
    blocker.go.set()
    assert [job.future.result(10) for job in jobs] == [7, 7, 7]
    assert len(calls) == 1


def test_a_newer_position_takes_the_place_of_one_that_waits(worker: Worker) -> None:
    blocker = Blocker(worker)
    old = worker.submit("drag", lambda job: "old", NOW, replaces=True)
    new = worker.submit("drag", lambda job: "new", NOW, replaces=True)
    blocker.go.set()
    assert new.future.result(10) == "new"
    with pytest.raises(Cancelled):
        old.future.result(10)


def test_what_nobody_waits_for_does_not_begin(worker: Worker) -> None:
    blocker, calls = Blocker(worker), list[int]()
    job = worker.submit("given up", lambda job: calls.append(1))
    worker.leave(job)
    blocker.go.set()
    with pytest.raises(Cancelled):
        job.future.result(10)
    assert not calls


def test_what_nobody_waits_for_any_more_stops_at_its_next_phase(worker: Worker) -> None:
    begun, left = threading.Event(), threading.Event()

    def action(job: Job) -> None:
        job.tell("x: mask 3 of 16")
        begun.set()
        assert left.wait(10)
        job.tell("x: mask 4 of 16")
        raise AssertionError("not reached")

    job = worker.submit("long", action)
    assert begun.wait(10)
    assert (job.phase, job.done, job.total) == ("mask 3 of 16", 3, 16)
    worker.leave(job)
    left.set()
    with pytest.raises(Cancelled):
        job.future.result(10)


def test_one_of_two_who_wait_may_leave(worker: Worker) -> None:
    blocker = Blocker(worker)
    job = worker.submit("shared", lambda job: job.tell("x") or 5)
    assert worker.submit("shared", lambda job: 6) is job
    worker.leave(job)
    blocker.go.set()
    assert job.future.result(10) == 5


def test_an_error_is_told_to_who_waits_and_the_worker_lives(worker: Worker) -> None:
    def fails(job: Job) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        worker.submit("bad", fails).future.result(10)
    assert worker.submit("good", lambda job: 1).future.result(10) == 1


def test_a_bounded_number_waits(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WAITING", 3)
    blocker = Blocker(worker)
    worker.submit(1, lambda job: 1)
    worker.submit(2, lambda job: 1)
    with pytest.raises(TooBusy):
        worker.submit(3, lambda job: 1)
    blocker.go.set()


def test_the_rest_of_the_list_waits_until_nothing_else_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "IDLE_SECONDS", 0.05)
    done, left = list[int](), [0, 1, 2]

    def spare() -> Callable[[Job], Any] | None:
        return (lambda job: done.append(left.pop(0))) if left else None

    one = Worker(spare)
    try:
        for _ in range(200):
            if len(done) == 3:
                break
            time.sleep(0.02)
        assert done == [0, 1, 2]
        left.append(3)
        one.wake()
        assert one.submit("asked", lambda job: "first").future.result(10) == "first"
    finally:
        one.close()


def test_the_rest_of_the_list_makes_way_at_its_next_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "IDLE_SECONDS", 0.01)
    begun, phases = threading.Event(), list[int]()

    def action(job: Job) -> None:
        begun.set()
        for number in range(1000):
            phases.append(number)
            job.tell("x: mask 1 of 1000")
            time.sleep(0.01)

    one = Worker(lambda: None if begun.is_set() else action)
    try:
        assert begun.wait(10)
        assert one.submit("asked", lambda job: "first").future.result(10) == "first"
        assert len(phases) < 1000
    finally:
        one.close()


def test_what_was_not_used_longest_goes_first() -> None:
    cache: Cache[str, int] = Cache(10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1
    cache.put("c", 3, 4)
    assert ("a" in cache, "b" in cache, "c" in cache, cache.used) == (True, False, True, 8)


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    cache: Cache[str, int] = Cache(10)
    cache.put("a", 1, 4)
    cache.put("huge", 2, 11)
    assert (len(cache), cache.used) == (1, 4)


def test_for_what_nobody_asked_nothing_makes_way() -> None:
    cache: Cache[str, int] = Cache(10)
    cache.put("asked", 1, 6)
    cache.put("spare", 2, 6, only_if_free=True)
    assert "spare" not in cache
    cache.put("spare", 2, 4, only_if_free=True)
    cache.put("asked too", 3, 4)
    assert ("asked" in cache, "spare" in cache, "asked too" in cache) == (True, False, True)
