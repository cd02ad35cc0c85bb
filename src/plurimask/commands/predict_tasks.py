"""What `plurimask predict` lets workers of Dask do: blocks of images, and the tiles of those too large for memory.

A worker that is given a block predicts its images; those too large for memory it only begins, and says so. Their tiles
are then tasks of their own, for all workers, and so is what is written at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from plurimask.commands.predict_work import Begun, PredictJob, PredictWork
from plurimask.prediction.cohort import Block
from plurimask.prediction.finished import why_not
from plurimask.prediction.tile_course import Course, Step
from plurimask.prediction.workers import ONE_AT_A_TIME, refuse_other_images, refuse_other_run, refuse_other_version


@dataclass(frozen=True)
class BlockTask:
    """A block of images: their places, those that are needed, and the names of these."""

    block: Block
    needed: list[int]
    names: list[str]


@dataclass(frozen=True)
class TileTask:
    """A step with one tile of an image that was begun."""

    image: Begun
    step: Step


@dataclass(frozen=True)
class LastTask:
    """What follows from all tiles of an image."""

    image: Begun


Task: TypeAlias = BlockTask | TileTask | LastTask


@dataclass(frozen=True)
class Outcome:
    """What a worker tells of a task."""

    num_images: int = 0
    """That are finished by it."""
    begun: tuple[tuple[Begun, Course], ...] = ()
    """Images with what is to be computed of their tiles."""
    notes: frozenset[str] = frozenset()
    """What is only approximated, in sentences for people."""


def name_of(task: Task) -> str:
    """Of the image, or the first one."""
    return task.names[0] if isinstance(task, BlockTask) else task.image.name


class TilesUnderWay:
    """The large images whose tiles the workers compute, and which tasks come next of them."""

    def __init__(self) -> None:
        self.courses: dict[str, Course] = {}

    def after(self, task: Task, outcome: Outcome) -> list[Task]:
        """The tasks that can be done now that this one is."""
        following: list[Task] = []
        for image, course in outcome.begun:
            self.courses[image.name] = course
            following += self._next(image, course.first())
        if isinstance(task, TileTask):
            following += self._next(task.image, self.courses[task.image.name].after(task.step))
        return following

    def words(self, task: Task) -> str:
        """How far the image of a task is; "" of one whose tiles are no tasks."""
        course = self.courses.get(name_of(task))
        return f"; {name_of(task)}: {course.words}" if course else ""

    def _next(self, image: Begun, steps: Sequence[Step]) -> list[Task]:
        if self.courses[image.name].is_done:
            del self.courses[image.name]
            return [LastTask(image)]
        return [TileTask(image, step) for step in steps]


# ---- in a worker ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _opened(job: PredictJob) -> PredictWork:
    """The run and the images in a worker, once for all tasks of a job."""
    refuse_other_version(job.version)
    work = PredictWork(job, is_checked=True)
    refuse_other_run(job.run, work.run.digest, job.digest)
    return work


def predict_task(job: PredictJob, task: Task) -> Outcome:
    """A task in a worker; one that was done already, by a worker that was lost before it could tell, does no harm."""
    with ONE_AT_A_TIME:
        work = _opened(job)
        if isinstance(task, BlockTask):
            return _block(work, task)
        refuse_other_images(job.images, work.images.names, [task.image.index], [task.image.name])
        if isinstance(task, TileTask):
            work.tiles_of(task.image).compute(task.step)
            return Outcome()
        if why_not(job.out / task.image.name, work.made_with, task.image.stamp) is not None:
            work.finish_huge(task.image)
        return Outcome(1, notes=frozenset(work.notes))


def _block(work: PredictWork, task: BlockTask) -> Outcome:
    refuse_other_images(work.job.images, work.images.names, task.needed, task.names)
    work.forget_tiles()
    huge = work.huge_of(task.needed)
    small = [index for index in task.needed if index not in huge]
    work.predict(task.block, small)
    begun = []
    for index in huge:
        image = work.begin_huge(index)
        begun.append((image, work.tiles_of(image).course()))
    return Outcome(len(small), tuple(begun), frozenset(work.notes))
