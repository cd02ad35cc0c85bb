"""Which of several processes this one is."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this process, of all that train one run, is the one that writes and speaks."""
    return not any(int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
