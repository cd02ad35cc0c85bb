"""Hungarian-matched IoU: how well samples and raters agree when they are paired as well as they can be.

Kohl et al., A Hierarchical Probabilistic U-Net, 2019, appendix B. The n samples and the m raters are each repeated to
their least common multiple, so that every map has the same weight, and paired one to one.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from plurimask.metrics.maps import Maps, numbers


def hungarian_iou(distances: Maps) -> float:
    """The mean IoU of the best one-to-one pairing, from 0 to 1.

    Args:
        distances: `(N, m)`, d = 1 - IoU between N samples and m raters (`ImageDistances.crossed`).

    Returns:
        NaN if there are no samples, no raters, or no distances.

    Two samples fit one rater each, crosswise, and the third is at 0.5 from both:

        >>> import numpy as np
        >>> round(hungarian_iou(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])), 4)
        0.8333
    """
    cost = numbers(distances).double().cpu().numpy()
    num_samples, num_raters = cost.shape
    if cost.size == 0 or bool(np.isnan(cost).any()):
        return math.nan
    common = math.lcm(num_samples, num_raters)
    if common > num_samples:
        cost = cost.repeat(common // num_samples, axis=0)
    if common > num_raters:
        cost = cost.repeat(common // num_raters, axis=1)
    matched = cost[linear_sum_assignment(cost)]
    return float(1 - matched.mean())
