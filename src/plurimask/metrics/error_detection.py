"""Whether a prediction is unsure where it is wrong: how well the uncertainty of a pixel tells right from wrong labels.

Three uncertainties of a pixel are looked at alike: the entropy of the mean probabilities (the whole), the mutual
information and the spread (the part that comes from draws that disagree). Right and wrong labels are counted in bins,
which can be pooled over a data set; `plurimask.metrics.sparsification` draws curves from the same counts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plurimask.distribution import IGNORE, entropy, most_likely
from plurimask.errors import InputError
from plurimask.metrics.maps import Maps, numbers

NUM_ENTROPY_BINS = 1024
"""One for uncertainties below the first edge, the others 2 % wide each."""

_EDGES = torch.from_numpy(np.geomspace(1e-8, math.log(IGNORE), NUM_ENTROPY_BINS)[:-1]).float()


class PixelUncertainty(NamedTuple):
    """Two maps of how far the draws of one image disagree, which the mean alone does not say. `(*spatial)` each."""

    mutual_information: Tensor
    """Nats: the entropy of the mean less the mean entropy of the draws."""
    spread: Tensor
    """Mean over the classes of the standard deviation of their probability, 0 to 1/2 (`class_spread`)."""


class ErrorHistogram(NamedTuple):
    """How many pairs of a judged pixel and a rater lie in each bin of an uncertainty, `(1024,)` each, float64.

    The sums of two sets of pixels are the sums of both. Bins are logarithmic from 1e-8 to ln 255, the
    largest entropy in nats; the first holds all that is below.
    """

    right: Tensor
    """Pairs in which the most likely class is the rater's."""
    wrong: Tensor
    """Pairs in which it is another."""

    @property
    def is_silent(self) -> bool:
        """Whether the uncertainty is zero everywhere (below 1e-8), as where all draws are equal: it ranks nothing."""
        return not bool(self.right[1:].any() or self.wrong[1:].any())

    def auroc(self) -> float:
        """The probability that a wrong pair is more uncertain than a right one, 0 to 1; pairs in one bin count half.

        NaN if there is no error, or nothing but errors.
        """
        right, wrong = self.right.cpu().double(), self.wrong.cpu().double()
        total = float(right.sum() * wrong.sum())
        below = right.cumsum(0) - right
        return float((wrong * (below + right / 2)).sum()) / total if total > 0 else math.nan


class ErrorHistograms(NamedTuple):
    """The same pairs by three uncertainties of their pixels. Without pairs where an uncertainty was not given."""

    entropy: ErrorHistogram
    """Of the mean probabilities."""
    mutual_information: ErrorHistogram
    spread: ErrorHistogram

    def stacked(self) -> Tensor:
        """All counts as one tensor `(3, 2, 1024)`; `from_stacked` is the way back."""
        return torch.stack([torch.stack(list(one)) for one in self])

    @classmethod
    def from_stacked(cls, counts: Tensor) -> ErrorHistograms:
        """The histograms of counts `(3, 2, 1024)`."""
        return cls(*(ErrorHistogram(*one) for one in counts))


def class_spread(variance: Tensor, dim: int) -> Tensor:
    """The mean over the classes, which lie along `dim`, of the standard deviation of their probability, 0 to 1/2.

    Args:
        variance: of each class's probability over the draws; `dim` is taken away.
    """
    return variance.sqrt().mean(dim)


def error_histogram(mean_probabilities: Maps, votes: Maps) -> ErrorHistogram:
    """Right and wrong labels of the most likely map by the entropy of their pixels, for one image.

    Args:
        mean_probabilities: `(C, *spatial)`.
        votes: how many raters chose each class, `(C, *spatial)` (`rater_votes`), or with what probability they do. A
            pixel without votes does not count.

    Raises:
        InputError: if the shapes differ.

    The one wrong pixel is the most uncertain:

        >>> import numpy as np
        >>> mean = np.array([[0.9, 0.4, 0.8], [0.1, 0.6, 0.2]])
        >>> error_histogram(mean, np.array([[1, 1, 1], [0, 0, 0]])).auroc()
        1.0
    """
    mean_probabilities, votes = numbers(mean_probabilities), numbers(votes)
    if mean_probabilities.shape != votes.shape:
        raise InputError(
            f"probabilities {tuple(mean_probabilities.shape)} and votes {tuple(votes.shape)} differ in their shape"
        )
    right = votes.gather(0, most_likely(mean_probabilities[None, None])[0, 0][None].long())[0]
    return bin_errors(entropy(mean_probabilities, dim=0), right, votes.sum(0) - right)


def error_histograms(entropies: Tensor, more: PixelUncertainty | None, right: Tensor, wrong: Tensor) -> ErrorHistograms:
    """The histograms of one image by three uncertainties of its pixels.

    Args:
        entropies: of the mean probabilities, `(*spatial)`, nats.
        more: the other uncertainties; None where they are not known.
        right, wrong: as for `bin_errors`.

    Raises:
        InputError: if the shapes differ.
    """
    shapes = [] if more is None else [tuple(one.shape) for one in more]
    if any(shape != entropies.shape for shape in shapes):
        raise InputError(f"mutual information and spread have shapes {shapes}, the image has {tuple(entropies.shape)}")
    others = [no_errors()] * 2 if more is None else [bin_errors(one, right, wrong) for one in more]
    return ErrorHistograms(bin_errors(entropies, right, wrong), *others)


def bin_errors(uncertainty: Maps, right: Maps, wrong: Maps) -> ErrorHistogram:
    """The histogram of given weights: how many raters agree and disagree with the prediction at each pixel.

    Args:
        uncertainty: of each pixel, `(*spatial)`, at least 0.
        right: `(*spatial)`, at least 0.
        wrong: `(*spatial)`, at least 0; rounding below 0 is taken as 0.
    """
    # A comparison with edges, not a logarithm, so that of two uncertainties the larger is never in the lower bin.
    index = torch.bucketize(numbers(uncertainty).float().cpu().flatten(), _EDGES, right=True)
    return ErrorHistogram(
        *(
            torch.bincount(index, numbers(weights).cpu().flatten().double().clamp_(min=0), minlength=NUM_ENTROPY_BINS)
            for weights in (right, wrong)
        )
    )


def no_errors() -> ErrorHistogram:
    """The histogram of an image that does not count."""
    nothing = torch.zeros(NUM_ENTROPY_BINS, dtype=torch.float64)
    return ErrorHistogram(nothing, nothing.clone())
