"""Weights on the simplex, against every face in turn and against the conditions of Karush, Kuhn and Tucker."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from plurimask.sets.simplex import Numbers, simplex_weights


def problem(size: int, rank: int, seed: int, far: float = 1.0) -> tuple[Numbers, Numbers]:
    """K positive semidefinite of a rank, and a pull that is `far` from being met by weights on the simplex."""
    random = np.random.default_rng(seed)
    factor = random.normal(size=(size, rank))
    return factor @ factor.T, far * random.normal(size=size)


def value(weights: Numbers, kernel: Numbers, pull: Numbers) -> float:
    return float(weights @ kernel @ weights - 2 * pull @ weights)


def best_of_all_faces(kernel: Numbers, pull: Numbers) -> float:
    """The least value at a stationary point within any face: the minimum of a convex program is one of them."""
    values = []
    for count in range(1, len(pull) + 1):
        for face in map(list, itertools.combinations(range(len(pull)), count)):
            system = np.block(
                [[kernel[np.ix_(face, face)], np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]]
            )
            solution = np.linalg.lstsq(system, np.append(pull[face], 1.0), rcond=None)[0][:count]
            if solution.min() >= 0 and abs(solution.sum() - 1) < 1e-9:
                values.append(value(solution, kernel[np.ix_(face, face)], pull[face]))
    return min(values)


@pytest.mark.parametrize("size", [1, 2, 4, 7])
@pytest.mark.parametrize("far", [0.05, 1.0, 20.0])
def test_no_face_has_less(size: int, far: float) -> None:
    for seed in range(12):
        kernel, pull = problem(size, size, seed, far)
        weights = simplex_weights(kernel, pull)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1, abs=1e-12)
        assert value(weights, kernel, pull) == pytest.approx(best_of_all_faces(kernel, pull), abs=1e-8)


@pytest.mark.parametrize(("size", "rank"), [(16, 16), (16, 5), (40, 12), (23, 1)])
def test_the_conditions_of_a_minimum_hold(size: int, rank: int) -> None:
    """The gradient is the same wherever there is weight, and nowhere less: also where K is singular."""
    for seed in range(10):
        kernel, pull = problem(size, rank, seed)
        weights = simplex_weights(kernel, pull)
        gradient = kernel @ weights - pull
        common = float(weights @ gradient)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(gradient[weights > 0], common, atol=1e-6)
        assert gradient.min() >= common - 1e-6


def test_of_equal_points_each_has_its_part() -> None:
    kernel, pull = np.ones((5, 5)), np.full(5, 0.4)
    np.testing.assert_allclose(simplex_weights(kernel, pull).sum(), 1)
    assert value(simplex_weights(kernel, pull), kernel, pull) == pytest.approx(1 - 0.8)
