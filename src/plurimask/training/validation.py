"""What a training is judged by on the way: figures of samples for some validation images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from plurimask.data.windows import ObjectWindows
from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.method import SegmentationMethod
from plurimask.metrics.table import VALIDATED
from plurimask.prediction.predict import Sampling
from plurimask.training.batches import TrainingData
from plurimask.training.config import TrainingConfig


class Validation(NamedTuple):
    """One validation."""

    figures: dict[str, Any]
    """The `val_` columns of `metrics.csv`."""
    judged: list[float]
    """What weights are kept by, of each image that this process looked at: GED; where no image has a second rater
    1 - Dice of the most likely map, since nobody there shows how samples should differ. NaN where it does not exist."""


def validate(
    method: SegmentationMethod,
    data: TrainingData,
    config: TrainingConfig,
    share: tuple[int, int] = (0, 1),
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """Samples for validation images evenly spread over all of them, or for their windows (`validation_crop`).

    The images and their noise are the same each time. Of several processes each takes its share of the images
    (`share`: rank and number of processes), and all get the figures of all. `on_image` is told how many are done.
    """
    assert data.val is not None
    count = min(len(data.val), config.validation_images)
    chosen = [number * len(data.val) // count for number in range(count)][share[0] :: share[1]]
    view = ExampleView(data.val, chosen, data.preprocessing, data.counted_classes)
    if config.validation_crop is not None:
        windows = ObjectWindows(data.val, data.preprocessing, config.validation_crop, data.counted_classes)
        as_seen = data.preprocessing.model_copy(update={"center_crop": None, "resize": None})
        view = ExampleView(windows, chosen, as_seen, data.counted_classes)
    done = 0

    def count_image(_: object) -> None:
        nonlocal done
        done += 1
        on_image(done, len(chosen))

    was_training = method.training
    evaluation = evaluate(method.eval(), view, Sampling(config.validation_samples), count_image, VALIDATED)
    method.train(was_training)
    figures = {f"val_{row.key}": evaluation.totals[row.key] for row in VALIDATED}
    has_several = any(row["num_raters"] > 1 for row in evaluation.rows)
    judged = [float(row["ged"]) if has_several else 1 - float(row["dice"]) for row in evaluation.rows]
    return Validation(figures, judged)
