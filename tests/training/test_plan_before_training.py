"""Plans: what fits the data, the machine and the budget. Machines are given by numbers, nothing is timed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
import torch

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.worlds.lesions import lesion_source
from plurimask.distribution import IGNORE
from plurimask.training.candidates import CROPS, PLANNED, Task
from plurimask.training.config import TrainingConfig
from plurimask.training.look import DataLook, look_at
from plurimask.training.plan import NEEDED_STEPS, TrainingPlan, make_plan

CELLS = DataLook(
    num_images=71,
    num_seen=71,
    height=520,
    width=696,
    is_one_size=True,
    num_classes=2,
    num_raters=10,
    foreground=0.06,
    object_side=60,
    object_width=25,
    agreement=0.86,
)


@dataclass
class Numbers:
    """A machine by its speed: seconds for a million pixels of a step, with one rater, and of a validation's sample."""

    per_step: float
    per_image: float
    height: int = 520
    width: int = 696
    asked: list[TrainingConfig] = field(default_factory=list)

    def step_seconds(self, config: TrainingConfig) -> float:
        self.asked.append(config)
        pixels = self._pixels(config.crop, config.resize) * config.batch_size * (1 + config.raters_per_step) / 2
        return 0.001 + self.per_step * pixels / 1e6

    def image_seconds(self, config: TrainingConfig) -> float:
        pixels = self._pixels(config.validation_crop, config.resize)
        return 0.002 + self.per_image * pixels * config.validation_samples / 1e6

    def _pixels(self, side: int | None, size: tuple[int, int] | None) -> int:
        height, width = size or (self.height, self.width)
        return min(height, side or height) * min(width, side or width)


def planned(
    look: DataLook, machine: Numbers, num_val: int = 100, num_parts: int = 1, **settings: Any
) -> tuple[TrainingConfig, TrainingPlan]:
    given = TrainingConfig(**{"max_minutes": 10.0, **settings})
    return make_plan(Task(look, given, settings.keys(), num_val, num_parts, machine))


def validation_share(config: TrainingConfig, plan: TrainingPlan) -> float:
    return config.num_validations * plan.validation_seconds / plan.seconds


@pytest.mark.parametrize("speed", [0.05, 0.5, 2.0, 5.0, 15.0])
@pytest.mark.parametrize("minutes", [1.0, 4.0, 10.0, 240.0])
def test_steps_and_validations_fit_the_budget(speed: float, minutes: float) -> None:
    machine = Numbers(speed, 0.3 * speed)
    config, plan = planned(CELLS, machine, max_minutes=minutes)
    assert plan.steps * plan.step_seconds <= 60 * minutes
    assert plan.steps * plan.step_seconds + config.num_validations * plan.validation_seconds <= 1.01 * 60 * minutes
    one = machine.image_seconds(config)
    assert config.num_validations * plan.validation_seconds <= max(0.1 * 60 * minutes, one)
    assert plan.seconds == 60 * minutes
    assert 1 <= config.warmup_steps <= max(1, plan.steps // 20)
    if plan.undertrained:  # then everything is as cheap as it gets
        assert (config.batch_size, config.raters_per_step) == (4, 1)
        assert config.crop == min(side for side in CROPS if side >= 30)


def test_a_faster_machine_sees_more_in_a_step() -> None:
    seen = []
    for speed in (8.0, 2.0, 0.5, 0.01):
        config, plan = planned(CELLS, Numbers(speed, speed))
        assert config.crop is not None
        seen.append(config.crop**2 * config.batch_size)
        assert plan.steps >= NEEDED_STEPS
    assert seen == sorted(seen)
    assert seen[-1] >= 4 * seen[0]


def test_what_is_dear_only_by_estimate_is_found_to_be_cheap() -> None:
    """A wide device takes as long for a small step as for a large one."""

    class Wide(Numbers):
        def step_seconds(self, config: TrainingConfig) -> float:
            self.asked.append(config)
            return 0.02

    machine = Wide(1.0, 0.001)
    config, _ = planned(CELLS, machine)
    assert (config.crop, config.batch_size, config.raters_per_step) == (96, 16, 4)  # the dearest of all
    assert len(machine.asked) <= 6


def test_crops_lie_around_objects_where_these_are_rare() -> None:
    config, _ = planned(CELLS, Numbers(1.0, 1.0))
    assert config.crop_on_objects > 0.5
    assert planned(CELLS.model_copy(update={"foreground": 0.5}), Numbers(1.0, 1.0))[0].crop_on_objects == 0
    scene = CELLS.model_copy(update={"foreground": None, "object_side": None, "object_width": None})
    assert planned(scene, Numbers(1.0, 1.0))[0].crop_on_objects == 0


def test_a_crop_is_as_large_as_objects_ask_for() -> None:
    fast = Numbers(0.01, 0.01)
    crops = [planned(CELLS.model_copy(update={"object_side": side}), fast)[0].crop for side in (20, 50, 70, 400)]
    assert crops == [96, 96, 128, 192]
    slow = Numbers(50.0, 50.0)
    crops = [planned(CELLS.model_copy(update={"object_side": side}), slow)[0].crop for side in (20, 400)]
    assert crops == [64, 96]


def test_a_small_view_is_taken_only_for_want_of_steps() -> None:
    thin = CELLS.model_copy(update={"object_side": 20})
    views = {}
    for speed in (4.0, 8.0, 12.0, 14.0, 25.0):
        config, plan = planned(thin, Numbers(speed, speed))
        views[speed] = (config.crop, config.batch_size, config.raters_per_step)
        assert plan.steps >= NEEDED_STEPS
    assert [crop for crop, *_ in views.values()] == [96, 96, 96, 96, 64]
    assert views[14.0] == (96, 4, 1)


def test_a_scene_is_seen_as_large_as_can_be() -> None:
    scene = CELLS.model_copy(update={"foreground": None, "object_side": None, "object_width": None})
    cells = CELLS.model_copy(update={"object_side": 90})
    views = {
        name: planned(look.model_copy(update={"height": 180, "width": 240}), Numbers(4.0, 1.0, 180, 240))[0]
        for name, look in (("scene", scene), ("cells", cells))
    }
    assert (views["scene"].crop, views["scene"].batch_size, views["scene"].raters_per_step) == (None, 4, 1)
    assert views["cells"].crop in (128, 160)


def test_small_images_are_whole_where_there_is_time() -> None:
    small = CELLS.model_copy(update={"height": 128, "width": 120})
    config, plan = planned(small, Numbers(0.5, 0.05, 128, 120))
    assert (config.crop, config.resize, config.validation_crop) == (None, None, None)
    assert "whole images" in plan.summary


def test_images_full_of_thick_objects_are_made_smaller_whatever_the_speed() -> None:
    """All methods of a comparison must see one size, so that it may not depend on how fast they are."""
    thick = CELLS.model_copy(update={"height": 900, "width": 1200, "object_side": 600, "object_width": 400})
    sizes = {planned(thick, Numbers(speed, 1.0, 900, 1200))[0].resize for speed in (0.01, 1.0, 30.0)}
    assert sizes == {(192, 256)}
    mixed = planned(thick.model_copy(update={"is_one_size": False}), Numbers(1.0, 1.0))[0]
    assert mixed.resize is None
    vessels = planned(thick.model_copy(update={"object_width": 6}), Numbers(1.0, 1.0))[0]
    assert vessels.resize is None


def test_dear_validations_are_on_windows_and_cheap_ones_on_whole_images() -> None:
    cheap, dear = planned(CELLS, Numbers(1.0, 0.001)), planned(CELLS, Numbers(1.0, 5.0))
    assert cheap[0].validation_crop is None
    assert cheap[0].num_validations == 10
    assert dear[0].validation_crop == dear[0].crop
    assert validation_share(*dear) <= 0.1
    assert any("windows" in reason for reason in dear[1].reasons)


def test_what_is_given_stays() -> None:
    settings: dict[str, Any] = {"batch_size": 7, "crop": 100, "num_validations": 3, "validation_samples": 5}
    config, plan = planned(CELLS, Numbers(1.0, 0.3), warmup_steps=44, **settings)
    for name, value in {**settings, "warmup_steps": 44}.items():
        assert getattr(config, name) == value
        assert name not in plan.planned
        assert name in plan.reasons[-1]
    assert planned(CELLS, Numbers(1.0, 0.3), crop=None)[0].crop is None
    everything = dict.fromkeys(PLANNED)
    fixed = TrainingConfig(max_steps=50)
    assert make_plan(Task(CELLS, fixed, everything.keys(), 9, 1, Numbers(1.0, 1.0)))[0] == fixed


def test_what_is_planned_over_the_given_settings_is_what_is_used() -> None:
    config, plan = planned(CELLS, Numbers(1.0, 0.3))
    given = TrainingConfig(max_minutes=10.0)
    assert TrainingConfig(**{**given.model_dump(), **plan.planned}) == config
    assert TrainingPlan(**plan.model_dump(mode="json")) == plan


def test_without_minutes_the_steps_of_the_settings_are_made() -> None:
    for speed in (0.1, 20.0):
        config, plan = planned(CELLS, Numbers(speed, 0.1), max_minutes=None, max_steps=2000)
        assert plan.steps == 2000
        assert plan.seconds == pytest.approx(
            2000 * plan.step_seconds + config.num_validations * plan.validation_seconds
        )
        assert validation_share(config, plan) <= 0.1


def test_members_share_the_budget() -> None:
    _, one = planned(CELLS, Numbers(2.0, 0.1))
    _, four = planned(CELLS, Numbers(2.0, 0.1), num_parts=4)
    assert four.seconds == one.seconds
    assert four.needed_steps == 4 * one.needed_steps
    assert four.steps % 4 == 0


def test_too_few_steps_are_known_before() -> None:
    _, plan = planned(CELLS, Numbers(40.0, 0.1), max_minutes=0.5)
    assert plan.undertrained
    assert any("too few" in reason for reason in plan.reasons)
    assert not planned(CELLS, Numbers(0.1, 0.1))[1].undertrained


def test_a_plan_is_told_in_six_lines() -> None:
    _, plan = planned(CELLS, Numbers(2.0, 0.1))
    lines = plan.lines(datetime(2026, 3, 4, 21, 56, 10))
    assert len(lines) == 6
    assert "around objects" in lines[0]
    assert lines[0].endswith("done at 22:06; --plan shows it and stops")
    assert f"{plan.steps:,} steps" in lines[0]
    assert "71 images of 520x696" in lines[1]
    assert "Dice 0.86" in lines[1]
    assert "on 05 March" in plan.lines(datetime(2026, 3, 4, 23, 56))[0]
    without = planned(CELLS, Numbers(2.0, 0.1), num_val=0)[1]
    assert "no images for it" in " ".join(without.reasons)
    assert without.num_validations == 0


# ---- the look -----------------------------------------------------------------------------------------------------


class Drawn(ExampleSet):
    """Squares of 20 and bars of 6 x 40 pixels, by two raters and one who is absent."""

    def __init__(self, count: int, height: int = 60, width: int = 80) -> None:
        self.size, self.num_read = (height, width), 0
        self.names = self.groups = [str(number) for number in range(count)]

    def __getitem__(self, index: int) -> Example:
        self.num_read += 1
        labels = torch.zeros(3, *self.size, dtype=torch.uint8)
        labels[:2, 4:24, 5:25] = 1
        labels[:2, 40:46, 30:70] = 1
        labels[1, 14:24, 5:25] = 0
        labels[2] = IGNORE
        return Example(str(index), torch.zeros(1, *self.size), labels)


def description(**settings: Any) -> DataDescription:
    about = lesion_source(num_train=2, num_val=1, seed=1, size=36).description
    return about.model_copy(update=settings)


def test_a_look_tells_what_is_marked() -> None:
    look = look_at(Drawn(30), description())
    assert (look.height, look.width, look.is_one_size) == (60, 80, True)
    assert (look.num_images, look.num_seen, look.num_raters) == (30, 30, 2)
    assert look.object_side == 40
    assert 6 <= (look.object_width or 0) <= 20
    first, second = 400 + 240, 200 + 240
    assert look.foreground == pytest.approx((first + second) / 2 / (60 * 80))
    assert look.agreement == pytest.approx(2 * second / (first + second))


def test_a_look_is_cheap() -> None:
    many = Drawn(1000)
    assert look_at(many, description()).num_seen == many.num_read == 200
    huge = Drawn(1000, 3000, 5000)
    look = look_at(huge, description())
    assert huge.num_read == 4  # of 60 million values each
    assert look.object_side is not None
    assert abs(look.object_side - 40) <= 20  # thinned


def test_data_without_background_have_no_objects() -> None:
    look = look_at(Drawn(3), description(has_background=False))
    assert (look.foreground, look.object_side, look.agreement) == (None, None, None)
    assert "foreground" not in look.lines()[0]
