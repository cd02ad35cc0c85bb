"""The images of an evaluation that a report may show, kept while they pass by: nothing is predicted again."""

from __future__ import annotations

import math
from bisect import insort

from plurimask.evaluation.evaluate import EvaluatedImage

MAX_KEPT_BYTES = 2**29


class KeptImages:
    """Takes each evaluated image in turn (the `on_image` of `evaluate`) and keeps those of which figures are made.

    Which images lie where in the ranking by GED is known at the end only, so all are kept as long as they fit into
    `max_bytes`. Where they are too many, every second one is let go, then every second of the rest, and so on: an even
    share stays, `num_spread` images at least, however large they are. The best and the worst are always among those
    kept.

        kept = KeptImages()
        evaluation = evaluate(method, view, sampling, kept)
        kept.images[number]     # what was predicted for the image of evaluation.rows[number]

    Args:
        num_extreme: how many of the best, and of the worst, are always kept.
        num_spread: how many of the others are kept at least.
        max_bytes: what the images may take, except for those.
    """

    def __init__(self, num_extreme: int = 4, num_spread: int = 6, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.num_extreme, self.num_spread, self.max_bytes = num_extreme, num_spread, max_bytes
        self.images: dict[int, EvaluatedImage] = {}
        """By the number of their row, in increasing order."""
        self._ranking: list[tuple[float, int]] = []
        self._num_seen, self._num_bytes, self._stride = 0, 0, 1

    def __call__(self, image: EvaluatedImage) -> None:
        number, ged = self._num_seen, float(image.row["ged"])
        self._num_seen += 1
        if not math.isnan(ged):
            insort(self._ranking, (ged, number))
        self.images[number] = image.copied()
        self._num_bytes += self.images[number].num_bytes
        self._let_go()
        while self._num_bytes > self.max_bytes and self._num_seen > 2 * self._stride * self.num_spread:
            self._stride *= 2
            self._let_go()

    def _let_go(self) -> None:
        extreme = {number for _, number in (*self._ranking[: self.num_extreme], *self._ranking[-self.num_extreme :])}
        for number in [one for one in self.images if one % self._stride and one not in extreme]:
            self._num_bytes -= self.images.pop(number).num_bytes
