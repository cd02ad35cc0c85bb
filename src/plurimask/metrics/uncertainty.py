"""How sure a prediction is.

Scores of an image and of each object need no rater, so that they can rank new images: the mean Dice between samples is
the quality that a prediction expects of itself (DeVries and Taylor, Leveraging Uncertainty Estimates for Predicting
Segmentation Quality, arXiv:1807.00502, 2018). What needs raters is in `plurimask.metrics.error_detection`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from plurimask.distribution import entropy, most_likely
from plurimask.errors import InputError
from plurimask.metrics.distance import mean_of_pairs, shared_pixels
from plurimask.metrics.maps import Maps, label_maps, numbers

_GROWTH, _LEAST_GROWTH = 4, 2  # a box grows by a quarter of its sides, by 2 pixels at least


class ImageUncertainty(NamedTuple):
    """One image's scores, which need no rater. NaN where a score does not exist."""

    expected_dice: float
    """Mean Dice between two different samples, 0 to 1; NaN for one sample."""
    mean_entropy: float
    """Nats per pixel."""
    foreground_entropy: float
    """Nats per pixel of the most likely map's counted classes; NaN if it has none."""


class ObjectScore(NamedTuple):
    """One connected object of the most likely map."""

    class_index: int
    bounding_box: tuple[tuple[int, int], ...]
    """First position, and the one after the last, along each spatial axis."""
    num_pixels: int
    mean_entropy: float
    """Nats per pixel of the object."""
    mean_probability: float
    """Of the object's class, over its pixels, 0 to 1."""
    expected_dice: float
    """Mean Dice of the object's class between two different samples, in the box and a margin; NaN for one sample."""


# ---- one image ----------------------------------------------------------------------------------------------------


def expected_dice(samples: Maps, counted_classes: Sequence[int], valid: Maps | None = None) -> float:
    """The mean Dice over pairs of different samples of one image, 0 to 1: quality as the prediction itself expects it.

    Dice is the mean over the counted classes that are in at least one of the two maps, and 1 if none is. Equal samples
    score 1; a single one has no pair, and NaN.

    Args:
        samples: `(N, *spatial)`, class indices or bool, from torch or numpy.
        counted_classes: the class indices that count, without the background.
        valid: the pixels that count, bool `(*spatial)`; None: all. NaN if there are none.

        >>> import numpy as np
        >>> round(expected_dice(np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]]), [1]), 4)
        0.7778
    """
    samples, valid = label_maps(samples, "samples"), None if valid is None else numbers(valid).bool()
    if len(samples) < 2 or (valid is not None and not bool(valid.any())):
        return math.nan
    total = torch.zeros(len(samples), len(samples), dtype=torch.float64)
    num_classes = torch.zeros_like(total)
    for shared in shared_pixels([samples], counted_classes, valid):
        area = shared.diagonal().double()
        areas = area[:, None] + area
        num_classes += areas > 0
        total += 2 * shared.double() / areas.clamp(min=1)
    return mean_of_pairs(torch.where(num_classes > 0, total / num_classes.clamp(min=1), 1.0))


def mean_entropy(uncertainty: Maps, where: Maps | None = None) -> float:
    """The mean of an entropy map `(*spatial)`, nats, over the pixels `where`, bool `(*spatial)`; NaN without pixels."""
    values = numbers(uncertainty if where is None else uncertainty[where]).double()
    return float(values.mean()) if values.numel() else math.nan


def image_uncertainty(samples: Maps, mean: Maps, counted_classes: Sequence[int]) -> ImageUncertainty:
    """The scores of one image, over all its pixels.

    Args:
        samples: `(N, *spatial)`, class indices or bool, from torch or numpy.
        mean: mean class probabilities `(C, *spatial)`.
        counted_classes: the class indices that count, without the background.

    Raises:
        InputError: if shapes do not fit each other.
    """
    samples, mean = label_maps(samples, "samples"), numbers(mean)
    _check_shapes(samples, mean[0])
    uncertainty, label_map = entropy(mean, dim=0), _label_map(mean)
    counted = torch.tensor(list(counted_classes), dtype=label_map.dtype, device=mean.device)
    return ImageUncertainty(
        expected_dice(samples, counted_classes),
        mean_entropy(uncertainty),
        mean_entropy(uncertainty, torch.isin(label_map, counted)),
    )


# ---- objects ------------------------------------------------------------------------------------------------------


def object_scores(samples: Maps, mean: Maps, uncertainty: Maps, counted_classes: Sequence[int]) -> list[ObjectScore]:
    """The objects of one image: the connected parts of each counted class of the most likely map.

    Pixels that touch at a corner are connected. An object's `expected_dice` is of its class alone, in its bounding box
    grown at each end by a quarter of its side, at least 2 pixels: there samples may add or leave out what they like.

    Args:
        samples: `(N, *spatial)`, class indices or bool, from torch or numpy.
        mean: mean class probabilities `(C, *spatial)`.
        uncertainty: the entropy `(*spatial)`, nats.
        counted_classes: the class indices that count, without the background.

    Returns:
        By class, then by the first pixel of the object in reading order.

    Raises:
        InputError: if shapes do not fit each other.
    """
    samples, mean, uncertainty = label_maps(samples, "samples"), numbers(mean), numbers(uncertainty)
    _check_shapes(samples, mean[0], uncertainty)
    label_map = _label_map(mean).cpu().numpy()
    entropies, samples = uncertainty.double().cpu().numpy(), samples.cpu()
    structure = np.ones((3,) * label_map.ndim)
    scores = []
    for class_index in counted_classes:
        labelled, count = ndimage.label(label_map == class_index, structure)
        if not count:
            continue
        flat, probability = labelled.ravel(), mean[class_index].double().cpu().numpy()
        sizes, entropy_sums, probability_sums = (
            np.bincount(flat, weights, count + 1) for weights in (None, entropies.ravel(), probability.ravel())
        )
        for number, box in enumerate(ndimage.find_objects(labelled), start=1):
            grown = (slice(None), *_grown(box, label_map.shape))
            scores.append(
                ObjectScore(
                    class_index,
                    tuple((side.start, side.stop) for side in box),
                    int(sizes[number]),
                    float(entropy_sums[number] / sizes[number]),
                    float(probability_sums[number] / sizes[number]),
                    expected_dice(samples[grown], [class_index]),
                )
            )
    return scores


def _grown(box: Sequence[slice], shape: Sequence[int]) -> Iterator[slice]:
    for side, length in zip(box, shape, strict=True):
        margin = max(_LEAST_GROWTH, math.ceil((side.stop - side.start) / _GROWTH))
        yield slice(max(0, side.start - margin), min(length, side.stop + margin))


def _label_map(mean: Tensor) -> Tensor:
    return most_likely(mean[None, None])[0, 0]


def _check_shapes(samples: Tensor, *maps: Tensor) -> None:
    shapes = [tuple(samples.shape[1:]), *(tuple(one.shape) for one in maps)]
    if len(set(shapes)) > 1:
        raise InputError(f"samples and maps of one image have different spatial shapes {shapes}")
