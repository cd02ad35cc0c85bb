"""A plan in words."""

from __future__ import annotations

from collections.abc import Iterator

from plurimask.data.crops import sides_words
from plurimask.data.remembered import cache_bytes
from plurimask.training.candidates import PLANNED, Task, pixels_of
from plurimask.training.config import TrainingConfig


def summary(
    config: TrainingConfig, steps: int, step_seconds: float, validation_seconds: float | None, num_parts: int
) -> str:
    several = f"{num_parts} networks, each: " if num_parts > 1 else ""
    words = [several + view_of(config), f"{config.batch_size} a step", f"{steps:,} steps of {_seconds(step_seconds)}"]
    if validation_seconds is not None:
        validations = "1 validation" if config.num_validations == 1 else f"{config.num_validations} validations"
        words.append(f"{validations} of {_seconds(validation_seconds)}")
    return ", ".join(words)


def view_of(config: TrainingConfig) -> str:
    if config.crop:
        return f"crops of {sides_words(config.crop)}{' around objects' if config.crop_on_objects else ''}"
    if config.center_crop:
        return f"centres of {sides_words(config.center_crop)}"
    return f"images at {config.resize[0]}x{config.resize[1]}" if config.resize else "whole images"


def reasons(task: Task, config: TrainingConfig, steps: int, needed: int, validation_seconds: float) -> Iterator[str]:
    for line in task.look.lines():
        yield f"data: {line}"
    why = "the largest that leave enough steps" if steps >= needed else "the smallest, and still too few steps"
    on_objects = f"; {config.crop_on_objects:.0%} of the crops lie around something marked" * bool(config.crop)
    of_method = "".join(f"; {name} {value:g} for single raters" for name, value in task.of_method.items())
    yield (
        f"view: {view_of(config)}, {config.raters_per_step} rater{'s' * (config.raters_per_step != 1)} drawn for each"
        f"{on_objects * bool(config.crop_on_objects)}; {why}{of_method}"
    )
    minutes = task.given.max_minutes
    if minutes:
        budget = f"{minutes:g} minute{'s' * (minutes != 1)}"
    else:
        budget = f"the {task.given.max_steps:,} steps of the settings"
    yield f"steps: {steps:,} in {budget}, warm-up {config.warmup_steps}; at least {needed} are needed"
    if task.num_val:
        images = min(task.num_val, config.validation_images)
        where = "whole images" if task.look.depth is None else "whole volumes"
        if config.validation_crop:
            where = f"windows of {sides_words(config.validation_crop)} around objects"
        yield (
            f"validation: {images} of {task.num_val} images ({where}), {config.validation_samples} samples each; "
            f"a validation takes {_seconds(validation_seconds)}"
        )
    else:
        yield "validation: none, the data have no images for it; the last weights are kept"
    if task.look.depth is not None:
        yield _memory(task, config)
    given = sorted(PLANNED & set(task.fixed))
    yield "given: " + (", ".join(given) if given else "no setting that a plan decides; any can be, such as --crop 128")


def _memory(task: Task, config: TrainingConfig) -> str:
    """What a training on volumes takes, and what of them it keeps."""
    step = task.machine.step_bytes(config)
    volume = task.machine.image_bytes() * pixels_of(task, config, config.validation_crop)
    words = f"memory: about {_gigabytes(step)} for a step"
    if task.num_val:
        words += f" and {_gigabytes(volume)} for a volume of median size in a validation"
    kept = _gigabytes(cache_bytes(config.cache_gb))
    return f"{words}; of decoded volumes at most {kept} are kept, others are read again (--cache-gb)"


def _gigabytes(count: float) -> str:
    return f"{count / 2**30:.2g} GB"


def _seconds(seconds: float) -> str:
    if seconds < 0.095:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 9.5 else f"{seconds:.0f} s"
