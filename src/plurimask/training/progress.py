"""What the user sees of a training."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from plurimask.training.checkpoint import Training

LOG_SECONDS = 30.0
"""Where there is no terminal, a line is said at least so often."""
_KNOWN = 0.01  # share of the training from which on the time left is told


class Display:
    """A bar that names the phase, the steps, the time left and the scores; it moves while validating too.

    Where there is no terminal to draw it on, a line is said after each validation, and every `LOG_SECONDS`. Of several
    processes the first alone has one.

    Args:
        training: what is shown.
        console: by default standard error.
        clock: seconds, for the lines of a log.
    """

    def __init__(
        self, training: Training, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.training, self.clock = training, clock
        self.is_visible = training.fabric.is_global_zero
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TaskProgressColumn())
        console = console or Console(stderr=True)
        self.bar = Progress(*columns, console=console, disable=not (self.is_visible and console.is_terminal))
        self.task = self.bar.add_task("", total=1.0)
        self.said = clock()

    def __enter__(self) -> Display:
        self.bar.start()
        self._show("training", False)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, was_validated: bool) -> None:
        """A step was made, and with it perhaps a validation."""
        self._show("training", was_validated)

    def validating(self, done: int, total: int) -> None:
        """So many of the images of the validation under way are done."""
        self._show(f"validating, image {done} of {total}", False)

    def _show(self, phase: str, is_due: bool) -> None:
        if not self.is_visible:
            return
        words, progress = self._words(phase), min(1.0, self.training.progress)
        self.bar.update(self.task, completed=progress, description=words)
        if not self.bar.console.is_terminal and (is_due or self.clock() - self.said >= LOG_SECONDS):
            self.said = self.clock()
            self.bar.console.print(f"{progress:.0%}  {words}", markup=False, highlight=False, soft_wrap=True)

    def _words(self, phase: str) -> str:
        training = self.training
        progress = training.progress
        title = "" if training.job.title == "training" else f"{training.job.title}: "
        parts = [f"{title}{phase}", f"step {training.step:,}{_of(training)}"]
        if _KNOWN <= progress < 1:
            parts.append(f"{duration(training.elapsed * (1 - progress) / progress)} left")
        loss, ged = training.log.latest("loss"), training.best_ged
        parts += [] if loss is None else [f"loss {loss:.1f}"]
        parts += [] if ged is None else [f"val GED {ged:.3f}"]
        return "  ".join(parts)


def _of(training: Training) -> str:
    """How many steps there will be: as many as were asked for, or as the time is enough for."""
    most, progress = training.config.max_steps, training.progress
    if training.config.max_minutes is None:
        return f" of {most:,}"
    if progress < _KNOWN:
        return ""
    expected = round(training.step / min(1.0, progress))
    return f" of about {min(expected, most) if most else expected:,}"


def duration(seconds: float) -> str:
    """Seconds for people, by minutes and seconds or hours and minutes."""
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
