"""A plan before training: from the data and the speed of the machine to settings that fit the budget.

Nothing here is timed: a `Machine` says how long a step and a validation image take. What is seen of the images is
chosen in `candidates`, validations in `affordable`, and both are told in `plan_words`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from plurimask.training import plan_words
from plurimask.training.affordable import validations
from plurimask.training.candidates import PLANNED, Task, view_and_batch
from plurimask.training.config import TrainingConfig
from plurimask.training.look import DataLook

NEEDED_STEPS = 500
"""Steps below which a method of this package has hardly begun to learn."""


class TrainingPlan(BaseModel):
    """What was decided before a training, and why. It is stored in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    look: DataLook
    planned: dict[str, Any]
    """The settings that were decided, and their values; all others were given, or are the preset's."""
    steps: int
    """Expected within the budget, of all members of an ensemble together."""
    needed_steps: int = NEEDED_STEPS
    """Fewer are too few."""
    seconds: float
    """Expected from now on, validations included."""
    preparation_seconds: float = 0.0
    """That looking at the data and timing took of the budget."""
    step_seconds: float
    """Of one step."""
    validation_seconds: float
    """Of one validation; 0 where there is none."""
    num_validations: int
    summary: str
    reasons: tuple[str, ...]

    @property
    def undertrained(self) -> bool:
        """Whether the steps that are expected are too few."""
        return self.steps < self.needed_steps

    def lines(self, now: datetime) -> list[str]:
        """The plan and why, for people; done at a time of the day."""
        done = now + timedelta(seconds=self.seconds)
        day = "" if done.date() == now.date() else f" on {done:%d %B}"
        return [f"{self.summary}: done at {done:%H:%M}{day}; --plan shows it and stops", *self.reasons]


def make_plan(task: Task) -> tuple[TrainingConfig, TrainingPlan]:
    """Settings that fit data, machine and budget, and why they do."""
    given, fixed, num_val, num_parts = task.given, task.fixed, task.num_val, task.num_parts
    config, step_seconds = view_and_batch(task)
    steps = task.steps(step_seconds)
    warmup = min(100, max(1, steps // 20))
    config = TrainingConfig(**{**config.model_dump(), **({} if "warmup_steps" in fixed else {"warmup_steps": warmup})})
    image_seconds = 0.0
    if num_val:
        config, image_seconds = validations(task, config, steps * step_seconds)
    images = min(num_val, config.validation_images)
    validation_seconds = images * image_seconds
    seconds = steps * step_seconds + config.num_validations * validation_seconds
    if given.max_minutes is not None:
        seconds = min(task.seconds, seconds) if given.max_steps else task.seconds
    before, after = given.model_dump(mode="json"), config.model_dump(mode="json")
    plan = TrainingPlan(
        look=task.look,
        planned={
            **{name: value for name, value in after.items() if name in PLANNED - set(fixed) and value != before[name]},
            **task.of_method,
        },
        steps=steps * num_parts,
        needed_steps=NEEDED_STEPS * num_parts,
        seconds=seconds * num_parts,
        preparation_seconds=task.preparation_seconds,
        step_seconds=step_seconds,
        validation_seconds=validation_seconds,
        num_validations=config.num_validations if num_val else 0,
        summary=plan_words.summary(config, steps, step_seconds, validation_seconds if num_val else None, num_parts),
        reasons=tuple(plan_words.reasons(task, config, steps, NEEDED_STEPS, validation_seconds)),
    )
    return config, plan
