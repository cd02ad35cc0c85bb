"""The tiles of an image that is too large for memory: each is computed by itself, into arrays, with a record beside."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.distribution import MixtureSegmentation, Statistics, entropy
from plurimask.errors import InputError
from plurimask.files.memory import give_back
from plurimask.files.writing import remove
from plurimask.metrics.maps import is_counted, label_map_of
from plurimask.prediction.huge import MEAN, OTHERS, SHOWN_PIXELS, HugePrediction
from plurimask.prediction.omezarr import Maps
from plurimask.prediction.predict import require_probabilities
from plurimask.prediction.records import Cut, TileRecords
from plurimask.prediction.seeds import generators_of
from plurimask.prediction.tile_course import Course, Step
from plurimask.prediction.tiled import Edges, TiledSegmentation, TileSums, averages_of, sums_at
from plurimask.prediction.tiles import Tile
from plurimask.prediction.whole import mask_values
from plurimask.sets.distance import shared_pixels


class HugeTiles:
    """The tiles of one large image, in any of the processes that compute them.

    Args:
        prediction: of the image.
        folder: of the image's predictions.
        made_with: what they depend on, beside the cut.
    """

    def __init__(self, prediction: HugePrediction, folder: Path, made_with: Mapping[str, Any]) -> None:
        self.prediction, self.folder = prediction, folder
        self.records = TileRecords(folder, made_with)

    def begin(self) -> Cut:
        """Go on with the tiles recorded, or forget what was left of others: before all else, in one process alone."""
        prediction, known = self.prediction, self.records.known()
        plan = prediction.budget.plan(prediction.size, prediction.image.reader.whole_bytes)
        if known is None or known.plan.whole != plan.whole or known.plan.largest_window > 1.25 * plan.largest_window:
            for name in (MEAN, *OTHERS):
                remove(self.folder / name)
            self.records.begin(Cut(plan, prediction.budget.chunk_elements()))
        prediction.arrays(self.folder, self.cut.plan)
        return self.cut

    @cached_property
    def cut(self) -> Cut:
        """As it was begun.

        Raises:
            InputError: it was not, or what was begun is gone.
        """
        known = self.records.known()
        if known is None:
            raise InputError(
                f"{self.folder}: the records of its tiles are gone, or were made otherwise: did another call write "
                "there? Call again"
            )
        return known

    def course(self) -> Course:
        """What is left to compute."""
        count = len(self.cut.plan)
        averages = self.prediction.budget.method.tiling.averages
        sums = self.records.missing("sums", count) if averages else set[int]()
        return Course(self.cut.plan, {"sums": sums, "tile": self.records.missing("tile", count)})

    def run(self, on_phase: Callable[[str], object] = str) -> None:
        """Compute all that is left; what is done is said to `on_phase` in words."""
        course = self.course()
        steps = deque(course.first())
        while steps:
            step = steps.popleft()
            on_phase(f"{self.prediction.image.name}: {course.words}")
            self.compute(step)
            steps.extend(course.after(step))

    def compute(self, step: Step) -> None:
        """Make one step, and record it, unless that was done before."""
        if self.records.has(*step):
            return
        tile = self.cut.plan[step.number]
        self.records.write(*step, self._sums(tile) if step.kind == "sums" else self._written(tile))
        give_back()

    # ---- one tile -------------------------------------------------------------------------------------------------

    def _sums(self, tile: Tile) -> dict[str, NDArray[Any]]:
        """The record of what a tile adds to the averages."""
        prediction = self.prediction
        own = sums_at(prediction.budget.method, prediction.seen, self.cut.plan, tile)
        totals = {f"total-{number}": one.numpy() for number, one in enumerate(own.total)}
        return {**totals, "count": np.array(own.places)}

    def _written(self, tile: Tile) -> dict[str, NDArray[Any]]:
        """Compute a tile and write its pixels: the record of what it has found."""
        prediction, mixture = self.prediction, self._mixture
        found, given = self._tiled.statistics_at(tile, mixture.draws, mixture.weights, self._edges_for(tile))
        mean = found.mean[0].cpu()
        require_probabilities(mean[None], [prediction.image.name])
        maps = found.maps[:, 0].cpu()[self._chosen]
        self._write(tile, maps, found)
        record = tile_sums(maps, mean, prediction.description.counted_classes)
        factors = prediction.factors(prediction.level_of(SHOWN_PIXELS))
        record["picture"] = prediction.seen.small(tile.core, factors).numpy()
        return record | {f"edge-{axis}": edge.cpu().numpy() for (_, axis), edge in given.items()}

    def _edges_for(self, tile: Tile) -> Edges:
        """What the tiles before computed of this one's core."""
        edges = Edges()
        for axis, number in self.cut.plan.before(tile).items():
            edges[tile.index, axis] = torch.from_numpy(self.records.read("tile", number)[f"edge-{axis}"])
        return edges

    def _write(self, tile: Tile, maps: torch.Tensor, found: Statistics) -> None:
        values, mean = mask_values(self.prediction.description), found.mean[0].cpu()
        whole = entropy(mean, dim=0)
        shared = (whole - found.expected_entropy[0].cpu()).clamp(min=0)
        mask, *samples = self.prediction.labels()
        written: dict[str, NDArray[Any]] = {mask: values[label_map_of(mean).numpy()], MEAN: mean.numpy()}
        written |= {label: values[one.numpy()] for label, one in zip(samples, maps, strict=True)}
        written |= dict(zip(OTHERS, (whole.numpy(), shared.numpy(), found.variance[0].cpu().numpy()), strict=True))
        for name, own in written.items():
            self._arrays[name].write(tile.core, own if own.dtype.kind == "u" else own.astype(np.float16))

    # ---- what all tiles have in common, found or opened once in a process -----------------------------------------

    @cached_property
    def _arrays(self) -> dict[str, Maps]:
        return self.prediction.arrays(self.folder, self.cut.plan)

    @cached_property
    def _tiled(self) -> TiledSegmentation:
        """With the averages: the sums of all tiles, which are recorded by now, in the tiles' order."""
        method, plan = self.prediction.budget.method, self.cut.plan
        sums = []
        for stored in self.records.read_all("sums", len(plan)) if method.tiling.averages else ():
            counts = stored["count"].tolist()
            sums.append(TileSums([torch.from_numpy(stored[f"total-{place}"]) for place in range(len(counts))], counts))
        averages = averages_of(method, sums) if sums else {}
        return TiledSegmentation(method, self.prediction.seen, plan, averages, self.cut.chunk_elements)

    @cached_property
    def _mixture(self) -> MixtureSegmentation:
        sampling, name = self.prediction.sampling, self.prediction.image.name
        source = generators_of(sampling.seed, [name])
        return self._tiled.freeze(sampling.num_samples, source, sampling.spread)

    @cached_property
    def _chosen(self) -> torch.Tensor:
        """Which component each sample is: of heads or members as many as were asked for."""
        sampling, name = self.prediction.sampling, self.prediction.image.name
        if self._mixture.num_components == sampling.num_samples:
            return torch.arange(sampling.num_samples)
        (chosen,) = self._mixture.draw_noise(sampling.num_samples, generators_of(sampling.seed, [name]))
        return chosen


def tile_sums(maps: torch.Tensor, mean: torch.Tensor, counted_classes: Sequence[int]) -> dict[str, NDArray[Any]]:
    """What a tile adds to the figures of its image, of samples `(N, *core)` and mean probabilities `(C, *core)`."""
    nats, marked = entropy(mean, dim=0).double(), is_counted(label_map_of(mean), counted_classes)
    areas = [torch.bincount(one.flatten(), minlength=len(mean)) for one in maps]
    digests = [hashlib.blake2b(one.contiguous().numpy().data, digest_size=16).digest() for one in maps]
    return {
        "areas": torch.stack(areas).numpy(),
        "shared": torch.stack(list(shared_pixels([maps], counted_classes, None))).numpy(),
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(len(maps), -1),
        "nats": np.array([float(nats.sum()), nats.numel(), float(nats[marked].sum()), int(marked.sum())]),
    }
