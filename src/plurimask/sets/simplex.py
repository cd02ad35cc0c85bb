"""Weights on the simplex: an exact quadratic program, by active sets.

    minimise   w' K w - 2 a' w    over   w >= 0,  sum w = 1           K symmetric and positive semidefinite

On a face, where some weights are 0 and the others are free, the minimum solves a linear system,

    | K_FF  1 | | w_F |   | a_F |
    |  1'   0 | |  m  | = |  1  |

Where it lies outside of the face, the weights go towards it until the first is 0, which then is held there; where it
lies inside, the held weight whose multiplier g_j + m, g = K w - a, is the most negative is set free. The value falls
with every face, so none is met twice, and where no multiplier is negative the conditions of Karush, Kuhn and Tucker
hold: w is the minimum. (Nocedal and Wright, Numerical Optimization, 2006, section 16.5.)
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]

RIDGE = 1e-10
"""Added to the diagonal of K: where many weights are equally good, these are the most even ones."""
TOLERANCE = 1e-10
"""A multiplier above -TOLERANCE is taken for 0."""


def face_system(kernel: Numbers) -> Numbers:
    """The matrix `(m + 1, m + 1)` of the linear system of a face of m free weights, of its part `(m, m)` of K."""
    size = len(kernel)
    system = np.ones((size + 1, size + 1))
    system[:size, :size] = kernel
    system[np.arange(size), np.arange(size)] += RIDGE
    system[size, size] = 0
    return system


def simplex_weights(kernel: Numbers, pull: Numbers) -> Numbers:
    """The weights `(m,)` that minimise w' K w - 2 a' w on the simplex.

    Args:
        kernel: K, `(m, m)`, symmetric and positive semidefinite.
        pull: a, `(m,)`.

    Of two points that are wholly different both are pulled at, or only one is:

        >>> simplex_weights(np.eye(2), np.array([0.7, 0.3])).round(6).tolist()
        [0.7, 0.3]
        >>> simplex_weights(np.eye(2), np.array([2.0, 0.3])).tolist()
        [1.0, 0.0]
    """
    weights, least = np.zeros(len(pull)), np.inf
    free = np.array([np.argmin(kernel.diagonal() - 2 * pull)])
    weights[free] = 1
    while True:
        solution = np.linalg.solve(face_system(kernel[np.ix_(free, free)]), np.append(pull[free], 1.0))
        now, wanted, multiplier = weights[free], solution[:-1], solution[-1]
        if wanted.min() <= 0:
            leaves = wanted <= 0
            steps = np.where(leaves, now / np.where(leaves, now - wanted, 1), np.inf)
            weights[free] = np.maximum(now + steps.min() * (wanted - now), 0)
            weights[free[steps.argmin()]] = 0
            free = np.delete(free, steps.argmin())
            continue
        found = np.zeros(len(pull))
        found[free] = wanted / wanted.sum()
        gradient = kernel @ found - pull
        value = float(found @ (gradient - pull))
        if value >= least:  # the last face was the best: what is left to gain is lost in rounding
            return weights
        weights, least = found, value
        held = np.where(found > 0, 0, gradient + multiplier)
        if held.min() >= -TOLERANCE:
            return weights
        free = np.append(free, held.argmin())
