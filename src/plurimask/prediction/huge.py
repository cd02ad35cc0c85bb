"""Predictions of an image that is too large for memory: tile by tile, into arrays, and continued after a kill."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.data import DataDescription
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.reading import ImageReader
from plurimask.data.preprocessing import Preprocessing
from plurimask.distribution import MixtureSegmentation, Statistics, entropy
from plurimask.errors import InputError
from plurimask.files.memory import give_back
from plurimask.files.writing import remove
from plurimask.metrics.maps import is_counted, label_map_of
from plurimask.prediction.budget import CHUNK, Budget
from plurimask.prediction.omezarr import Layout, Maps
from plurimask.prediction.predict import Sampling, require_probabilities
from plurimask.prediction.records import TileRecords
from plurimask.prediction.seeds import generators_of
from plurimask.prediction.seen import SeenImage
from plurimask.prediction.tiled import Edges, TiledSegmentation, TileSums, averages_of, sums_at
from plurimask.prediction.tiles import Tile, TilePlan
from plurimask.prediction.whole import mask_values
from plurimask.sets.distance import shared_pixels

MEAN, OTHERS = "mean.ome.zarr", ("entropy.ome.zarr", "mutual_information.ome.zarr", "variance.ome.zarr")
SHOWN_PIXELS, OBJECT_PIXELS = 2**18, 2**20
"""Of the finest levels of which pictures are made, and on which objects are found."""


@dataclass(frozen=True)
class HugeImage:
    """An image that is read in parts."""

    name: str
    reader: ImageReader
    pixel_size: PixelSize | None = None


class HugePrediction:
    """The prediction of one large image into a folder.

    Args:
        image: to predict.
        preprocessing: of the run.
        description: of the run's data.
        budget: of memory.
        sampling: how many samples, from which seed.
    """

    def __init__(
        self,
        image: HugeImage,
        preprocessing: Preprocessing,
        description: DataDescription,
        budget: Budget,
        sampling: Sampling,
    ) -> None:
        self.image, self.description, self.budget, self.sampling = image, description, budget, sampling
        _refuse_undecodable(image, budget)
        self.seen = SeenImage(image.reader, preprocessing, image.name)
        self.size = self.seen.size
        self.layout = Layout(self.size, CHUNK[len(self.size)], image.pixel_size)

    def level_of(self, most: int) -> int:
        """The finest level of at most so many pixels."""
        sizes = [math.prod(self.layout.level_size(level)) for level in range(self.layout.num_levels)]
        return next((level for level, pixels in enumerate(sizes) if pixels <= most), len(sizes) - 1)

    def factors(self, level: int) -> tuple[int, ...]:
        """Pixels along each axis that one of a level is for."""
        return tuple(self.layout.factor(level, axis) for axis in range(len(self.size)))

    def labels(self) -> list[str]:
        """Names of the label images: of the most likely map, then of the samples."""
        digits = max(2, len(str(self.sampling.num_samples - 1)))
        return ["mask", *(f"sample-{number:0{digits}d}" for number in range(self.sampling.num_samples))]

    # ---- computing ------------------------------------------------------------------------------------------------

    def run(
        self, folder: Path, made_with: Mapping[str, Any], on_phase: Callable[[str], object] = str
    ) -> tuple[TileRecords, TilePlan]:
        """Compute the tiles that are not recorded yet, and write them; records and plan say what all tiles have found.

        Args:
            folder: of the image's predictions.
            made_with: what they depend on, beside the tiles.
            on_phase: is told what is done, in words.
        """
        records = TileRecords(folder, made_with)
        plan = self._plan(records, folder)
        tiled = self._prediction(records, plan, on_phase)
        arrays = self.arrays(folder)
        source = generators_of(self.sampling.seed, [self.image.name])
        mixture = tiled.freeze(self.sampling.num_samples, source, self.sampling.spread)
        chosen = self._chosen(mixture)
        for tile in plan:
            if records.has("tile", tile.number):
                continue
            on_phase(f"{self.image.name}: tile {tile.number + 1} of {len(plan)}")
            edges = _edges_for(tile, plan, records)
            found, given = tiled.statistics_at(tile, mixture.draws, mixture.weights, edges)
            mean = found.mean[0].cpu()
            require_probabilities(mean[None], [self.image.name])
            maps = found.maps[:, 0].cpu()[chosen]
            self._write(arrays, tile, maps, found)
            record = tile_sums(maps, mean, self.description.counted_classes)
            record["picture"] = self.seen.small(tile.core, self.factors(self.level_of(SHOWN_PIXELS))).numpy()
            for (_, axis), edge in given.items():
                record[f"edge-{axis}"] = edge.cpu().numpy()
            records.write("tile", tile.number, record)
            del found, given, mean, maps, edges, record
            give_back()
        return records, plan

    def _plan(self, records: TileRecords, folder: Path) -> TilePlan:
        """That of the tiles recorded, or of new ones; what was left of others is forgotten."""
        plan = self.budget.plan(self.size, self.image.reader.whole_bytes)
        known = records.known_plan()
        if known is not None and known.whole == plan.whole and known.largest_window <= 1.25 * plan.largest_window:
            return known
        for name in (MEAN, *OTHERS):
            remove(folder / name)
        records.begin(plan)
        return plan

    def _prediction(self, records: TileRecords, plan: TilePlan, on_phase: Callable[[str], object]) -> TiledSegmentation:
        method, sums = self.budget.method, list[TileSums]()
        for tile in plan if method.tiling.averages else ():
            if not records.has("sums", tile.number):
                on_phase(f"{self.image.name}: looking at all of it, tile {tile.number + 1} of {len(plan)}")
                own = sums_at(method, self.seen, plan, tile)
                totals = {f"total-{number}": one.numpy() for number, one in enumerate(own.total)}
                records.write("sums", tile.number, {**totals, "count": np.array(own.places)})
                give_back()
            stored = records.read("sums", tile.number)
            counts = stored["count"].tolist()
            totals_of = [torch.from_numpy(stored[f"total-{number}"]) for number in range(len(counts))]
            sums.append(TileSums(totals_of, counts))
        averages = averages_of(method, sums) if sums else {}
        return TiledSegmentation(method, self.seen, plan, averages, self.budget.chunk_elements())

    def _chosen(self, mixture: MixtureSegmentation) -> torch.Tensor:
        """Which component each sample is: of heads or members as many as were asked for."""
        if mixture.num_components == self.sampling.num_samples:
            return torch.arange(mixture.num_components)
        (chosen,) = mixture.draw_noise(self.sampling.num_samples, generators_of(self.sampling.seed, [self.image.name]))
        return chosen

    # ---- writing --------------------------------------------------------------------------------------------------

    def arrays(self, folder: Path) -> dict[str, Maps]:
        """All arrays of the image, made if they are not there: of label images by their names, of others by theirs."""
        classes, values = self.description.num_classes, mask_values(self.description)
        arrays = {MEAN: Maps(folder / MEAN, self.layout, np.float16, classes)}
        for label in self.labels():
            arrays[label] = Maps(folder / MEAN / "labels" / label, self.layout, values.dtype)
        for name in OTHERS:
            planes = classes if name.startswith("variance") else 0
            arrays[name] = Maps(folder / name, self.layout, np.float16, planes)
        return arrays

    def _write(self, arrays: Mapping[str, Maps], tile: Tile, maps: torch.Tensor, found: Statistics) -> None:
        values, mean = mask_values(self.description), found.mean[0].cpu()
        whole = entropy(mean, dim=0)
        shared = (whole - found.expected_entropy[0].cpu()).clamp(min=0)
        mask, *samples = self.labels()
        written: dict[str, NDArray[Any]] = {mask: values[label_map_of(mean).numpy()], MEAN: mean.numpy()}
        written |= {label: values[one.numpy()] for label, one in zip(samples, maps, strict=True)}
        written |= dict(zip(OTHERS, (whole.numpy(), shared.numpy(), found.variance[0].cpu().numpy()), strict=True))
        for name, own in written.items():
            arrays[name].write(tile.core, own if own.dtype.kind == "u" else own.astype(np.float16))


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


def _edges_for(tile: Tile, plan: TilePlan, records: TileRecords) -> Edges:
    """What the tiles before computed of this one's core."""
    edges = Edges()
    for axis in range(len(plan.whole)):
        if plan.zone(tile, axis) is not None:
            before = list(tile.index)
            before[axis] -= 1
            number = int(np.ravel_multi_index(before, plan.grid))
            edges[tile.index, axis] = torch.from_numpy(records.read("tile", number)[f"edge-{axis}"])
    return edges


def _refuse_undecodable(image: HugeImage, budget: Budget) -> None:
    """Raise `InputError` if an image has to be decoded whole, and that alone is too much."""
    whole = image.reader.whole_bytes
    if whole > 0.6 * budget.free:
        raise InputError(
            f"{image.name}: a file of this kind has to be decoded whole, which takes {whole / 1e9:.1f} GB, too much "
            f"beside the program in {budget.total / 1e9:.1f} GB: save it as a TIFF in tiles or as Zarr, or give more "
            "--memory"
        )
