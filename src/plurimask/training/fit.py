"""Training a method: the loop, from top to bottom.

Everything that decides a step (its images, crops, raters, augmentation and latent draws) is a function of the seed and
the step's number, so a run that was killed continues as if nothing had happened.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from plurimask.data.augmentation import Augmentation
from plurimask.errors import InputError
from plurimask.files.writing import replace_file
from plurimask.method import SegmentationMethod, TrainingStep
from plurimask.prediction.device import fast_precision, in_layout
from plurimask.prediction.seeds import generator_of
from plurimask.training.batches import TrainingData
from plurimask.training.checkpoint import Training, TrainingJob
from plurimask.training.config import ONE_DEVICE, Hardware, TrainingConfig
from plurimask.training.devices import open_fabric
from plurimask.training.members import fit_parts, shared_budget
from plurimask.training.progress import Display
from plurimask.training.signals import shield, stopping
from plurimask.training.step import Objective, augmented, learn, optimizer_of
from plurimask.training.validation import validate
from plurimask.training.weights import packed

if TYPE_CHECKING:
    from lightning import Fabric

CHECKPOINT_SECONDS = 30.0
NUM_FINISH_BATCHES = 100


def fit(
    method: SegmentationMethod,
    data: TrainingData,
    config: TrainingConfig,
    job: TrainingJob,
    hardware: Hardware = ONE_DEVICE,
) -> dict[str, Any]:
    """Train `method` in place until its budget is used, or continue from its checkpoint if the job says so.

    Leaves the kept weights (`plurimask.training.keeping`; without validation images the last), `metrics.csv` and
    checkpoints in the job's folder.
    A method of several parts (the members of an ensemble) has them trained one after the other, each with its own seed
    and an equal share of the budget, in folders of their own.

    Returns:
        `steps`, `minutes`, `best_ged` (of the kept weights; None without validation images) and `stopped` (whether
        a signal ended it early, see `plurimask.training.signals`: all is saved to be continued).

    Raises:
        InputError: if there is no budget, a term of the loss is not finite, or a file cannot be written.
    """
    check_config(method, config)
    fabric = open_fabric(hardware)
    fabric.launch()  # with several devices, the other processes start here and run the same command up to here
    if fabric.world_size > 1 and any(part.made_at_end for part in method.parts()):
        raise InputError(
            "a method that makes its weights at the end learns in one process: leave out devices and nodes"
        )
    if len(method.parts()) > 1:
        return fit_parts(method, data, config, job, partial(_fit, fabric=fabric), fabric.is_global_zero)
    return _fit(method, data, config, job, fabric)


def check_config(method: SegmentationMethod, config: TrainingConfig) -> None:
    """Raise `InputError` if a training has no end, fewer steps than parts to train, or an average of weights that the
    method would not use."""
    if config.max_steps is None and config.max_minutes is None:
        raise InputError("training needs an end: give max_steps or max_minutes")
    shared_budget(config, len(method.parts()), 0)
    if config.ema_decay is not None and any(part.made_at_end for part in method.parts()):
        raise InputError("the method makes its weights at the end, of its own averages: give --ema-decay None")


def _fit(
    method: SegmentationMethod, data: TrainingData, config: TrainingConfig, job: TrainingJob, fabric: Fabric
) -> dict[str, Any]:
    method = in_layout(method, config.layout).to(fabric.device).train()
    num_images, in_step = len(data.train), config.batch_size * fabric.world_size
    method.begin(num_images, math.ceil(num_images / in_step))
    average = copy.deepcopy(method).requires_grad_(False) if config.ema_decay else None
    training = Training(data, config, job, fabric, method, optimizer_of(method, config), average, elapsed=job.spent)
    training.restore()
    stopped = False
    if training.put_off or (training.progress < 1 and not training.has_stalled):
        stopped = _run(training)
    evaluated = training.evaluated
    if not stopped:
        _finish(training, evaluated)
    method.load_state_dict(evaluated.state_dict())
    method.eval()
    minutes = round(training.elapsed / 60, 2)
    return {"steps": training.step, "minutes": minutes, "best_ged": training.best_ged, "stopped": stopped}


def _finish(training: Training, evaluated: SegmentationMethod) -> None:
    """Write the weights to use."""
    training.take_best()
    batches = (training.fabric.to_device(batch) for batch in training.batches())
    with fast_precision(training.fabric.device):
        evaluated.finish(islice(batches, NUM_FINISH_BATCHES))
    if not training.fabric.is_global_zero:
        return
    replace_file(training.job.weights, packed(evaluated, training.job.identity))
    if evaluated.made_at_end and training.data.val is not None:
        judged = validate(evaluated, training.data, training.config)
        training.best_ged = judged.figures["val_ged"]
        training.log.rows = [row for row in training.log.rows if not row.get("val_kept")]  # of weights made earlier
        training.log.add_row(training.where, {**judged.figures, "val_kept": 1})
        training.log.write(training.job.metrics)


def _run(training: Training) -> bool:
    """Train until the budget is used. Returns whether a signal came before."""
    data, config, fabric = training.data, training.config, training.fabric
    objective = fabric.setup_module(Objective(training.method))
    augmentation = Augmentation(config.augmentation)
    saved = time.monotonic()
    start = saved - training.elapsed
    with stopping() as has_signal, Display(training) as display:
        stream = training.batches()
        batches = iter(DataLoader(stream, batch_size=None, num_workers=config.num_workers, worker_init_fn=shield))
        while True:
            terms = {} if training.put_off else _step(training, objective, augmentation, batches)
            now = (time.monotonic() - start, has_signal())
            training.elapsed, stopped = fabric.broadcast(now)  # all processes follow the first one
            if terms:
                training.log.add_step(training.where, terms)

            due = config.validations_until(training.progress)
            is_due = due > training.validations
            training.put_off = is_due and stopped
            if is_due and not stopped:
                try:
                    is_kept = data.val is None or _validate(training, start, display, has_signal)
                    training.validations = due
                    if is_kept and fabric.is_global_zero:
                        training.keep_best()
                except _PutOff:
                    training.put_off = stopped = True
            if is_due or stopped or time.monotonic() - saved > CHECKPOINT_SECONDS:
                saved = time.monotonic()
                if fabric.is_global_zero:
                    training.save()
            display.step(is_due and not stopped)
            if stopped or training.progress >= 1 or training.has_stalled:
                fabric.barrier()  # what the first process wrote is there for all
                return stopped


def _step(
    training: Training, objective: nn.Module, augmentation: Augmentation, batches: Iterator[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """One step, counted. Returns the terms of its loss."""
    generator = generator_of("step", training.job.seed, training.step, training.fabric.global_rank)
    step = TrainingStep(training.step, training.progress, generator)
    factor = training.config.learning_rate_factor(step.progress, step.index)
    for group in training.optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor

    images, labels = augmented(training, augmentation, next(batches), generator)
    loss, norm = learn(training, objective, images, labels, step)
    training.method.after_step(step)
    if training.average is not None:
        _follow(training, training.average)

    training.step += 1
    return {"loss": loss.total.detach(), **loss.terms, "gradient_norm": norm}


class _PutOff(Exception):
    """A signal came in a validation, which is made first when the training is continued."""


def _validate(training: Training, start: float, display: Display, has_signal: Callable[[], bool]) -> bool:
    """Validate, and log it. Returns whether the weights are kept."""
    fabric = training.fabric

    def on_image(done: int, total: int) -> None:
        display.validating(done, total)
        if fabric.world_size == 1 and has_signal():  # several processes must end together
            raise _PutOff

    share = fabric.global_rank, fabric.world_size
    judged = validate(training.evaluated, training.data, training.config, share, on_image)
    before, training.elapsed = training.elapsed, fabric.broadcast(time.monotonic() - start)
    took = round(training.elapsed - before, 3)
    is_kept = training.is_kept(judged.figures["val_ged"], judged.judged)
    training.log.add_row(training.where, {**judged.figures, "val_kept": int(is_kept), "val_seconds": took})
    return is_kept


@torch.no_grad()
def _follow(training: Training, average: SegmentationMethod) -> None:
    """Move the average towards the current weights and buffers; what wants no average, and counters, are copied."""
    groups, share = training.optimizer.param_groups, training.config.ema_share(training.step)
    copied = {id(p) for group in groups if not group.get("average", True) for p in group["params"]}
    for mean, value in zip(_tensors(average), _tensors(training.method), strict=True):
        if mean.is_floating_point() and id(value) not in copied:
            mean.lerp_(value, share)
        else:
            mean.copy_(value)


def _tensors(method: nn.Module) -> Iterator[Tensor]:
    return chain(method.parameters(), method.buffers())
