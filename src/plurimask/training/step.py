"""One step of a training: the method's own update, or the gradient of its loss and the optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from plurimask.data.augmentation import Augmentation
from plurimask.errors import InputError
from plurimask.method import Loss, SegmentationMethod, TrainingStep
from plurimask.prediction.device import fast_precision, images_in_layout
from plurimask.training.checkpoint import Training
from plurimask.training.config import TrainingConfig


def augmented(
    training: Training, augmentation: Augmentation, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images and labels of a step on the device, changed at random, in the training's memory layout."""
    images, labels = augmentation(*training.fabric.to_device(batch), generator)
    return images_in_layout(images, training.config.layout), labels


def learn(
    training: Training, objective: nn.Module, images: Tensor, labels: Tensor, step: TrainingStep
) -> tuple[Loss, Tensor]:
    """One step: the method's own update, or the gradient of its loss and the optimiser. Returns loss and norm.

    Raises:
        InputError: a term of the loss is not finite, or normalisation has a single value to normalise.
    """
    with _normalising(images), fast_precision(images.device):
        own = training.method.update(images, labels, step)
    if own is not None:
        if training.fabric.world_size > 1:
            raise InputError("a method with updates of its own learns in one process: leave out devices and nodes")
        _require_finite(own.total, own.terms, step)
        return own, torch.zeros(())
    with _normalising(images):
        loss: Loss = objective(images, labels, step.generator)
    _require_finite(loss.total, loss.terms, step)
    optimizer = training.optimizer
    optimizer.zero_grad()
    training.fabric.backward(loss.total)  # leaves the mean over all processes
    clipped = [p for group in optimizer.param_groups if group.get("clip", True) for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(clipped, training.config.gradient_clip).detach()
    _require_finite(norm, {"the norm of the gradient": norm}, step)
    optimizer.step()
    return loss, norm


class Objective(nn.Module):
    """The loss of a method as a forward pass, where several processes exchange their gradients."""

    def __init__(self, method: SegmentationMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Loss:
        with fast_precision(images.device):
            return self.method.loss(images, labels, generator)


def optimizer_of(method: SegmentationMethod, config: TrainingConfig) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    groups = method.parameter_groups(config.learning_rate)
    groups = [{"lr": config.learning_rate, **group} for group in groups]
    groups = [{**group, "peak_lr": group["lr"]} for group in groups]
    return kind(groups, weight_decay=config.weight_decay, fused=True)  # one pass over the weights in place of ten


@contextmanager
def _normalising(images: Tensor) -> Iterator[None]:
    """Turns the error of a normalisation that has one value into one that says what to change."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 "):  # torch's words, for all kinds of normalisation
            raise
        size = "x".join(map(str, (len(images), *images.shape[2:])))
        order = "height x width" if images.ndim == 4 else "depth x height x width"
        raise InputError(
            f"normalisation needs several values of each channel, and a step of {size} (images x {order}) has "
            "one at the coarsest scale: set a larger --batch-size or --crop (--center-crop, --resize), fewer "
            "--channels, or --normalisation none"
        ) from error


def _require_finite(total: Tensor, terms: Mapping[str, Tensor], step: TrainingStep) -> None:
    if not bool(torch.isfinite(total)):
        broken = [name for name, value in terms.items() if not bool(torch.isfinite(value))]
        raise InputError(
            f"{' and '.join(broken) or 'the loss'} became {float(total.detach())} at step {step.index}: training "
            "stops, the last checkpoint is unharmed. Lower the learning rate, or look for images with extreme values"
        )
