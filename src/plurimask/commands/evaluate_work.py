"""What `plurimask evaluate` does for a block of images: in its own process, or in a worker of Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from plurimask.data import DataSource, ExampleSet, Place
from plurimask.evaluation.evaluate import ExampleView, ScoredImage, evaluate
from plurimask.evaluation.records import content_of
from plurimask.metrics.representatives import TABLE_WITH_REPRESENTATIVES
from plurimask.metrics.table import TABLE, Table
from plurimask.metrics.volume_table import with_volumes
from plurimask.prediction.cohort import Block
from plurimask.prediction.finished import stamp_of
from plurimask.prediction.predict import Sampling
from plurimask.prediction.workers import ONE_AT_A_TIME, refuse_other_images, refuse_other_run, refuse_other_version
from plurimask.runs.load import Run, find_split, load_run, open_run_data
from plurimask.version import __version__


@dataclass(frozen=True)
class EvaluateJob:
    """What is evaluated, and how: plain values, which can be sent to another process."""

    run: Path
    data: Path
    read_as: str | None
    images: str | None
    masks: tuple[tuple[str, str], ...]
    split: str
    sampling: Sampling
    representatives: bool
    slice_draws: Literal["shared", "independent"] | None = None
    digest: str = ""
    """Of the run, as the caller has it; another process that finds another run there refuses."""
    version: str = __version__


class EvaluateWork:
    """A job whose run and data are open."""

    def __init__(self, job: EvaluateJob) -> None:
        self.job = job
        self.run: Run = load_run(job.run, job.slice_draws)
        place = Place(job.data, job.read_as, job.images, dict(job.masks), keep=False)
        self.source: DataSource = open_run_data(self.run.record, place)
        self.examples: ExampleSet = find_split(self.source, job.split)
        about = self.run.record
        self.notes: set[str] = set()
        """What is only approximated or left out, in sentences for people."""
        self.view = ExampleView(
            self.examples, range(len(self.examples)), about.preprocessing, about.data.counted_classes
        )

    @property
    def table(self) -> Table:
        """Which figures."""
        table = TABLE_WITH_REPRESENTATIVES if self.job.representatives else TABLE
        return with_volumes(table) if self.run.record.data.spatial_dims == 3 else table

    @cached_property
    def made_with(self) -> Mapping[str, Any]:
        """What an image's figures depend on, beside its files."""
        sampling = self.job.sampling
        return {
            "run": self.run.digest,
            "samples": sampling.num_samples,
            "seed": sampling.seed,
            "batch_size": sampling.batch_size,
            "split": self.job.split,
            "slice_draws": self.job.slice_draws,
            "figures": [row.key for row in self.table],
            "data": self.source.description.model_dump(mode="json"),
            "plurimask": __version__,
        }

    def evaluate(
        self, block: Block, needed: Iterable[int], on_image: Callable[[], object] = lambda: None
    ) -> list[dict[str, Any]]:
        """Evaluate a block of images: the records of those that are needed."""
        wanted = {self.examples.names[index]: stamp_of(self.examples, index) for index in needed}
        found: list[dict[str, Any]] = []

        def keep(scored: ScoredImage) -> None:
            if scored.name in wanted:
                found.append(content_of(scored, wanted[scored.name]))
                on_image()

        view = replace(self.view, indices=block)
        self.notes |= {*evaluate(self.run.method, view, self.job.sampling, table=self.table, on_scored=keep).notes}
        return found


@lru_cache(maxsize=1)
def _opened(job: EvaluateJob) -> EvaluateWork:
    """The run and the data in a worker, once for all blocks of a job."""
    refuse_other_version(job.version)
    work = EvaluateWork(job)
    refuse_other_run(job.run, work.run.digest, job.digest)
    return work


def evaluate_task(job: EvaluateJob, task: tuple[Block, list[int], tuple[str, ...]]) -> list[dict[str, Any]]:
    """A block in a worker: its places, those that are needed and their names; returns their records."""
    block, needed, names = task
    with ONE_AT_A_TIME:
        work = _opened(job)
        refuse_other_images(job.data, work.examples.names, needed, names)
        return work.evaluate(block, needed)
