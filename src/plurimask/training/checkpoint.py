"""A training under way, and what of it is kept on disk."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from plurimask.errors import InputError, reason_of, shown
from plurimask.files.reading import load_tensors
from plurimask.files.writing import replace_file
from plurimask.method import SegmentationMethod
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.config import TrainingConfig
from plurimask.training.keeping import Keeping
from plurimask.training.log import MetricsLog
from plurimask.training.weights import DIVERGED, flattened, load_weights, packed, require_finite

if TYPE_CHECKING:
    from lightning import Fabric


class Writer(Protocol):
    """Who keeps the folder of a training."""

    def here(self, path: Path) -> Path:
        """Where a file or folder of the training lies now."""

    def checkpointed(self) -> None:
        """Is told that a checkpoint stands."""


@dataclass(frozen=True)
class TrainingJob:
    """One training: its seed, where it is kept, and whether it continues what is there."""

    folder: Path
    seed: int = 0
    resume: bool = False
    title: str = "training"
    """What is trained, for the progress bar."""
    spent: float = 0.0
    """Seconds of `max_minutes` that are used before the first step."""
    identity: str | None = None
    """Of the run: weights and checkpoints carry it."""
    writer: Writer | None = None
    """None where nobody else looks at the folder."""

    @property
    def now(self) -> Path:
        """Where the folder lies now: a run that is to replace another is built beside it."""
        return self.folder if self.writer is None else self.writer.here(self.folder)

    @property
    def weights(self) -> Path:
        """The weights to use: those kept by validation GED, or the last where nothing was validated."""
        return self.now / "weights.safetensors"

    @property
    def last(self) -> Path:
        """Everything needed to continue."""
        return self.now / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights kept so far (`plurimask.training.keeping`)."""
        return self.now / "checkpoints" / "best.safetensors"

    @property
    def metrics(self) -> Path:
        return self.now / "metrics.csv"


@dataclass
class Training:
    """A training under way: what it was given, and what changes, which is what a checkpoint holds."""

    data: TrainingData
    config: TrainingConfig
    job: TrainingJob
    fabric: Fabric

    method: SegmentationMethod
    optimizer: torch.optim.Optimizer
    average: SegmentationMethod | None
    """The method with the moving average of the weights, where there is one."""
    log: MetricsLog = field(default_factory=MetricsLog)
    step: int = 0
    """Steps made so far."""
    elapsed: float = 0.0
    """Seconds, validations included."""
    validations: int = 0
    put_off: bool = False
    """Whether a signal came before a validation that is due: it is made before the next step."""
    worse: int = 0
    """Validations since the lowest GED."""
    best_ged: float | None = None
    """Of the kept weights."""
    lowest_ged: float | None = None
    keeping: Keeping = field(default_factory=Keeping)

    @property
    def evaluated(self) -> SegmentationMethod:
        """The method whose weights are validated and kept."""
        return self.method if self.average is None else self.average

    @property
    def progress(self) -> float:
        """The share of the budget that is used: of steps or of minutes, whichever is further on."""
        by_steps = self.step / self.config.max_steps if self.config.max_steps else 0.0
        by_time = self.elapsed / 60 / self.config.max_minutes if self.config.max_minutes else 0.0
        return max(by_steps, by_time)

    @property
    def has_stalled(self) -> bool:
        """Whether so many validations were no better that training ends early."""
        return self.config.early_stopping is not None and self.worse >= self.config.early_stopping

    def batches(self) -> TrainingBatches:
        """The stream of batches of this process, from the current step on."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return TrainingBatches(self.data, self.config, self.job.seed, self.step, rank, world)

    @property
    def where(self) -> dict[str, float]:
        """The columns of every row of `metrics.csv`."""
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        return {"step": self.step, "minutes": round(self.elapsed / 60, 4), "learning_rate": learning_rate}

    def is_kept(self, ged: float | None, geds: Sequence[float]) -> bool:
        """Whether the weights of a validation just made, with these GEDs of its images, are kept; counts those since
        the lowest GED. All processes answer alike. Where the method makes its weights at the end none are."""
        if ged is None or not math.isfinite(ged):
            self.worse += 1
            return False
        is_lowest = self.lowest_ged is None or ged < self.lowest_ged
        self.lowest_ged, self.worse = (ged, 0) if is_lowest else (self.lowest_ged, self.worse + 1)
        if self.method.made_at_end:
            return False
        if self.best_ged is not None and not self.keeping.geds:  # continued from a checkpoint that has only a number
            is_kept = ged < self.best_ged
            if is_kept:
                self.keeping.decide(geds, self.progress)
        else:
            is_kept = self.keeping.decide(geds, self.progress)
        is_kept = bool(self.fabric.broadcast(is_kept))
        if is_kept:
            self.best_ged = ged
        return is_kept

    def save(self) -> None:
        """Write the checkpoint and the metrics so far."""
        state = {
            "method": self.method.state_dict(),
            "own": self.method.training_state(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "log": self.log.pending,
            "keeping": self.keeping.state(),
            "run": self.job.identity,
            **{name: getattr(self, name) for name in _COUNTED},
        }
        require_finite(self.method.state_dict(), "the training", DIVERGED)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.log.write(self.job.metrics)
        replace_file(self.job.last, buffer.getvalue())
        if self.job.writer is not None:
            self.job.writer.checkpointed()

    def restore(self) -> None:
        """Continue from the checkpoint, if that is wanted and there is one; `InputError` if it cannot be used."""
        if not self.job.resume or not self.job.last.exists():
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of what no checkpoint holds, ahead of the refusal
                self._restore(load_tensors(self.job.last))
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{self.job.last} cannot be continued from ({reason_of(error)}): {_AGAIN}") from error
        due = self.config.validations_until(self.progress)
        self.put_off = self.put_off and due > self.validations  # not where the budget has grown since
        if due < self.validations:  # the budget has grown since
            self.validations, self.worse = due, 0
            self.keeping.progress = min(self.keeping.progress, self.progress)

    def _restore(self, state: Any) -> None:
        """Raises whatever a checkpoint that is none makes torch raise."""
        if state.get("run") != self.job.identity:
            raise ValueError("it is of another run than the record beside it")
        require_finite(flattened(state), str(self.job.last), _AGAIN)
        self.method.load_state_dict(state["method"])
        if "own" in state:  # version 0.1 had none
            self.method.load_training_state(state["own"])
        if self.average is not None:
            state["average"].pop("n_averaged", None)  # version 0.1 wrote the average in a wrapping
            consume_prefix_in_state_dict_if_present(state["average"], "module.")
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            if any(value.numel() != 1 and value.shape != parameter.shape for value in flattened(kept).values()):
                raise ValueError("what the optimiser kept is of other weights")
        counted = {"put_off": False, "lowest_ged": state["best_ged"], **state}  # version 0.1 kept the lowest
        for name, kinds in _COUNTED.items():
            if not isinstance(counted[name], kinds) or not 0 <= (counted[name] or 0) < math.inf:
                raise ValueError(f"{name} is {shown(counted[name])}")
            setattr(self, name, counted[name])
        if "keeping" in state:
            self.keeping.restore(state["keeping"])
        self.log.restore(self.job.metrics, self.step, state["log"])

    def keep_best(self) -> None:
        """Write the evaluated weights as the best so far."""
        replace_file(self.job.best, packed(self.evaluated, self.job.identity))
        replace_file(self.job.weights, packed(self.evaluated, self.job.identity))

    def take_best(self) -> None:
        """Give the evaluated method the weights that were best, where any were kept."""
        if self.job.best.exists():
            load_weights(self.evaluated, self.job.best, self.job.identity, _AGAIN)


_COUNTED: dict[str, tuple[type, ...]] = {
    "step": (int,),
    "elapsed": (int, float),
    "validations": (int,),
    "worse": (int,),
    "best_ged": (float, NoneType),
    "lowest_ged": (float, NoneType),
    "put_off": (bool,),
}
_AGAIN = "start again with --overwrite"
