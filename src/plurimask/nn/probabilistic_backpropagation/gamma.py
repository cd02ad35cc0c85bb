"""What is believed of a precision: a gamma distribution, matched to the first two moments after a datum.

If Z(a, b) is the evidence of a datum under Gam(a, b), then the moments of the precision after it are

    E[x] = Z(a + 1, b) / Z(a, b) a / b          E[x^2] = Z(a + 2, b) / Z(a, b) a (a + 1) / b^2

so that the gamma of these moments has, with Z1 = Z(a + 1, b) and Z2 = Z(a + 2, b),

    a' = [Z Z2 / Z1^2 (a + 1) / a - 1]^-1       b' = [Z2 / Z1 (a + 1) / b - Z1 / Z a / b]^-1 .

Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable Learning of Bayesian Neural Networks", ICML
2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


class Gamma(NamedTuple):
    """Gam(x | shape, rate), of a precision x, or of as many as the two have elements."""

    shape: Array
    rate: Array

    @property
    def mean_variance(self) -> Array:
        """E[1 / x] = b / (a - 1), for a above 1: of a Gaussian of this precision, whatever the precision is."""
        return self.rate / (self.shape - 1)


def matched(prior: Gamma, log_evidence: Callable[[Gamma], Array]) -> Gamma:
    """The gamma after a datum. Where that would be none whose `mean_variance` exists, the one before.

    Args:
        prior: before it, one for each element.
        log_evidence: of the datum under a gamma, ln Z, element by element.
    """
    a, b = prior
    z, z1, z2 = (log_evidence(Gamma(a + more, b)) for more in range(3))
    with np.errstate(all="ignore"):  # what is no gamma is not taken
        # As 1 / (x - 1) of an x close to 1, which has no digits left where much has been seen.
        shape = 1 / np.expm1(z + z2 - 2 * z1 + np.log1p(1 / a))
        rate = shape * b / a * np.exp(z - z1)  # b', with Z1 / Z a / b taken out of the difference
        is_gamma = (shape > 1) & (rate > 0) & np.isfinite(shape) & np.isfinite(rate)
    return Gamma(np.where(is_gamma, shape, a), np.where(is_gamma, rate, b))
