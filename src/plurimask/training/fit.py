"""Training a method, under Lightning.

Everything that decides a step (its images, crops, raters, augmentation and latent draws) is a function of the seed and
the step's number, so a run that was killed continues as if nothing had happened.
"""

from __future__ import annotations

import logging
import warnings
from functools import partial
from itertools import islice
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from plurimask.errors import InputError
from plurimask.method import SegmentationMethod
from plurimask.prediction.device import channels_last, has_fast_bf16
from plurimask.training.adapter import Adapter
from plurimask.training.batches import TrainingData
from plurimask.training.config import ONE_DEVICE, Hardware, TrainingConfig
from plurimask.training.keeper import RunKeeper, TrainingJob
from plurimask.training.members import fit_parts

NUM_FINISH_BATCHES = 100


def fit(
    method: SegmentationMethod,
    data: TrainingData,
    config: TrainingConfig,
    job: TrainingJob,
    hardware: Hardware = ONE_DEVICE,
) -> dict[str, Any]:
    """Train `method` in place until its budget is used, or continue from its checkpoint if the job says so.

    Leaves the kept weights (best by validation GED, else the last), `metrics.csv` and checkpoints in the job's folder.
    A method of several parts (the members of an ensemble) has them trained one after the other, each with its own seed
    and an equal share of the budget, in folders of their own.

    Returns:
        `steps`, `minutes`, `best_ged` (None without validation images) and `stopped` (whether Ctrl-C ended it early).

    Raises:
        InputError: if there is no budget, a term of the loss is not finite, or a file cannot be written.
    """
    if config.max_steps is None and config.max_minutes is None:
        raise InputError("training needs an end: give max_steps or max_minutes")
    quiet_lightning()
    if len(method.parts()) > 1:
        return fit_parts(method, data, config, job, partial(_fit, hardware=hardware))
    return _fit(method, data, config, job, hardware)


def _fit(
    method: SegmentationMethod, data: TrainingData, config: TrainingConfig, job: TrainingJob, hardware: Hardware
) -> dict[str, Any]:
    adapter = Adapter(channels_last(method), data, config, job.seed)
    keeper = RunKeeper(adapter, data, config, job)
    trainer = _trainer(hardware, [keeper])
    keeper.restore()
    method.train()
    if keeper.progress() < 1 and not keeper.stalled:
        trainer.fit(adapter)
    if not keeper.stopped:
        keeper.take_best()
        images = (images.to(adapter.device) for images, _ in adapter.batches())
        adapter.evaluated.finish(islice(images, NUM_FINISH_BATCHES))
        keeper.keep_weights()
    method.load_state_dict(adapter.evaluated.state_dict())
    method.eval()
    return keeper.outcome()


def check_hardware(hardware: Hardware) -> None:
    """Raise `InputError` if the machine has no such devices, before anything is written."""
    quiet_lightning()
    _trainer(hardware, [])


def _trainer(hardware: Hardware, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    on_gpu = hardware.accelerator != "cpu" and torch.cuda.is_available()
    try:
        return lightning.Trainer(
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
            callbacks=callbacks,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"accelerator {hardware.accelerator!r} with {hardware.devices} devices cannot be used here ({reason}): "
            "leave it out, or name what the machine has"
        ) from error


def quiet_lightning() -> None:
    """Silence the parts of Lightning's chatter that do not concern the user of a run."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*isn't a.*checkpoint.*",
        ".*no `validation_step`.*",
        ".*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
