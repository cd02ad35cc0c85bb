"""How sure a prediction is.

Scores of an image and of each object need no rater, so that they can rank new images: the mean Dice between samples is
the quality that a prediction expects of itself (DeVries and Taylor, Leveraging Uncertainty Estimates for Predicting
Segmentation Quality, arXiv:1807.00502, 2018). What needs raters is in `plurimask.metrics.error_detection`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from plurimask.distribution import entropy
from plurimask.errors import InputError
from plurimask.metrics.distance import mean_of_pairs, mean_overlaps
from plurimask.metrics.maps import Maps, is_counted, label_map_of, label_maps, numbers

_BLOCK = 2**22  # pixels
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


def expected_dice(samples: Maps, counted_classes: Sequence[int], valid: Maps | None = None) -> float:
    """The mean Dice over pairs of different samples of one image, 0 to 1: quality as the prediction itself expects it.

    Dice is the mean over the counted classes that are in at least one of the two maps, and 1 if none is. Equal samples
    score 1; a single one has no pair, and NaN.

    Args:
        samples, counted_classes: as for `joint_distances`.
        valid: the pixels that count, bool `(*spatial)`; None: all. NaN if there are none.

        >>> import numpy as np
        >>> round(expected_dice(np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]]), [1]), 4)
        0.7778
    """
    samples, valid = label_maps(samples, "samples"), None if valid is None else numbers(valid).bool()
    return mean_of_pairs(mean_overlaps([samples], counted_classes, valid)[0])


def mean_entropy(uncertainty: Maps, where: Maps | None = None) -> float:
    """The mean of an entropy map `(*spatial)`, nats, over the pixels `where`, bool `(*spatial)`; NaN without pixels."""
    values = numbers(uncertainty if where is None else uncertainty[where]).double()
    return float(values.mean()) if values.numel() else math.nan


def image_uncertainty(samples: Maps, mean: Maps, counted_classes: Sequence[int]) -> ImageUncertainty:
    """The scores of one image, over all its pixels; arguments and errors as for `object_scores`."""
    samples, mean = label_maps(samples, "samples"), numbers(mean)
    _check_shapes(samples, mean[0])
    uncertainty, marked = entropy(mean, dim=0), is_counted(label_map_of(mean), counted_classes)
    return ImageUncertainty(
        expected_dice(samples, counted_classes), mean_entropy(uncertainty), mean_entropy(uncertainty, marked)
    )


def object_scores(
    samples: Maps, mean: Maps, uncertainty: Maps, counted_classes: Sequence[int], least_pixels: int = 1
) -> list[ObjectScore]:
    """The objects of one image: the connected parts of each counted class of the most likely map.

    Pixels that touch at a corner are connected. An object's `expected_dice` is of its class alone, in its bounding box
    grown at each end by a quarter of its side, at least 2 pixels: there samples may add or leave out what they like.

    Args:
        samples: `(N, *spatial)`, class indices or bool, from torch or numpy.
        mean: mean class probabilities `(C, *spatial)`.
        uncertainty: the entropy `(*spatial)`, nats.
        counted_classes: the class indices that count, without the background.
        least_pixels: parts of fewer pixels are left out (`count_specks`).

    Returns:
        By class, then by the first pixel of the object in reading order.

    Raises:
        InputError: if shapes do not fit each other.
    """
    samples, mean, uncertainty = label_maps(samples, "samples"), numbers(mean), numbers(uncertainty)
    _check_shapes(samples, mean[0], uncertainty)
    label_map, samples = label_map_of(mean).cpu().numpy(), samples.cpu()
    uncertainty, scores = uncertainty.cpu(), []
    for class_index in counted_classes:
        parts, sizes = _parts(label_map == class_index)
        large = np.flatnonzero(sizes >= least_pixels)
        numbers_of_large = np.zeros(len(sizes) + 1, parts.dtype)
        numbers_of_large[large + 1] = np.arange(1, len(large) + 1)
        parts, probabilities = numbers_of_large[parts], mean[class_index].cpu()
        for number, box in enumerate(ndimage.find_objects(parts)):
            own = torch.from_numpy(parts[box] == number + 1)
            scores.append(
                ObjectScore(
                    class_index,
                    tuple((side.start, side.stop) for side in box),
                    int(sizes[large[number]]),
                    mean_entropy(uncertainty[box], own),
                    float(probabilities[box][own].double().mean()),
                    expected_dice(samples[(slice(None), *_grown(box, label_map.shape))], [class_index]),
                )
            )
    return scores


def count_specks(mean: Maps, counted_classes: Sequence[int], least_pixels: int) -> int:
    """How many connected parts of the most likely map of `(C, *spatial)` have fewer than so many pixels."""
    label_map = label_map_of(numbers(mean)).cpu().numpy()
    sizes = [_parts(label_map == class_index)[1] for class_index in counted_classes]
    return sum(int((of_class < least_pixels).sum()) for of_class in sizes)


def _parts(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The connected parts of a mask `(*spatial)`, numbered from 1 on, and the pixels of each."""
    parts, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.zeros(count + 1, np.int64)
    flat = parts.reshape(-1)
    for start in range(0, flat.size, _BLOCK):  # counting widens its input to 64 bits: not all of it at once
        sizes += np.bincount(flat[start : start + _BLOCK], minlength=count + 1)
    return parts, sizes[1:]


def _grown(box: Sequence[slice], shape: Sequence[int]) -> Iterator[slice]:
    for side, length in zip(box, shape, strict=True):
        margin = max(_LEAST_GROWTH, math.ceil((side.stop - side.start) / _GROWTH))
        yield slice(max(0, side.start - margin), min(length, side.stop + margin))


def _check_shapes(samples: Tensor, *maps: Tensor) -> None:
    shapes = [tuple(samples.shape[1:]), *(tuple(one.shape) for one in maps)]
    if len(set(shapes)) > 1:
        raise InputError(f"samples and maps of one image have different spatial shapes {shapes}")
