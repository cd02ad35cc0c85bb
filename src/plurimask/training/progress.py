"""What the user sees of a training, and how they stop it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from plurimask.training.checkpoint import Training


@contextmanager
def progress_bar(training: Training) -> Iterator[Callable[[float, bool], None]]:
    """A bar, and what moves it: called with the progress from 0 to 1, and whether there was a validation.

    Where there is no terminal to draw it on, a line is said after each validation. The first process alone has one.
    """
    visible = training.fabric.is_global_zero
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not visible)

    def status() -> str:
        loss, ged = training.log.latest("loss"), training.best_ged
        so_far = "" if loss is None else f"  loss {loss:.1f}"
        return f"{training.job.title}  step {training.step}{so_far}" + (
            "" if ged is None else f"  best val GED {ged:.3f}"
        )

    def show(progress: float, validated: bool) -> None:
        if visible:
            bar.update(task, completed=min(1.0, progress), description=status())
            if validated and not bar.console.is_terminal:
                bar.console.print(f"{min(1.0, progress):.0%}  {status()}")

    with bar:
        task = bar.add_task(status(), total=1.0)
        yield show


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C was pressed since, so that the step under way is finished; a second Ctrl-C ends at once."""
    pressed = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():  # others see no signals
        yield lambda: False
        return
    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)
