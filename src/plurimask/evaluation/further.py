"""Samples beside the independent ones, which are scored apart: spread draws, and representatives of many draws."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plurimask.data.example import Example
from plurimask.metrics import image_distances
from plurimask.metrics.energy_distance import ged_of_weighted
from plurimask.metrics.modes import ged_of_weighted_with_modes, mode_distances
from plurimask.metrics.representatives import DRAWS, NUMBERS
from plurimask.prediction.predict import PredictedBatch, Sampling, spread_samples
from plurimask.prediction.seeds import generators_of
from plurimask.sets.representatives import Representatives


class FurtherSamples(NamedTuple):
    """Of the images of a batch, beside its independent draws; scored apart from them."""

    spread: Tensor | None
    representatives: dict[int, Representatives]
    """By their number."""

    def figures(self, number: int, example: Example, counted_classes: Sequence[int]) -> dict[str, Any]:
        """Those of one image, as fields of `ComparedImage`."""
        found: dict[str, Any] = {}
        if self.spread is not None:
            found["ged_spread"] = _ged(self.spread[:, number], example, counted_classes)
        if self.representatives:
            found["ged_representatives"] = {
                count: _ged(few.maps[:, number], example, counted_classes, few.weights[:, number])
                for count, few in self.representatives.items()
            }
        return found


def further_samples(
    batch: PredictedBatch, sampling: Sampling, counted_classes: Sequence[int], keys: Collection[str]
) -> FurtherSamples:
    """Those that the figures of these keys are of."""
    few: dict[int, Representatives] = {}
    if "ged_representatives" in keys:
        with torch.inference_mode():
            drawn = batch.prediction.freeze(DRAWS, generators_of(sampling.seed, batch.names))
            few = {number: drawn.representatives(number, classes=counted_classes) for number in NUMBERS}
    return FurtherSamples(spread_samples(batch, sampling) if "ged_spread" in keys else None, few)


def _ged(samples: Tensor, example: Example, counted_classes: Sequence[int], weights: Tensor | None = None) -> float:
    """Of other samples of an image, `(N, *spatial)`, of equal weights if none are given."""
    if weights is None:
        weights = torch.full((len(samples),), 1 / len(samples), dtype=torch.float64)
    if example.flips:
        return ged_of_weighted_with_modes(mode_distances(samples.cpu(), example.labels[0], example.flips), weights)
    return ged_of_weighted(image_distances(samples.cpu(), example.labels, counted_classes), weights)
