"""Whether probabilities mean what they say: calibration error and negative log-likelihood, by sums that can be pooled.

The expected calibration error compares, in equal-width bins of the predicted probability, the mean probability with the
frequency at which raters chose the class (Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian
Binning, 2015; with several raters the outcome is their relative frequency instead of 0 or 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.metrics.maps import Maps, label_maps, numbers

NUM_BINS = 15


class CalibrationBins(NamedTuple):
    """Sums per counted class and bin, each `(classes, bins)`, float64: enough for the error and for a diagram.

    The sums of two sets of pixels are the sums of both. Bin k holds probabilities from k/bins up to, but not
    including, (k+1)/bins; the last holds 1 too.
    """

    num_pixels: Tensor
    probability: Tensor
    frequency: Tensor

    def error(self) -> float:
        """Expected calibration error, 0 to 1: the mean over counted classes of
        sum_k num_pixels_k / total |mean probability_k - mean frequency_k|. NaN without pixels."""
        total = self.num_pixels.sum(1)
        if not bool((total > 0).all()):
            return math.nan
        return float(((self.probability - self.frequency).abs().sum(1) / total).mean())


class LogLikelihood(NamedTuple):
    """Negative log-likelihood in nats, summed over judged pixels and raters, and how many those are."""

    total: float
    num_labels: int

    def mean(self) -> float:
        """Nats per judged pixel and rater; NaN without any."""
        return self.total / self.num_labels if self.num_labels else math.nan


def calibration_bins(
    probabilities: Maps, votes: Maps, counted_classes: Sequence[int], num_bins: int = NUM_BINS
) -> CalibrationBins:
    """The bins of one image.

    Args:
        probabilities: mean class probabilities `(C, *spatial)`, 0 to 1.
        votes: how many raters chose each class, `(C, *spatial)` (`rater_votes`). Pixels that at least one rater judged
            count; the frequency is over the raters who judged the pixel.
        counted_classes: the class indices that count, without the background.
        num_bins: of equal width.

    One pixel of three is a coin flip between two raters; the mean says 0.9 for it, and 0 for the others:

        >>> import numpy as np
        >>> votes = rater_votes(np.array([[1, 0, 0], [0, 0, 0]]), 2)
        >>> bins = calibration_bins(np.array([[0.1, 1.0, 1.0], [0.9, 0.0, 0.0]]), votes, [1])
        >>> round(bins.error(), 4)
        0.1333
    """
    probabilities, classes, votes = numbers(probabilities), list(counted_classes), numbers(votes).flatten(1).cpu()
    num_votes = votes.sum(0)
    judged = num_votes > 0
    predicted = probabilities.flatten(1)[classes].cpu().double()[:, judged]
    frequency = votes[classes][:, judged] / num_votes[judged].double()
    # The last bin is closed on both sides. float32 probabilities are binned as they are, in double precision.
    index = (predicted * num_bins).long().clamp_(0, num_bins - 1)
    index += num_bins * torch.arange(len(classes))[:, None]
    size = num_bins * len(classes)
    sums = [
        torch.bincount(index.flatten(), weights, minlength=size).double().view(len(classes), num_bins)
        for weights in (None, predicted.flatten(), frequency.flatten())
    ]
    return CalibrationBins(*sums)


def log_likelihood(probabilities: Maps, votes: Maps) -> LogLikelihood:
    """The negative log-likelihood of the raters' labels, each pixel by itself, under the mean probabilities.

    Args:
        probabilities: `(C, *spatial)`; clamped from below at the smallest normal float32 (87.3 nats).
        votes: how many raters chose each class, `(C, *spatial)` (`rater_votes`), or with what probability they do.

        >>> import numpy as np
        >>> found = log_likelihood(np.full((2, 3), 0.5), rater_votes(np.array([[0, 1, 255]]), 2))
        >>> found.num_labels, round(found.mean(), 4)
        (2, 0.6931)
    """
    votes = numbers(votes)
    surprise = -numbers(probabilities).float().clamp(min=torch.finfo(torch.float32).tiny).log()
    # A class without votes adds exactly nothing, for the clamp keeps its surprise finite.
    return LogLikelihood(float((surprise * votes).flatten().cpu().double().sum()), round(float(votes.sum())))


def rater_votes(labels: Maps, num_classes: int) -> Tensor:
    """How many raters chose each class: labels `(R, *spatial)` -> `(C, *spatial)`, uint8; IGNORE is no vote.

    >>> import numpy as np
    >>> rater_votes(np.array([[0, 1, 255], [1, 1, 255]]), 2)
    tensor([[1, 0, 0],
            [1, 2, 0]], dtype=torch.uint8)
    """
    labels = label_maps(labels, "labels")
    assert num_classes <= IGNORE, "class indices must not reach IGNORE"
    if len(labels) >= IGNORE:
        return torch.stack([(labels == index).sum(0) for index in range(num_classes)])
    return torch.stack([(labels == index).sum(0, dtype=torch.uint8) for index in range(num_classes)])
