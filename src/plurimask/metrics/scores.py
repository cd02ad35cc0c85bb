"""All figures of an image, from one matrix product per class and one pass over the probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from plurimask.errors import InputError
from plurimask.metrics.error_detection import PixelUncertainty
from plurimask.metrics.image import ComparedImage, PixelSums, image_with_raters
from plurimask.metrics.maps import Maps
from plurimask.metrics.table import TABLE, Table

ImageScores: TypeAlias = dict[str, float]
"""One image's figures by their keys in `TABLE`, NaN where one does not exist; `all_marked`, whether every present rater
marked some counted class (False if nobody is present); and `num_raters`, how many are."""


class ImageEvaluation(NamedTuple):
    """One image's figures, and the sums that are pooled over the pixels of a data set."""

    scores: ImageScores
    sums: PixelSums


def evaluated(image: ComparedImage, table: Table = TABLE) -> ImageEvaluation:
    """The figures of a table for one image."""
    figures = {row.key: row.of_image(image) if image.counts else math.nan for row in table if row.of_image is not None}
    return ImageEvaluation({**figures, "all_marked": image.all_marked, "num_raters": image.num_raters}, image.sums)


def evaluate_image(
    samples: Maps,
    mean_probabilities: Maps,
    labels: Maps,
    counted_classes: Sequence[int],
    reconstructions: Maps | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> ImageEvaluation:
    """The figures of one image, by `CONVENTIONS`; arguments and errors as for `image_with_raters`.

    >>> import numpy as np
    >>> samples, labels = np.array([[1, 1, 0], [0, 1, 0]]), np.array([[1, 1, 0], [1, 1, 1]])
    >>> mean = np.array([[0.5, 0.1, 0.9], [0.5, 0.9, 0.1]])
    >>> scores = evaluate_image(samples, mean, labels, [1]).scores
    >>> {key: round(scores[key], 4) for key in ("ged", "hungarian_iou_balanced", "dice", "nll")}
    {'ged': 0.3333, 'hungarian_iou_balanced': 0.6667, 'dice': 0.5833, 'nll': 0.6675}
    """
    return evaluated(
        image_with_raters(samples, mean_probabilities, labels, counted_classes, reconstructions, uncertainty)
    )


def evaluate_images(
    samples: Maps,
    mean_probabilities: Maps,
    labels: Maps,
    counted_classes: Sequence[int],
    reconstructions: Maps | None = None,
    uncertainty: PixelUncertainty | None = None,
) -> list[ImageEvaluation]:
    """`evaluate_image` for each image of a batch.

    Arguments and errors as there, of B images: samples `(N, B, *spatial)`, mean probabilities `(B, C, *spatial)`,
    labels and reconstructions `(B, R, *spatial)`, maps of uncertainty `(B, *spatial)`.
    """
    sizes = (samples.shape[1] if samples.ndim > 1 else 0, len(mean_probabilities), len(labels))
    if len(set(sizes)) != 1:
        raise InputError(f"samples (N, B, ...), probabilities (B, ...) and labels (B, ...) have {sizes} images")
    if reconstructions is not None and reconstructions.shape != labels.shape:
        raise InputError(
            f"reconstructions {tuple(reconstructions.shape)} and labels {tuple(labels.shape)} differ: there must be "
            "one map for each rater of each image"
        )
    return [
        evaluate_image(
            samples[:, index],
            mean_probabilities[index],
            labels[index],
            counted_classes,
            None if reconstructions is None else reconstructions[index],
            None if uncertainty is None else PixelUncertainty(*(maps[index] for maps in uncertainty)),
        )
        for index in range(len(labels))
    ]
