"""How often and on what a training is validated, so that all validations together take a small share of its time."""

from __future__ import annotations

from plurimask.training.candidates import VALIDATION_SHARE, Task
from plurimask.training.config import TrainingConfig

VALIDATIONS = ((10, False, 16, 48), (8, False, 16, 24), (6, False, 8, 16), (6, True, 16, 24), (5, True, 8, 16))
"""Validations, whether on windows of the crop's size, samples an image, and images that are worth it: dear to cheap."""
_MOST_IMAGES = 96


def validations(task: Task, config: TrainingConfig, seconds_of_steps: float) -> tuple[TrainingConfig, float]:
    """The first of `VALIDATIONS` that can be paid for, else the last with as many images as can be."""
    total = task.seconds if task.given.max_minutes else seconds_of_steps / (1 - VALIDATION_SHARE)
    if task.given.max_steps:
        total = min(total, seconds_of_steps / (1 - VALIDATION_SHARE))
    timed: dict[tuple[int | None, int], float] = {}
    side = config.crop if config.resize is None else None
    chosen, image_seconds = config, 0.0
    for number, on_windows, samples, worth in VALIDATIONS:
        if on_windows and side is None:
            continue
        window = {"validation_crop": side} if on_windows else {}
        settings = {"num_validations": number, "validation_samples": samples, **window}
        chosen = TrainingConfig(**{**config.model_dump(), **task.free(settings)})
        key = (chosen.validation_crop, chosen.validation_samples)
        if key not in timed:
            timed[key] = task.machine.image_seconds(chosen)
        image_seconds = timed[key]
        affordable = int(VALIDATION_SHARE * total / (chosen.num_validations * image_seconds))
        if affordable >= min(worth, task.num_val):
            break
    if affordable < min(8, task.num_val) and "num_validations" not in task.fixed:
        number = int(VALIDATION_SHARE * total / (min(8, task.num_val) * image_seconds))
        chosen = chosen.model_copy(update={"num_validations": max(1, min(chosen.num_validations, number))})
        affordable = int(VALIDATION_SHARE * total / (chosen.num_validations * image_seconds))
    images = max(1, min(task.num_val, _MOST_IMAGES, affordable))
    return TrainingConfig(**{**chosen.model_dump(), **task.free({"validation_images": images})}), image_seconds
