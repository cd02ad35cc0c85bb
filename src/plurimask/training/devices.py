"""The devices that a training runs on, through Lightning's Fabric, and which of several processes this one is."""

from __future__ import annotations

import logging
import os

from lightning import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException

from plurimask.errors import InputError
from plurimask.training.config import Hardware


def is_first_process() -> bool:
    """Whether this process, of all that train one run, is the one that writes and speaks; known before any starts."""
    return not any(int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def open_fabric(hardware: Hardware) -> Fabric:
    """Fabric on these devices, all in float32: the precision of a method is `plurimask.prediction.device`'s business.

    Raises:
        InputError: the machine has no such devices.
    """
    for name in ("lightning.fabric", "lightning.pytorch.utilities.rank_zero"):  # chatter that concerns no user of a run
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            precision="32-true",
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"accelerator {hardware.accelerator!r} with {hardware.devices} devices cannot be used here ({reason}): "
            "leave it out, or name what the machine has"
        ) from error
