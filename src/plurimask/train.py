"""Training a method: one thin adapter to Lightning, and a callback that keeps the run on disk.

Everything that decides a step (its images, crops, raters, augmentation and latent draws) is a function of the seed and
the step's number, so a run that was killed continues as if nothing had happened.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from plurimask.data.augmentation import Augmentation
from plurimask.data.example import ExampleSet
from plurimask.data.preprocessing import Preprocessing, draw_raters, random_crop, stack_padded
from plurimask.errors import InputError
from plurimask.inference import generator_of, has_fast_bf16
from plurimask.keeper import RunKeeper, TrainingPaths
from plurimask.method import Loss, SegmentationMethod
from plurimask.settings import TrainingConfig

NUM_FINISH_BATCHES = 100


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is validated on."""

    train: ExampleSet
    val: ExampleSet | None
    preprocessing: Preprocessing
    counted_classes: tuple[int, ...]


@dataclass(frozen=True)
class Hardware:
    """Devices per machine and number of machines; `accelerator` as Lightning names them."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1


class TrainingBatches(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of batches `(images (B, K, H, W), labels (B, R, H, W))`, each made from its step's number.

    Args:
        data, config, seed: what the batches are made of.
        start: the number of the first step.
        rank, world: this process and how many there are; each step's images are shared out among them.
    """

    def __init__(self, data: TrainingData, config: TrainingConfig, seed: int, start: int, rank: int, world: int) -> None:
        self.data, self.config, self.seed = data, config, seed
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        step = self.start + (worker.id if worker else 0)
        while True:
            yield self.batch(step)
            step += worker.num_workers if worker else 1

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one step and of this process."""
        generator = generator_of("batch", self.seed, step, self.rank)
        config, examples = self.config, []
        for index in self._indices(step):
            example = self.data.preprocessing.example(self.data.train[index])
            if config.crop is not None:
                example = random_crop(example, config.crop, generator)
            raters = min(config.raters_per_step, len(example.labels))
            examples.append(replace(example, labels=draw_raters(example.labels, raters, generator)))
        return stack_padded(examples)

    def _indices(self, step: int) -> list[int]:
        """Each epoch is a permutation of the examples; the processes take turns within it."""
        count, size = len(self.data.train), self.config.batch_size
        first = (step * self.world + self.rank) * size
        return [int(self._order(place // count)[place % count]) for place in range(first, first + size)]

    @lru_cache(maxsize=4)  # noqa: B019  (a handful of these objects live in a process)
    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.data.train), generator=generator_of("epoch", self.seed, epoch))


class Adapter(lightning.LightningModule):
    """A method as Lightning wants it. Optimisation is manual, so that a method may bring its own update."""

    def __init__(self, method: SegmentationMethod, data: TrainingData, config: TrainingConfig, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method, self.data, self.config, self.seed = method, data, config, seed
        self.augmentation = Augmentation(config.augmentation)
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = AveragedModel(method, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
            self.average.requires_grad_(False)
        self.step = 0

    @property
    def evaluated(self) -> SegmentationMethod:
        """The method whose weights are validated and kept: the moving average where there is one."""
        evaluated = self.method if self.average is None else self.average.module
        assert isinstance(evaluated, SegmentationMethod)
        return evaluated

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.config.optimizer]
        groups = self.method.parameter_groups(self.config.learning_rate)
        optimizer = kind(groups, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        return optimizer

    def batches(self) -> TrainingBatches:
        """The stream of batches of this process, from the current step on."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self._trainer is not None else (0, 1)
        return TrainingBatches(self.data, self.config, self.seed, self.step, rank, world)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        workers = self.config.num_workers
        return DataLoader(self.batches(), batch_size=None, num_workers=workers)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        generator = generator_of("step", self.seed, self.step, self.global_rank)
        images, labels = self.augmentation(*batch, generator)
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        loss = self.method.update(images, labels)
        norm = torch.zeros(())
        if loss is None:
            loss = self.method.loss(images, labels, generator)
            self._require_finite(loss)
            norm = self._descend(loss.total)
        else:
            self._require_finite(loss)
        self.method.after_step()
        if self.average is not None:
            self.average.update_parameters(self.method)
        return {"loss": loss.total.detach(), **loss.terms, "gradient_norm": norm.detach()}

    def _descend(self, total: Tensor) -> Tensor:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(total)
        clipped = [p for group in optimizer.param_groups if group.get("clip", True) for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(clipped, self.config.gradient_clip)
        optimizer.step()
        return norm

    def _require_finite(self, loss: Loss) -> None:
        if not bool(torch.isfinite(loss.total)):
            broken = [name for name, value in loss.terms.items() if not bool(torch.isfinite(value))]
            raise InputError(
                f"the loss became {float(loss.total)} at step {self.step} ({', '.join(broken) or 'its total'}): training "
                "stops; the last checkpoint is unharmed. Lower --learning-rate or --gradient-clip, or look at the data"
            )


def fit(
    method: SegmentationMethod,
    data: TrainingData,
    config: TrainingConfig,
    paths: TrainingPaths,
    seed: int = 0,
    hardware: Hardware = Hardware(),  # noqa: B008  (immutable)
) -> dict[str, Any]:
    """Train `method` in place until its budget is used, or continue from the checkpoint in `paths` if there is one.

    Leaves the kept weights (best by validation GED, else the last), `metrics.csv` and checkpoints under `paths`.

    Returns:
        `steps`, `minutes`, `best_ged` (None without validation images) and `stopped` (whether Ctrl-C ended it early).

    Raises:
        InputError: if there is no budget, a term of the loss is not finite, or a file cannot be written.
    """
    if config.max_steps is None and config.max_minutes is None:
        raise InputError("training needs an end: give max_steps or max_minutes")
    quiet_lightning()
    adapter = Adapter(method.to(memory_format=torch.channels_last), data, config, seed)
    keeper = RunKeeper(adapter, data, config, paths)
    on_gpu = hardware.accelerator != "cpu" and torch.cuda.is_available()
    trainer = lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        precision="bf16-mixed" if has_fast_bf16(torch.device("cuda" if on_gpu else "cpu")) else "32-true",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        callbacks=[keeper],
    )
    keeper.restore()
    method.train()
    if keeper.progress() < 1:
        trainer.fit(adapter)
    if not keeper.stopped:
        keeper.take_best()
        images = (images.to(adapter.device) for images, _ in adapter.batches())
        adapter.evaluated.finish(islice(images, NUM_FINISH_BATCHES))
        keeper.keep_weights()
    method.load_state_dict(adapter.evaluated.state_dict())
    method.eval()
    return keeper.outcome()


def quiet_lightning() -> None:
    """Silence the parts of Lightning's chatter that do not concern the user of a run."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*isn't a.*checkpoint.*", ".*no `validation_step`.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", message=message)
