"""The precision that a prediction was started in, for the parts of it that run later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch


def current_autocast(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """A function that gives contexts with the autocast that is in force now."""
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype, enabled=enabled)
