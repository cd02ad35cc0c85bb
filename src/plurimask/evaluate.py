"""How well a method's samples match the raters' disagreement, on a set of examples."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plurimask.data.example import ExampleSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.files import replace_file
from plurimask.inference import Sampling, predict_images
from plurimask.method import SegmentationMethod
from plurimask.metrics import CONVENTIONS, CalibrationBins, SegmentationMetrics, Totals, evaluate_images


@dataclass(frozen=True)
class ExampleView:
    """Examples of a set as a run sees them: some of them, cropped and normalised."""

    examples: ExampleSet
    indices: Sequence[int]
    preprocessing: Preprocessing
    counted_classes: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """Totals, one row per image, and the bins of a reliability diagram."""

    totals: Totals
    rows: list[dict[str, Any]]
    calibration: CalibrationBins


def evaluate(
    method: SegmentationMethod,
    view: ExampleView,
    sampling: Sampling,
    on_image: Callable[[int], None] | None = None,
) -> Evaluation:
    """Draw samples for every example of the view and compare them with its raters.

    Args:
        method: trained; used as it is, on the device where its weights are.
        view: the examples.
        sampling: samples per image, seed, batch size. An image's samples depend on the seed and its name alone.
        on_image: called with the number of images done after each batch.

    In a distributed training each process gives its own share of the indices, and the totals are of all shares.
    """
    metrics = SegmentationMetrics(view.counted_classes)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        metrics = metrics.to(next(method.parameters()).device)  # where processes can exchange tensors
    rows: list[dict[str, Any]] = []
    labels: dict[str, Tensor] = {}

    def images() -> Iterator[tuple[str, Tensor]]:
        for index in view.indices:
            example = view.preprocessing.example(view.examples[index])
            labels[example.name] = example.labels
            yield example.name, example.image

    for predicted in predict_images(method, images(), sampling):
        samples, mean = predicted.samples.cpu(), predicted.mixture.mean().cpu()
        for number, name in enumerate(predicted.names):
            one = slice(number, number + 1)
            scores = evaluate_images(samples[:, one], mean[one], labels.pop(name)[None], view.counted_classes)
            metrics.update(scores)
            rows.append({"name": name, **scores[0].scores})
        if on_image is not None:
            on_image(len(rows))
    return Evaluation(metrics.compute(), rows, metrics.calibration_bins())


def write_evaluation(evaluation: Evaluation, path: Path, facts: dict[str, Any]) -> None:
    """Totals with `facts` (what was evaluated) to `path`, and the rows to a CSV file of the same name beside it."""
    content = {**evaluation.totals, **facts, "conventions": CONVENTIONS}
    replace_file(path, json.dumps(content, indent=2).encode())
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(evaluation.rows[0]))
    writer.writeheader()
    writer.writerows(evaluation.rows)
    replace_file(path.with_suffix(".csv"), table.getvalue().encode())
