"""The devices that a training runs on, through Lightning's Fabric, and which of several processes this one is."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from plurimask.errors import InputError
from plurimask.training.config import Hardware


@contextmanager
def _sound_ranks() -> Iterator[None]:
    """Lightning, when it is imported, dies of ranks in the environment that are no numbers, whomever they are for."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    hidden = {name: os.environ.pop(name) for name in names if not os.environ.get(name, "0").isdecimal()}
    try:
        yield
    finally:
        os.environ.update(hidden)


with _sound_ranks():
    from lightning import Fabric
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.utilities.exceptions import MisconfigurationException


def is_first_process(hardware: Hardware) -> bool:
    """Whether this process, of all that train one run, is the one that writes and speaks; known before any starts.

    Fabric says it, as the launcher has it that it uses. On one device this process is the only one, whatever a
    scheduler or another training left in the environment.

    Raises:
        InputError: the machine has no such devices.
    """
    return open_fabric(hardware).is_global_zero


def open_fabric(hardware: Hardware) -> Fabric:
    """Fabric on these devices, all in float32: the precision of a method is `plurimask.prediction.device`'s business.

    Raises:
        InputError: the machine has no such devices, or the launcher's variables in the environment make no sense.
    """
    for name in ("lightning.fabric", "lightning.pytorch.utilities.rank_zero"):  # chatter that concerns no user of a run
        logging.getLogger(name).setLevel(logging.ERROR)
    alone = hardware.devices * hardware.nodes == 1  # no business of a scheduler's
    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            precision="32-true",
            plugins=LightningEnvironment() if alone else None,
        )
    except (MisconfigurationException, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"accelerator {hardware.accelerator!r} with {hardware.devices} devices cannot be used here ({reason}): "
            "leave it out, or name what the machine has"
        ) from error
