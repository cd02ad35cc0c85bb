"""What `plurimask predict` does for a block of images: in its own process, or in a worker of Dask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from plurimask.data import ImageSet, open_images
from plurimask.data.image_set import SomeImages
from plurimask.data.unlabelled import list_images
from plurimask.figures.page import Classes
from plurimask.figures.samples import overview
from plurimask.figures.style import save_figure
from plurimask.prediction.budget import Budget
from plurimask.prediction.cohort import Block, Part
from plurimask.prediction.files import Outputs, Written, clear, write_prediction
from plurimask.prediction.finished import PART_TABLES, RECORD, begin, finish, mark, record_of, stamp_of, why_not
from plurimask.prediction.huge import HugeImage, HugePrediction
from plurimask.prediction.huge_files import finish_huge
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import predict
from plurimask.prediction.table import scores_of, write_table
from plurimask.prediction.workers import ONE_AT_A_TIME, refuse_other_images, refuse_other_run, refuse_other_version
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
        needed: Iterable[int],
        on_phase: Callable[[str], object] = str,
        on_read: Callable[[str, Tensor], object] = lambda name, image: None,
        on_image: Callable[[], object] = lambda: None,
    ) -> None:
        """Predict a block of images, and write the files of those that are needed: the others' are there."""
        wanted = {self.images.names[index]: stamp_of(self.images, index) for index in needed}
        huge = [index for index in block if self._is_huge(index)]
        for index in huge:
            if self.images.names[index] in wanted:
                self._predict_huge(index, wanted[self.images.names[index]], on_phase)
                on_image()
        some = SomeImages(self.images, [index for index in block if index not in huge])
        for one in predict(self.run.method, some, self.run.record.preprocessing, self.job.sampling, on_phase, on_read):
            self.notes |= {*one.notes}
            if one.name in wanted:
                mark(self.job.out, self.made_with)
                written = write_prediction(one, self.run.record.data, self.job.out, self.job.outputs)
                self._finish(written, wanted[one.name])
                on_image()

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

    def _predict_huge(self, index: int, stamp: Any, on_phase: Callable[[str], object]) -> None:
        about, name, out = self.run.record, self.images.names[index], self.job.out
        assert self.budget is not None
        image = HugeImage(name, self.images.reader(index), self.images.pixel_size(index))
        prediction = HugePrediction(image, about.preprocessing, about.data, self.budget, self.job.sampling)
        mark(out, self.made_with)
        folder, made_with = begin(out, name), {**self.made_with, "image": stamp}
        clear(folder, ("*.png", "*.tif", "*.geojson"))
        done = prediction.run(folder, made_with, on_phase)
        on_phase(f"{name}: writing")
        colours = (255 * np.asarray(self.classes.colours)).round().astype(int).tolist()
        chosen = {number: colours[number] for number in self.classes.counted}
        written = finish_huge(prediction, done, folder, self.job.outputs, chosen)
        self.notes |= {*self.budget.notes}
        self._finish(written, stamp)
        done[0].remove()

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


@lru_cache(maxsize=1)
def _opened(job: PredictJob) -> PredictWork:
    """The run and the images in a worker, once for all blocks of a job."""
    refuse_other_version(job.version)
    work = PredictWork(job, is_checked=True)
    refuse_other_run(job.run, work.run.digest, job.digest)
    return work


def predict_task(job: PredictJob, task: tuple[Block, list[int], tuple[str, ...]]) -> int:
    """A block in a worker: its places, those that are needed and their names; returns how many images it wrote."""
    block, needed, names = task
    with ONE_AT_A_TIME:
        work = _opened(job)
        refuse_other_images(job.images, work.images.names, needed, names)
        work.predict(block, needed)
    return len(names)
