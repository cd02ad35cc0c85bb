"""What is said of a training under way."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning import Fabric
from rich.console import Console

from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.methods import build_method
from plurimask.training.batches import TrainingData
from plurimask.training.checkpoint import Training, TrainingJob
from plurimask.training.config import TrainingConfig
from plurimask.training.progress import Display, duration
from plurimask.training.validation import validate


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def training(**settings: Any) -> Training:
    source = lesion_source(num_train=4, num_val=5, seed=1, size=32)
    method = build_method("unet", channels=(4, 6))
    data = TrainingData(source.splits["train"], source.splits["val"], Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    config = TrainingConfig(validation_samples=2, **settings)
    optimizer = torch.optim.AdamW(method.parameters())
    return Training(data, config, TrainingJob(Path("nowhere")), Fabric(accelerator="cpu"), method, optimizer, None)


def log(width: int = 40) -> Console:
    return Console(file=io.StringIO(), width=width)


def said(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_log_has_a_line_each_half_minute_and_after_each_validation() -> None:
    one, console, clock = training(max_steps=400), log(), Clock()
    with Display(one, console, clock) as display:
        for step in range(1, 101):
            one.step, one.elapsed = step, 10.0 * step
            clock.now += 10
            display.step(was_validated=step == 50)
    lines = said(console)
    assert len(lines) == 33  # each third step; the one at 50 comes early, and the others are counted from there
    assert lines[0] == "1%  training  step 3 of 400"
    assert lines[1] == "2%  training  step 6 of 400  1 h 05 min left"
    assert any("step 50 of 400  58:20 left" in line for line in lines)


def test_it_moves_while_validating() -> None:
    one, console, clock = training(max_steps=400), log(), Clock()
    one.step, one.elapsed = 200, 60.0
    with Display(one, console, clock) as display:

        def slow(done: int, total: int) -> None:
            clock.now += 40
            display.validating(done, total)

        validate(one.method, one.data, one.config, on_image=slow)
    assert said(console) == [f"50%  validating, image {done} of 5  step 200 of 400  1:00 left" for done in range(1, 6)]


def test_steps_in_a_budget_of_minutes_are_estimated() -> None:
    one, console, clock = training(max_minutes=2.0), log(), Clock()
    with Display(one, console, clock) as display:
        one.step, one.elapsed = 30, 30.0
        display.step(was_validated=True)
    assert said(console) == ["25%  training  step 30 of about 120  1:30 left"]


def test_other_processes_say_nothing() -> None:
    one, console = training(max_steps=4), log()
    display = Display(one, console, Clock())
    display.is_visible = False
    display.step(was_validated=True)
    assert said(console) == []


def test_durations() -> None:
    assert [duration(seconds) for seconds in (5, 65, 3599, 3660)] == ["0:05", "1:05", "59:59", "1 h 01 min"]
