"""Random numbers that belong to a name: the same in every process and on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from plurimask.noise import Generators

MAX_SEED = 2**63 - 1
"""What torch takes for a seed."""


def generator_of(*identity: object) -> torch.Generator:
    """A generator whose seed is a hash of what it is for: the same in every process and on every machine."""
    digest = hashlib.sha256("/".join(map(str, identity)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def generators_of(seed: int, names: Sequence[str]) -> Generators:
    """The random numbers for images of these names: they depend on the seed and on each name, on nothing else."""
    return Generators(generator_of(seed), tuple(generator_of(seed, name) for name in names))
