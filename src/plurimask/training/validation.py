"""What a training is judged by on the way: figures of samples for some validation images."""

from __future__ import annotations

from typing import Any

from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.method import SegmentationMethod
from plurimask.metrics.table import VALIDATED
from plurimask.prediction.predict import Sampling
from plurimask.training.batches import TrainingData
from plurimask.training.config import TrainingConfig


def validate(
    method: SegmentationMethod, data: TrainingData, config: TrainingConfig, rank: int = 0, world: int = 1
) -> dict[str, Any]:
    """The `val_` columns of `metrics.csv`, over validation images evenly spread over all of them.

    Of several processes each takes its share of the images (`rank` of `world`), and all get the totals.
    """
    assert data.val is not None
    count = min(len(data.val), config.validation_images)
    chosen = [number * len(data.val) // count for number in range(count)][rank::world]
    view = ExampleView(data.val, chosen, data.preprocessing, data.counted_classes)
    was_training = method.training
    totals = evaluate(method.eval(), view, Sampling(config.validation_samples)).totals
    method.train(was_training)
    return {f"val_{name}": totals[name] for name in VALIDATED}
