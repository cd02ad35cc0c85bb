"""What a training leaves on disk, and when: schedule, validation, checkpoints, `metrics.csv`, progress, Ctrl-C."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from safetensors.torch import load_file, save
from torch import Tensor

from plurimask.errors import InputError
from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.files import replace_file
from plurimask.prediction.predict import Sampling
from plurimask.training.adapter import Adapter
from plurimask.training.batches import TrainingData
from plurimask.training.config import TrainingConfig
from plurimask.training.log import MetricsLog

CHECKPOINT_SECONDS = 30.0
VALIDATED = ("ged", "ged_unbiased", "hungarian_iou", "diversity", "dice", "iou", "ece", "nll", "reconstruction_iou")


@dataclass(frozen=True)
class TrainingJob:
    """One training: its seed, where it is kept, and whether it continues what is there."""

    folder: Path
    seed: int = 0
    resume: bool = False
    title: str = "training"
    """What is trained, for the progress bar."""

    @property
    def weights(self) -> Path:
        """The weights to use: best by validation GED, or the last where nothing was validated."""
        return self.folder / "weights.safetensors"

    @property
    def last(self) -> Path:
        """Everything needed to continue."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights with the best validation GED so far."""
        return self.folder / "checkpoints" / "best.safetensors"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"


class RunKeeper(lightning.Callback):
    """Follows the budget and keeps the run on disk; knows where it stands, `progress` from 0 to 1."""

    def __init__(self, adapter: Adapter, data: TrainingData, config: TrainingConfig, job: TrainingJob) -> None:
        self.adapter, self.data, self.config, self.job = adapter, data, config, job
        self.elapsed, self.validations, self.worse = 0.0, 0, 0  # seconds; counts
        self.best_ged: float | None = None
        self.stopped = self.stalled = self._interrupted = False
        self._optimizer_state: dict[str, Any] | None = None
        self.history = MetricsLog()
        self._clock = self._saved = time.monotonic()
        self._bar = _progress_bar()
        self._interrupt_handler: Callable[[], object] = lambda: None

    # ---- where the training stands --------------------------------------------------------------------------------

    def progress(self) -> float:
        """The share of the budget that is used: of steps or of time, whichever is further on."""
        by_steps = self.adapter.step / self.config.max_steps if self.config.max_steps else 0.0
        by_time = self.elapsed / 60 / self.config.max_minutes if self.config.max_minutes else 0.0
        return max(by_steps, by_time)

    def outcome(self) -> dict[str, Any]:
        """`steps`, `minutes`, `best_ged` and `stopped`."""
        minutes = round(self.elapsed / 60, 2)
        return {"steps": self.adapter.step, "minutes": minutes, "best_ged": self.best_ged, "stopped": self.stopped}

    # ---- Lightning's hooks ----------------------------------------------------------------------------------------

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._optimizer_state is not None:
            self._optimizer().load_state_dict(self._optimizer_state)
        self._interrupt_handler = _handle_interrupt(self._on_interrupt)
        self._clock = self._saved = time.monotonic()
        if trainer.is_global_zero:
            self._bar.start()
            self._task = self._bar.add_task(self._status(), total=1.0)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.elapsed = trainer.strategy.broadcast(self.elapsed)  # all processes follow the first one's clock
        factor = self.config.learning_rate_factor(self.progress(), self.adapter.step)
        for group in self._optimizer().param_groups:
            group["lr"] = group["peak_lr"] * factor

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.adapter.step += 1
        self._tick()
        self.stopped = bool(trainer.strategy.broadcast(self._interrupted))
        self.elapsed = trainer.strategy.broadcast(self.elapsed)
        self.history.add_step(self._where(), outputs)
        progress = self.progress()
        due = not self.stopped and progress >= min(1.0, (self.validations + 1) / self.config.num_validations)
        if due:
            self._validate(trainer)
        if due or self.stopped or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.save(trainer)
        if trainer.is_global_zero:
            self._show(min(1.0, progress), due)
        if self.stopped or self.stalled or progress >= 1:
            trainer.should_stop = True

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.strategy.barrier()  # what the first process wrote is there for all
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    # ---- validation -----------------------------------------------------------------------------------------------

    def _validate(self, trainer: lightning.Trainer) -> None:
        """GED on the validation images; the weights are kept where it is the best so far."""
        self.validations += 1
        while self.validations < self.config.num_validations and self.progress() >= (self.validations + 1) / (
            self.config.num_validations
        ):
            self.validations += 1  # the budget ran past several at once
        method = self.adapter.evaluated
        if self.data.val is None:
            self._keep_best(trainer)
            return
        view = validation_view(self.data, self.config)
        view = replace(view, indices=view.indices[trainer.global_rank :: trainer.world_size])
        was_training = method.training
        totals = evaluate(method.eval(), view, Sampling(self.config.validation_samples)).totals
        method.train(was_training)
        self._tick()
        self.elapsed = trainer.strategy.broadcast(self.elapsed)
        self.history.add_row(self._where(), {f"val_{name}": totals[name] for name in VALIDATED})
        ged = totals["ged"]
        if isinstance(ged, float) and (self.best_ged is None or ged < self.best_ged):
            self.best_ged, self.worse = ged, 0
            self._keep_best(trainer)
        else:
            self.worse += 1
        self.stalled = self._has_stalled()

    def _has_stalled(self) -> bool:
        return self.config.early_stopping is not None and self.worse >= self.config.early_stopping

    def _keep_best(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            content = save(weights_of(self.adapter.evaluated))
            replace_file(self.job.best, content)
            replace_file(self.job.weights, content)

    def take_best(self) -> None:
        """Give the evaluated method the weights that were best, where any were kept."""
        if self.job.best.exists():
            self.adapter.evaluated.load_state_dict(load_file(self.job.best))

    def keep_weights(self) -> None:
        """Write the weights of the evaluated method as the run's."""
        if self.adapter.global_rank == 0:
            replace_file(self.job.weights, save(weights_of(self.adapter.evaluated)))

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def save(self, trainer: lightning.Trainer) -> None:
        """Write the checkpoint and the metrics so far."""
        self._saved = time.monotonic()
        if not trainer.is_global_zero:
            return
        average = self.adapter.average
        state = {
            "method": self.adapter.method.state_dict(),
            "average": None if average is None else average.state_dict(),
            "optimizer": self._optimizer().state_dict(),
            "step": self.adapter.step,
            "elapsed": self.elapsed,
            "validations": self.validations,
            "worse": self.worse,
            "best_ged": self.best_ged,
            "log": self.history.pending,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.history.write(self.job.metrics)
        replace_file(self.job.last, buffer.getvalue())

    def restore(self) -> None:
        """Continue from the checkpoint, if that is wanted and there is one."""
        if not self.job.resume or not self.job.last.exists():
            return
        try:
            state = torch.load(self.job.last, map_location="cpu", weights_only=True)
            self.adapter.method.load_state_dict(state["method"])
            if self.adapter.average is not None:
                self.adapter.average.load_state_dict(state["average"])
            self._optimizer_state = state["optimizer"]
            self.adapter.step, self.elapsed, self.best_ged = state["step"], state["elapsed"], state["best_ged"]
            self.validations, self.worse, pending = state["validations"], state["worse"], state["log"]
        except Exception as error:
            raise InputError(
                f"{self.job.last} cannot be continued from ({type(error).__name__}: {str(error).splitlines()[0]}): "
                "start again with --overwrite"
            ) from error
        due = int(self.progress() * self.config.num_validations)
        if due < self.validations:  # the budget has grown since
            self.validations, self.worse = due, 0
        self.stalled = self._has_stalled()
        self.history.restore(self.job.metrics, self.adapter.step, pending)

    # ---- small things ---------------------------------------------------------------------------------------------

    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.adapter.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def _tick(self) -> None:
        now = time.monotonic()
        self.elapsed, self._clock = self.elapsed + now - self._clock, now

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _close(self) -> None:
        self._bar.stop()
        self._interrupt_handler()

    def _show(self, progress: float, validated: bool) -> None:
        """Move the bar; where there is no terminal to draw it on, say a line after each validation."""
        self._bar.update(self._task, completed=progress, description=self._status())
        if validated and not self._bar.console.is_terminal:
            self._bar.console.print(f"{progress:.0%}  {self._status()}")

    def _status(self) -> str:
        loss, ged = self.history.latest("loss"), self.best_ged
        so_far = "" if loss is None else f"  loss {loss:.1f}"
        return f"{self.job.title}  step {self.adapter.step}{so_far}" + (
            "" if ged is None else f"  best val GED {ged:.3f}"
        )

    def _where(self) -> dict[str, float]:
        learning_rate = float(self._optimizer().param_groups[0]["lr"])
        return {"step": self.adapter.step, "minutes": round(self.elapsed / 60, 4), "learning_rate": learning_rate}


def validation_view(data: TrainingData, config: TrainingConfig) -> ExampleView:
    """The validation images that are looked at each time, evenly spread over all of them."""
    assert data.val is not None
    count = min(len(data.val), config.validation_images)
    chosen = [number * len(data.val) // count for number in range(count)]
    return ExampleView(data.val, chosen, data.preprocessing, data.counted_classes)


def weights_of(method: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}


def _handle_interrupt(handler: Any) -> Any:
    """Let `handler` see Ctrl-C; returns what puts the old handler back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    previous = signal.signal(signal.SIGINT, handler)
    return lambda: signal.signal(signal.SIGINT, previous)


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
