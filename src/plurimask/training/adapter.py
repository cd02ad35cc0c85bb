"""A method as Lightning wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from plurimask.data.augmentation import Augmentation
from plurimask.errors import InputError
from plurimask.method import Loss, SegmentationMethod
from plurimask.prediction.seeds import generator_of
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.config import TrainingConfig


class Adapter(lightning.LightningModule):
    """A method as Lightning wants it. Optimisation is manual, so that a method may bring its own update."""

    def __init__(self, method: SegmentationMethod, data: TrainingData, config: TrainingConfig, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method, self.data, self.config, self.seed = method, data, config, seed
        self.augmentation = Augmentation(config.augmentation)
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = AveragedModel(method, multi_avg_fn=moving_average(config.ema_decay), use_buffers=True)
            self.average.requires_grad_(False)
        self.step = 0

    @property
    def evaluated(self) -> SegmentationMethod:
        """The method whose weights are validated and kept: the moving average where there is one."""
        evaluated = self.method if self.average is None else self.average.module
        assert isinstance(evaluated, SegmentationMethod)
        return evaluated

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if self.config.optimizer == "adamw" else torch.optim.Adam
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
            self._follow(self.average)
        return {"loss": loss.total.detach(), **loss.terms, "gradient_norm": norm.detach()}

    def _descend(self, total: Tensor) -> Tensor:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad()
        self.manual_backward(total)
        clipped = [p for group in optimizer.param_groups if group.get("clip", True) for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(clipped, self.config.gradient_clip)
        if not bool(torch.isfinite(norm)):
            raise self._diverged(f"the norm of the gradient became {float(norm)}")
        optimizer.step()
        return norm

    def _follow(self, average: AveragedModel) -> None:
        """Move the average of the weights; parameters of groups that want none are copied."""
        average.update_parameters(self.method)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        copied = {id(p) for group in optimizer.param_groups if not group.get("average", True) for p in group["params"]}
        for mean, value in zip(average.module.parameters(), self.method.parameters(), strict=True):
            if id(value) in copied:
                mean.data.copy_(value.detach())

    def _require_finite(self, loss: Loss) -> None:
        if not bool(torch.isfinite(loss.total)):
            broken = [name for name, value in loss.terms.items() if not bool(torch.isfinite(value))]
            raise self._diverged(f"{' and '.join(broken) or 'the loss'} became {float(loss.total)}")

    def _diverged(self, what: str) -> InputError:
        return InputError(
            f"{what} at step {self.step}: training stops, the last checkpoint is unharmed. Lower the learning rate, or "
            "look for images with extreme values"
        )


Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """How averaged tensors follow the current ones: an exponential moving average.

    It starts with a short memory, decay (1 + n) / (10 + n) after n steps, so that the first weights are soon forgotten.
    """

    def follow(averaged: Tensors, current: Tensors, num_averaged: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value.to(mean), share)
            else:
                mean.copy_(value)  # counters

    return follow
