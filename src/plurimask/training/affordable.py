"""How often and on what a training is validated, so that all validations together take a small share of its time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plurimask.data.crops import TrainingCrop
from plurimask.training.candidates import VALIDATION_SHARE, Task, pixels_of
from plurimask.training.config import TrainingConfig

VALIDATIONS = ((10, False, 16, 48), (8, False, 16, 24), (6, False, 8, 16), (6, True, 16, 24), (5, True, 8, 16))
"""Validations, whether on windows of the crop's size, samples an image, and images that are worth it: dear to cheap."""
_MOST_IMAGES, _FEWEST_IMAGES = 96, 8
_DOUBT = 2.0  # an image is timed where it seems to take less than so many times what it may


def validations(task: Task, config: TrainingConfig, seconds_of_steps: float) -> tuple[TrainingConfig, float]:
    """The first of `VALIDATIONS` that can be paid for, else the last with as many images as can be; and the seconds of
    one image. The cheapest is timed; others are timed only if they seem to fit, since whole images may take minutes.
    """
    total = seconds_of_steps / (1 - VALIDATION_SHARE)
    if task.given.max_minutes:
        total = min(total, task.seconds) if task.given.max_steps else task.seconds
    all_together = VALIDATION_SHARE * total
    options = [*_options(task, config)]
    if task.look.depth is not None:  # whole volumes may be more than memory holds
        held = task.machine.image_bytes()
        fitting = [one for one in options if held * pixels_of(task, *_window(one)) <= task.machine.memory]
        options = fitting or options[-1:]
    cheapest, _ = options[-1]
    chosen, seconds = cheapest, task.machine.image_seconds(cheapest)
    unit = seconds / _cost(task, cheapest)
    for option, worth in options[:-1]:
        allowed = all_together / (option.num_validations * min(worth, task.num_val))
        if _cost(task, option) == _cost(task, cheapest):
            measured = seconds
        elif unit * _cost(task, option) <= _DOUBT * allowed:
            measured = task.machine.image_seconds(option)
        else:
            continue
        if measured <= allowed:
            chosen, seconds = option, measured
            break
    fewest = min(_FEWEST_IMAGES, task.num_val)
    number = max(1, min(chosen.num_validations, int(all_together / (fewest * seconds))))
    number = chosen.num_validations if "num_validations" in task.fixed else number
    images = max(1, min(task.num_val, _MOST_IMAGES, int(all_together / (number * seconds))))
    settings = task.free({"num_validations": number, "validation_images": images})
    return TrainingConfig(**{**chosen.model_dump(), **settings}), seconds


def _options(task: Task, config: TrainingConfig) -> Iterator[tuple[TrainingConfig, int]]:
    """From dear to cheap, with the images that each is worth."""
    side = config.crop if config.resize is None else None
    for number, on_windows, samples, worth in VALIDATIONS:
        if on_windows and side is None:
            continue
        settings: dict[str, Any] = {"num_validations": number, "validation_samples": samples}
        settings |= {"validation_crop": side} if on_windows else {}
        yield TrainingConfig(**{**config.model_dump(), **task.free(settings)}), worth


def _window(option: tuple[TrainingConfig, int]) -> tuple[TrainingConfig, TrainingCrop | None]:
    return option[0], option[0].validation_crop


def _cost(task: Task, config: TrainingConfig) -> float:
    """How dear an image is, beside others: by its pixels, and by the samples, who share the image's part."""
    return pixels_of(task, config, config.validation_crop) * (1 + 0.15 * config.validation_samples)
