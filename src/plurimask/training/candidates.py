"""What a training step sees of the images, chosen by the data, the speed of the machine and the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from plurimask.data.crops import TrainingCrop, sides_of
from plurimask.training import patches
from plurimask.training.config import TrainingConfig
from plurimask.training.look import DataLook

VALIDATION_SHARE = 0.08
"""The share of the time that all validations take together; what they take beyond the plan has some room below 10 %."""
WANTED_STEPS = 1000
"""Steps for which a plan gives up size and number of crops."""
SMALL_VIEW_STEPS = 600
"""Steps for which it goes below crops of 96, or of a scene without a background to a smaller view at all."""
NOMINAL_MINUTES = 20.0
"""The time that a plan without `max_minutes` aims at for the steps of its preset."""
MOST_PREPARATION = 0.5
"""The share of a budget that preparation counts for, at most."""
WHOLE_PIXELS = 100_000
"""Images up to so many pixels are trained on whole, where the budget allows it."""
CROPS = (192, 160, 128, 96, 64)
BATCHES = ((16, 4), (8, 4), (8, 2), (4, 2), (4, 1))
"""Images a step and raters drawn for each, from dear to cheap."""
_THICK, _LONG = 160, 448  # pixels: objects thicker than this in images longer than that lose nothing when made smaller
_RESIZED = 256  # pixels: the longer side, then
_SMALLEST = 96  # pixels: no more than this need a crop be, however large objects are, and less only for want of time
_MOST_TIMED = 5  # candidates that are timed beside the cheapest
_TOLERANCE = 1.25  # of the seconds of a step
ON_OBJECTS = 0.7
"""The share of crops around objects, where these are rare."""
RARE = 0.25
"""The share of foreground below which objects are rare."""
PLANNED = frozenset(
    {"crop", "crop_on_objects", "resize", "batch_size", "raters_per_step", "warmup_steps", "num_validations"}
    | {"validation_images", "validation_samples", "validation_crop"}
)
"""The settings that a plan decides, where they are not given."""


class Machine(Protocol):
    """How fast a machine is."""

    def step_seconds(self, config: TrainingConfig) -> float:
        """Seconds of one training step with these settings, reading of the images included."""

    def image_seconds(self, config: TrainingConfig) -> float:
        """Seconds for one image in a validation with these settings."""

    def step_bytes(self, config: TrainingConfig) -> float:
        """Memory that one training step with these settings takes. Asked of volumes alone."""

    def image_bytes(self) -> float:
        """Memory that predicting takes for each voxel of an image. Asked of volumes alone."""

    @property
    def memory(self) -> float:
        """Bytes that a step, or a prediction, may take."""


@dataclass(frozen=True)
class Task:
    """What a plan is made from."""

    look: DataLook
    """What is known of the data."""
    given: TrainingConfig
    """The settings, with a budget."""
    fixed: Collection[str]
    """The names of those that a person gave, which stay."""
    num_val: int
    """Images to validate on; 0 if there are none."""
    num_parts: int
    """Networks that share the budget, the members of an ensemble."""
    machine: Machine
    """The time that things take."""
    of_method: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method that the data ask for."""
    spent: Callable[[], float] = lambda: 0.0
    """Seconds of the budget that are used by now, for looking and timing."""

    @property
    def preparation_seconds(self) -> float:
        """What is spent, as it counts: a short budget is not used up before the first step."""
        budget = 60 * (self.given.max_minutes or NOMINAL_MINUTES)
        return min(self.spent(), MOST_PREPARATION * budget) if self.given.max_minutes else 0.0

    @property
    def seconds(self) -> float:
        """For each part: what is left of the budget, or what the plan aims at."""
        return (60 * (self.given.max_minutes or NOMINAL_MINUTES) - self.preparation_seconds) / self.num_parts

    def steps(self, step_seconds: float) -> int:
        """Of each part, within the budget."""
        most = self.given.max_steps // self.num_parts if self.given.max_steps else None
        if self.given.max_minutes is None:
            return max(1, most or 1)
        in_time = int(self.seconds * (1 - VALIDATION_SHARE) / step_seconds)
        return max(1, in_time if most is None else min(most, in_time))

    def free(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Those of the settings that are not fixed."""
        return {name: value for name, value in settings.items() if name not in self.fixed}

    def with_settings(self, **settings: Any) -> TrainingConfig:
        """The given settings with others on top, but for those that are fixed."""
        return TrainingConfig(**{**self.given.model_dump(), **self.free(settings)})


def view_and_batch(task: Task) -> tuple[TrainingConfig, float]:
    """The first of the candidates, from dear to cheap, that the budget has enough steps for, else the cheapest; and the
    seconds of its step.

    The cheapest is timed and the others estimated from it. What seems to fit is timed in its turn, and estimates are
    made from that: what is dear takes less than its share of the pixels where devices are wide.
    """
    candidates = [*_candidates(task)]
    if task.look.depth is not None:
        candidates = _that_fit(task, candidates)
    chosen = candidates[-1]
    seconds = task.machine.step_seconds(chosen)
    unit, timed = seconds / _cost(task, chosen), {len(candidates) - 1}
    cheaper = [*candidates[1:], None]
    limits = [_limit(task, _wanted(task, one, then)) for one, then in zip(candidates, cheaper, strict=True)]
    for _ in range(_MOST_TIMED):
        fitting = (number for number, one in enumerate(candidates) if unit * _cost(task, one) <= limits[number])
        number = next(fitting, len(candidates) - 1)
        if number in timed or number > candidates.index(chosen):
            break
        timed.add(number)
        measured = task.machine.step_seconds(candidates[number])
        unit = measured / _cost(task, candidates[number])
        if measured <= _TOLERANCE * limits[number]:
            chosen, seconds = candidates[number], measured
    return chosen, seconds


def _that_fit(task: Task, candidates: list[TrainingConfig]) -> list[TrainingConfig]:
    """Those whose steps fit into memory, by what the cheapest takes; the cheapest in any case."""
    *dearer, cheapest = candidates
    unit = task.machine.step_bytes(cheapest) / _cost(task, cheapest)
    return [*(one for one in dearer if unit * _cost(task, one) <= task.machine.memory), cheapest]


def _wanted(task: Task, config: TrainingConfig, cheaper: TrainingConfig | None) -> int:
    """Steps below which the next cheaper candidate is taken: small views last, as they show little around objects, and
    of scenes, which are all around, any smaller view."""
    is_last_of_its_view = cheaper is not None and cheaper.crop != config.crop
    smallest = _SMALLEST if task.look.depth is None else patches.SMALLEST_PATCH
    is_smallest = config.crop is not None and max(sides_of(config.crop, 1)) == smallest
    is_worth_steps = is_smallest or task.look.object_side is None
    return SMALL_VIEW_STEPS if is_worth_steps and is_last_of_its_view else WANTED_STEPS


def _limit(task: Task, wanted_steps: int) -> float:
    """Seconds that a step may take, for so many steps or those that are given."""
    most = task.given.max_steps // task.num_parts if task.given.max_steps else None
    wanted = min(wanted_steps, most or wanted_steps) if task.given.max_minutes else most
    return task.seconds * (1 - VALIDATION_SHARE) / max(1, wanted or 1)


def _candidates(task: Task) -> Iterator[TrainingConfig]:
    """From dear to cheap. Where settings are fixed, several are the same."""
    raters = max(1, task.look.num_raters)
    seen = set()
    for view in _views(task):
        for batch_size, drawn in BATCHES if task.look.depth is None else patches.BATCHES:
            config = task.with_settings(**view, batch_size=batch_size, raters_per_step=min(drawn, raters))
            key = config.model_dump_json()
            if key not in seen:
                seen.add(key)
                yield config


def _views(task: Task) -> Iterator[dict[str, Any]]:
    """How images may be seen, from dear to cheap: whole or made smaller, then in ever smaller crops."""
    look, given = task.look, task.given
    on_objects = ON_OBJECTS if look.foreground is not None and look.foreground < RARE and look.object_side else 0.0
    if "crop" in task.fixed:
        yield {"crop_on_objects": on_objects} if given.crop else {}
        return
    if look.depth is not None:
        if given.center_crop or patches.is_small(look):
            yield {}
        if not given.center_crop:
            yield from ({"crop": patch, "crop_on_objects": on_objects} for patch in patches.patches(look))
        return
    height, width = seen_size(task, given)
    if "resize" not in task.fixed and _may_be_smaller(look) and not given.center_crop:
        factor = _RESIZED / max(height, width)
        yield {"resize": (16 * round(height * factor / 16), 16 * round(width * factor / 16))}
        return  # by the data alone, so that all methods of a comparison see one size
    is_small = height * width <= WHOLE_PIXELS
    if is_small or given.center_crop:
        yield {}
    if given.center_crop:
        return
    largest = max(CROPS) if look.object_side is None else max(96, 2 * look.object_side)
    smallest = min(_SMALLEST, (look.object_side or _SMALLEST) // 2)  # what cuts every object teaches no shape
    sides = [side for side in CROPS if smallest <= side <= largest and side < min(height, width)]
    for side in sides or ([] if is_small else [min(CROPS)]):
        yield {"crop": side, "crop_on_objects": on_objects}


def _may_be_smaller(look: DataLook) -> bool:
    """Whether images are large only because everything in them is: all of one size, their objects thick."""
    return (
        look.is_one_size
        and max(look.height, look.width) > _LONG
        and look.object_width is not None
        and look.object_width > _THICK
    )


def _cost(task: Task, config: TrainingConfig) -> float:
    """How dear a step is, beside others: by its pixels, and by the raters of each image, who share the image's part."""
    return config.batch_size * pixels_of(task, config, config.crop) * (1 + 0.3 * config.raters_per_step)


def pixels_of(task: Task, config: TrainingConfig, window: TrainingCrop | None) -> int:
    """Pixels of an image as it is seen, or of a window of it."""
    size = seen_size(task, config)
    return math.prod(size if window is None else map(min, size, sides_of(window, len(size))))


def seen_size(task: Task, config: TrainingConfig) -> tuple[int, ...]:
    """Of an image of median size as the settings have it."""
    size = config.resize or task.look.size
    return size if config.center_crop is None else tuple(map(min, size, sides_of(config.center_crop, len(size))))
