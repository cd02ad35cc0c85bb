"""Hungarian-matched IoU: how well samples and raters agree when they are paired as well as they can be.

One name, three figures in the literature:

    balanced      n samples and m raters are each repeated to their least common multiple, so that every map has the
                  same weight, and paired one to one (Kohl et al., A Hierarchical Probabilistic U-Net, 2019, appendix B)
    best draws    each rater is paired with a sample of its own, the n - m samples that are left count for nothing: the
                  best 4 of 100 in the released evaluation of flow-SSNs (Ribeiro et al., ICCV 2025). It grows with n.
    prompted      the model is shown a box around all that the raters marked; not measured here
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from plurimask.metrics.maps import Maps, numbers


class HungarianIoU(NamedTuple):
    """Of one image, 0 to 1; NaN where a figure does not exist."""

    balanced: float
    best_draws: float


def hungarian_iou_balanced(distances: Maps) -> float:
    """The mean IoU of the best one-to-one pairing of all samples and raters, each as often as needed, from 0 to 1.

    Args:
        distances: `(N, m)`, d = 1 - IoU between N samples and m raters (`ImageDistances.crossed`).

    Returns:
        NaN if there are no samples, no raters, or no distances.

    Two samples fit one rater each, crosswise, and the third is at 0.5 from both:

        >>> import numpy as np
        >>> round(hungarian_iou_balanced(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])), 4)
        0.8333
    """
    cost = _cost(distances)
    if cost is None:
        return math.nan
    num_samples, num_raters = cost.shape
    common = math.lcm(num_samples, num_raters)
    cost = cost.repeat(common // num_samples, axis=0).repeat(common // num_raters, axis=1)
    return _mean_iou(cost)


def hungarian_iou_best_draws(distances: Maps) -> float:
    """The mean IoU over raters, each paired with another sample, the best ones of all, from 0 to 1.

    What the samples that are left over show does not matter: of many draws the best m are always good. It says whether
    what raters drew is drawn at all, not how often.

    Args and what is returned as for `hungarian_iou_balanced`; NaN too if there are fewer samples than raters.

        >>> import numpy as np
        >>> hungarian_iou_best_draws(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
        1.0
    """
    cost = _cost(distances)
    return math.nan if cost is None or len(cost) < cost.shape[1] else _mean_iou(cost)


def hungarian_iou(distances: Maps) -> HungarianIoU:
    """Both figures of an image."""
    return HungarianIoU(hungarian_iou_balanced(distances), hungarian_iou_best_draws(distances))


def _cost(distances: Maps) -> NDArray[np.float64] | None:
    """The distances as an array; None if there are none."""
    cost: NDArray[np.float64] = numbers(distances).double().cpu().numpy()
    return None if cost.size == 0 or bool(np.isnan(cost).any()) else cost


def _mean_iou(cost: NDArray[np.float64]) -> float:
    return float(1 - cost[linear_sum_assignment(cost)].mean())
