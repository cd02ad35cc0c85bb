"""What `plurimask predict` does for a block of images: in its own process, or in a worker of Dask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from plurimask.data import ImageSet, open_images
from plurimask.data.image_set import SomeImages
from plurimask.data.unlabelled import list_images
from plurimask.errors import InputError
from plurimask.figures.page import Classes
from plurimask.figures.samples import overview
from plurimask.figures.style import save_figure
from plurimask.prediction.budget import Budget
from plurimask.prediction.cohort import Block, Part
from plurimask.prediction.files import Outputs, Written, clear, write_prediction
from plurimask.prediction.finished import PART_TABLES, RECORD, Stamp, begin, finish, mark, record_of, stamp_of, why_not
from plurimask.prediction.huge import HugeImage, HugePrediction
from plurimask.prediction.huge_files import finish_huge
from plurimask.prediction.huge_tiles import HugeTiles
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import predict
from plurimask.prediction.records import Cut
from plurimask.prediction.table import scores_of, write_table
from plurimask.report.predictions import (
    IndexPage,
    certainty,
    index_entry,
    row_of,
    thumbnail_side,
    write_entry,
    write_index,
)
from plurimask.runs.load import Run, load_run
from plurimask.version import __version__


@dataclass(frozen=True)
class PredictJob:
    """What is predicted, and how: plain values, which can be sent to another process."""

    run: Path
    images: Path
    pattern: str | None
    out: Path
    sampling: Sampling
    outputs: Outputs
    slice_draws: Literal["shared", "independent"] | None = None
    digest: str = ""
    """Of the run, as the caller has it; another process that finds another run there refuses."""
    version: str = __version__


@dataclass(frozen=True)
class Begun:
    """An image too large for memory whose tiles can be computed, by whoever opens the same job."""

    index: int
    """In the list of images."""
    name: str
    stamp: Stamp
    cut: Cut


class PredictWork:
    """A job whose run and images are open.

    Args:
        is_checked: whether the headers of all images were looked at already.
    """

    def __init__(self, job: PredictJob, is_checked: bool = False) -> None:
        self.run: Run = load_run(job.run, job.slice_draws)
        about = self.run.record.data
        opened = list_images if is_checked else open_images
        self.images: ImageSet = opened(job.images, about.channel_names, job.pattern, about.spatial_dims)
        self.job = job
        self.classes = Classes(about.class_names, about.has_background)
        self.side = thumbnail_side(len(self.images))
        self.notes: set[str] = set()
        """What is only approximated, in sentences for people."""
        self._tiles: tuple[Begun, HugeTiles] | None = None

    @cached_property
    def made_with(self) -> Mapping[str, Any]:
        """What the files of an image depend on, beside the image."""
        sampling, outputs = self.job.sampling, self.job.outputs
        return {
            "run": self.run.digest,
            "samples": sampling.num_samples,
            "seed": sampling.seed,
            "spread": sampling.spread,
            "slice_draws": self.job.slice_draws,
            "batch_size": sampling.batch_size,
            "readings": outputs.readings,
            "stack": outputs.stack,
            "least_object": outputs.least_object,
            "dicom_seg": outputs.dicom_seg,
            "plurimask": __version__,
        }

    def why_not(self, index: int) -> str | None:
        """Why an image has to be predicted (`plurimask.prediction.finished.why_not`)."""
        return why_not(self.job.out / self.images.names[index], self.made_with, stamp_of(self.images, index))

    def predict(
        self,
        block: Block,
        needed: Sequence[int],
        on_phase: Callable[[str], object] = str,
        on_read: Callable[[str, Tensor], object] = lambda name, image: None,
        on_image: Callable[[], object] = lambda: None,
    ) -> None:
        """Predict a block of images, and write the files of those that are needed: the others' are there."""
        huge = self.huge_of(block)
        for index in [one for one in needed if one in huge]:
            begun = self.begin_huge(index)
            self.tiles_of(begun).run(on_phase)
            on_phase(f"{begun.name}: writing")
            self.finish_huge(begun)
            on_image()
        wanted = {self.images.names[index]: stamp_of(self.images, index) for index in needed if index not in huge}
        if not wanted:
            return
        some = SomeImages(self.images, [index for index in block if index not in huge])
        for one in predict(self.run.method, some, self.run.record.preprocessing, self.job.sampling, on_phase, on_read):
            self.notes |= {*one.notes}
            if one.name in wanted:
                mark(self.job.out, self.made_with)
                self._finish(
                    write_prediction(one, self.run.record.data, self.job.out, self.job.outputs), wanted[one.name]
                )
                on_image()
            del one  # before the next is read and computed

    @cached_property
    def budget(self) -> Budget | None:
        """Of memory, where there is a bound."""
        sampling, about = self.job.sampling, self.run.record.data
        if sampling.memory is None:
            return None
        return Budget(self.run.method, sampling.memory, sampling.num_samples, len(about.channel_names))

    def _is_huge(self, index: int) -> bool:
        """Whether an image's results are too many to be held in memory."""
        files, preparing = self.images.files(index), self.run.record.preprocessing
        if self.budget is None or not files or preparing.resize is not None or preparing.spacing is not None:
            return False
        if not files[0].name.startswith((".z", "zarr")) and sum(one.stat().st_size for one in files) < SURELY_SMALL:
            return False
        size = self.images.reader(index).shape[1:]
        seen = tuple(side.stop - side.start for side in preparing.window(size))
        has_tiles = len(seen) == len(self.run.method.strides) and self.images.grid(index) is None
        return has_tiles and not self.budget.fits(seen) and not self.budget.holds(seen)

    def huge_of(self, some: Iterable[int]) -> list[int]:
        """Those of some images whose results are too many to be held in memory."""
        return [index for index in some if self._is_huge(index)]

    def begin_huge(self, index: int) -> Begun:
        """Make one of those ready, so that its tiles can be computed, here and in other processes."""
        name, stamp = self.images.names[index], stamp_of(self.images, index)
        mark(self.job.out, self.made_with)
        clear(begin(self.job.out, name), ("*.png", "*.tif", "*.geojson"))
        self._tiles = None
        tiles = self._open_tiles(index, name, stamp)
        begun = Begun(index, name, stamp, tiles.begin())
        self._tiles = begun, tiles
        self.notes |= {*tiles.prediction.budget.notes}
        return begun

    def tiles_of(self, begun: Begun) -> HugeTiles:
        """The tiles of an image that was begun here or elsewhere; the last ones are kept, with the image's noise."""
        if self._tiles is None or self._tiles[0] != begun:
            self._tiles = None
            tiles = self._open_tiles(begun.index, begun.name, begun.stamp)
            if tiles.cut != begun.cut:
                raise InputError(f"{begun.name}: another call computes its tiles too: let one end before the other")
            self._tiles = begun, tiles
        return self._tiles[1]

    def finish_huge(self, begun: Begun) -> None:
        """Write what follows from all of its tiles, which are recorded, and record the image as finished."""
        colours = (255 * np.asarray(self.classes.colours)).round().astype(int).tolist()
        chosen = {number: colours[number] for number in self.classes.counted}
        tiles = self.tiles_of(begun)
        written = finish_huge(tiles, self.job.outputs, chosen)
        self._finish(written, begun.stamp)
        tiles.records.remove()
        self.forget_tiles()

    def forget_tiles(self) -> None:
        """Free what is kept of the last large image."""
        self._tiles = None

    def _open_tiles(self, index: int, name: str, stamp: Stamp) -> HugeTiles:
        about = self.run.record
        assert self.budget is not None
        image = HugeImage(name, self.images.reader(index), self.images.pixel_size(index))
        prediction = HugePrediction(image, about.preprocessing, about.data, self.budget, self.job.sampling)
        return HugeTiles(prediction, self.job.out / name, {**self.made_with, "image": stamp})

    def _finish(self, written: Written, stamp: Any) -> None:
        one, about, folder = written.predicted, self.run.record.data, self.job.out / written.predicted.name
        save_figure(
            overview(row_of(one), written.readings, about.class_names, about.has_background), folder / "overview.png"
        )
        write_entry(folder, index_entry(written, self.classes, self.side))
        finish(folder, self.made_with, stamp, scores_of(written))

    def write_part(self, indices: Sequence[int], part: Part) -> None:
        """The table of the finished images of a part."""
        names = sorted(self.images.names[index] for index in indices)
        table = f"uncertainty.part-{part.number}-of-{part.total}.csv"
        write_table(self.job.out, filter(None, map(self._row, names)), table)

    def write_pages(self) -> list[str]:
        """The table and the page of all images, from their records; or the names of those that are not finished."""
        names, out = sorted(self.images.names), self.job.out
        missing = [name for name in names if not (out / name / RECORD).is_file()]
        if missing:
            return missing
        rows = [self._row(name) for name in names]
        if missing := [name for name, row in zip(names, rows, strict=True) if row is None]:
            return missing
        finished = [row for row in rows if row is not None]
        order = sorted(certainty(row["expected_dice"], row["mean_entropy"], row["name"]) for row in finished)
        write_table(out, finished)
        sampling, run = self.job.sampling, self.run
        page = IndexPage(run.folder.name, run.record.method, sampling.num_samples, self.classes, sampling.spread)
        write_index(out, [name for *_, name in order], page)
        for table in out.glob(PART_TABLES):
            table.unlink(missing_ok=True)
        return []

    def _row(self, name: str) -> dict[str, Any] | None:
        """What the table says of an image; None if it is not finished."""
        record = record_of(self.job.out / name)
        if record is None or record["made_with"] != self.made_with:
            return None
        return {key: math.nan if value is None else value for key, value in record["row"].items()}


SURELY_SMALL = 2**17
"""Bytes: no file of so few holds an image that is too large, even if it is all of one value."""
