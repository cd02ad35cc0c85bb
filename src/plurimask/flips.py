"""Classes that turn into a twin class at random: a law of ambiguity that is known exactly.

Each of K classes flips, independently of the others and in the whole image at once, to its twin: 2^K modes, each with
the probability prod_k p_k^(flips) (1 - p_k)^(does not flip).

Kohl et al., A Probabilistic U-Net for Segmentation of Ambiguous Images, 2018, section 3.2: sidewalk 8/17, person 7/17,
car 6/17, vegetation 5/17 and road 4/17, 32 modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from plurimask.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_FLIPS = 10
"""All 2^K modes are enumerated: 1024 of them at most."""


class Flip(NamedTuple):
    """One class that may turn into its twin."""

    source: int
    """Index of the class that the annotator marks."""
    target: int
    """Index of its twin, which no annotator marks."""
    probability: float
    """Of the flip, between 0 and 1."""


def switchable_classes(flips: Sequence[Flip]) -> tuple[int, ...]:
    """The indices of the classes that flip and of their twins, in ascending order."""
    return tuple(sorted({index for flip in flips for index in (flip.source, flip.target)}))


def mode_table(flips: Sequence[Flip]) -> tuple[Tensor, Tensor]:
    """All modes: which flips happen in each, bool `(2^K, K)`, and their probabilities, float64 `(2^K,)`.

    Flip k happens in mode m if bit k of m is set: nothing flips in mode 0.

    Raises:
        InputError: there are more than `MAX_FLIPS` flips.
    """
    if len(flips) > MAX_FLIPS:
        raise InputError(
            f"{len(flips)} classes flip, and all 2^{len(flips)} modes are enumerated: let at most {MAX_FLIPS} flip"
        )
    import torch

    happens = (torch.arange(2 ** len(flips))[:, None] >> torch.arange(len(flips))) % 2 == 1
    probability = torch.tensor([flip.probability for flip in flips], dtype=torch.float64)
    return happens, torch.where(happens, probability, 1 - probability).prod(1)


def mode_index(happens: Tensor) -> Tensor:
    """Which flips happen, bool `(..., K)` -> the index of the mode in `mode_table`, long `(...)`."""
    import torch

    return (happens.long() << torch.arange(happens.shape[-1], device=happens.device)).sum(-1)


def apply_flips(labels: Tensor, flips: Sequence[Flip], happens: Tensor) -> Tensor:
    """One label map as it looks in M modes.

    Args:
        labels: the annotator's map `(*spatial)`, uint8.
        flips: K of them.
        happens: which happen in each mode, bool `(M, K)`.

    Returns:
        `(M, *spatial)`, uint8. All labels but the flipped classes stay as they are.
    """
    import torch

    tables = torch.arange(256, dtype=torch.uint8, device=labels.device).repeat(len(happens), 1)
    for flip, yes in zip(flips, happens.unbind(1), strict=True):
        tables[yes.to(labels.device), flip.source] = flip.target
    return tables[:, labels.long()]


def draw_flips(labels: Tensor, flips: Sequence[Flip], num: int, generator: torch.Generator | None = None) -> Tensor:
    """Independent draws from the modes of one label map `(*spatial)`, uint8: `(num, *spatial)`, uint8.

    Args:
        labels, flips: as for `apply_flips`.
        num: how many maps.
        generator: a CPU generator; all chance comes from it, so a seed means the same on every device.
    """
    import torch

    probability = torch.tensor([flip.probability for flip in flips], dtype=torch.float64)
    uniform = torch.rand(num, len(flips), dtype=torch.float64, generator=generator)
    return apply_flips(labels, flips, uniform < probability)
