"""Which weights of a training are kept: a rule that luck in one validation does not decide.

A validation's GED is of few samples of few images, so among many validations the lowest is often a lucky one, and while
the learning rate is high it is not of the weights that the training ends with. All validations look at the same images
with the same noise, so two of them are compared image by image, and the later one is kept unless it is clearly worse.
Where images have one rater each, 1 - Dice is in the place of the GED (`plurimask.training.validation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

EARLY = 0.5
"""The share of the training that counts as early: its learning rate is still high."""
MARGIN, EARLY_MARGIN = 1.0, 3.0
"""Standard errors of the mean difference by which a validation must be better than later ones to stay the kept one."""


@dataclass
class Keeping:
    """The validation that later ones are held against: the lowest, of late ones if one is not clearly worse.

    The one-standard-error rule (Breiman et al. 1984) on paired differences: the last validation is kept whose GED is
    not above that of the lowest by more than one standard error, or three if the lowest was an early one. What is
    compared with stays the lowest, so that a slow rise is not followed step by step.
    """

    geds: list[float] = field(default_factory=list)
    """Of each image."""
    progress: float = 0.0
    """Where in the training it was, 0 to 1."""

    def decide(self, geds: Sequence[float], progress: float) -> bool:
        """Whether the weights of the validation just made, with these GEDs of the images, are to be kept."""
        pairs = zip(geds, self.geds, strict=False) if len(geds) == len(self.geds) else ()
        differences = [now - before for now, before in pairs if math.isfinite(now - before)]
        if not differences:
            self.geds, self.progress = list(geds), progress
            return True
        was_early = self.progress < EARLY
        mean = fmean(differences)
        error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
        margin = error * (EARLY_MARGIN if was_early else MARGIN) if mean > 0 else 0.0
        is_kept = mean <= margin
        if mean < 0 or (is_kept and was_early and progress >= EARLY):
            self.geds, self.progress = list(geds), progress
        return is_kept

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"geds": list(self.geds), "progress": self.progress}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self.geds, self.progress = [float(ged) for ged in state["geds"]], float(state["progress"])
