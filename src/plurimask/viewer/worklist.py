"""The order of the images: by a score, the worst first; those that have none yet behind, by name."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from plurimask.viewer.gallery import Gallery
from plurimask.viewer.predicting import Scores

Sort = Literal["name", "disagreement", "quality", "entropy", "ged"]
MAX_PAGE = 200


@dataclass(frozen=True)
class Query:
    """Which images in which order."""

    run: int = 0
    sort: Sort = "disagreement"
    search: str = ""


class WorkList:
    """Scores of images by run, and what was asked for last, which is scored first.

    Args:
        gallery: the images.
        num_runs: how many runs there are.
    """

    def __init__(self, gallery: Gallery, num_runs: int) -> None:
        self.gallery = gallery
        self.revision = 0
        self.is_paused = False
        self._scores: list[dict[int, Scores | None]] = [{} for _ in range(num_runs)]
        self._seen: deque[tuple[int, int]] = deque(maxlen=2 * MAX_PAGE)
        self._next = [0] * num_runs
        self._lock = threading.Lock()
        self._ordered: tuple[tuple[Query, int, int], list[int]] | None = None

    def scored(self, run: int, number: int, scores: Scores | None) -> None:
        """An image has scores now; None: it cannot be predicted, and is not tried again."""
        with self._lock:
            self._scores[run][number] = scores
            self.revision += 1

    def changed(self) -> None:
        """An upload came or went, or a mask was saved."""
        with self._lock:
            self.revision += 1

    def forget(self, number: int) -> None:
        """An upload is gone."""
        with self._lock:
            for of_run in self._scores:
                of_run.pop(number, None)
            self.revision += 1

    def scores(self, run: int, number: int) -> Scores | None:
        """Of an image, if it has some."""
        return self._scores[run].get(number)

    def num_scored(self, run: int, numbers: Iterable[int] | None = None) -> int:
        """How many images of a run, or of these, have scores."""
        known = self._scores[run]
        return len(known) if numbers is None else sum(number in known for number in numbers)

    def seen(self, run: int, numbers: Iterable[int]) -> None:
        """These are on the screen: they are scored next."""
        with self._lock:
            for number in reversed([number for number in numbers if number not in self._scores[run]]):
                self._seen.appendleft((run, number))

    def next_to_score(self) -> tuple[int, int] | None:
        """Run and number of the image to score next; None if all have scores, or somebody paused it."""
        with self._lock:
            if self.is_paused:
                return None
            while self._seen:
                run, number = self._seen.popleft()
                if number not in self._scores[run]:
                    return run, number
            count = len(self.gallery.data_names)
            for run, known in enumerate(self._scores):
                while self._next[run] < count and self._next[run] in known:
                    self._next[run] += 1
                if self._next[run] < count:
                    return run, self._next[run]
            return None

    def ordered(self, query: Query) -> list[int]:
        """The numbers of the images that match, uploads first."""
        gallery = self.gallery
        with self._lock:
            key = query, self.revision, len(gallery.data_names)
            if self._ordered is not None and self._ordered[0] == key:
                return self._ordered[1]
            known = dict(self._scores[query.run])
        words = query.search.casefold()
        numbers = [number for number in gallery.numbers if words in gallery.name(number).casefold()]
        first = [number for number in numbers if gallery.is_upload(number)]
        rest = numbers[len(first) :]
        if query.sort != "name":
            rest.sort(key=lambda number: (-_badness(known.get(number), query.sort), number))
        found = [*first, *rest]
        with self._lock:
            self._ordered = key, found
        return found

    def position(self, query: Query, number: int) -> dict[str, Any]:
        """Where an image stands in an order, and its neighbours."""
        numbers = self.ordered(query)
        place = numbers.index(number) if number in numbers else None
        before = numbers[place - 1] if place else None
        after = numbers[place + 1] if place is not None and place + 1 < len(numbers) else None
        return {"position": place, "total": len(numbers), "previous": before, "next": after}


def _badness(scores: Scores | None, sort: Sort) -> float:
    """How far in front an image stands; what has no score is last."""
    if scores is None:
        return -math.inf
    value = {
        "name": 0.0,
        "disagreement": 1 - scores.quality,
        "quality": -scores.quality,
        "entropy": scores.entropy,
        "ged": scores.ged,
    }[sort]
    return -1e9 if math.isnan(value) else value
