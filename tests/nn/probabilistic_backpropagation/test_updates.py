"""What is known after data: Gaussians, gammas and the prior's factors against exact answers and integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import gammaln, ndtr
from torch import Tensor

from plurimask.nn.probabilistic_backpropagation import (
    Gamma,
    PriorFactors,
    after_one,
    class_evidence,
    evidence_curvature,
    fan_in,
    matched,
    step_share,
    update_,
)


def test_a_gaussian_datum_gives_the_exact_posterior() -> None:
    m, v, x, y, noise = np.array([0.3, -1.0]), np.array([0.7, 2.0]), 1.5, 0.4, 0.6
    total = x**2 * v + noise  # of y given each weight alone
    of_mean = x * (y - x * m) / total
    of_variance = 0.5 * x**2 * ((y - x * m) ** 2 / total**2 - 1 / total)
    mean, variance = after_one(m, v, of_mean, of_variance)
    want = 1 / (1 / v + x**2 / noise)
    np.testing.assert_allclose(variance, want)
    np.testing.assert_allclose(mean, want * (m / v + x * y / noise))


def test_a_label_gives_the_moments_of_an_integral() -> None:
    """Phi(w), whose evidence is Phi(m / sqrt(1 + v))."""
    m, v = np.array(-0.8), np.array(1.7)

    def log_z(m: float, v: float) -> float:
        return float(np.log(ndtr(m / math.sqrt(1 + v))))

    step = 1e-5
    of_mean = (log_z(m + step, v) - log_z(m - step, v)) / (2 * step)
    of_variance = (log_z(m, v + step) - log_z(m, v - step)) / (2 * step)
    mean, variance = after_one(m, v, np.array(of_mean), np.array(of_variance))
    w = np.linspace(-12, 12, 40_001)
    density = np.exp(-0.5 * (w - m) ** 2 / v) * ndtr(w)
    density /= density.sum()
    np.testing.assert_allclose(mean, (w * density).sum(), rtol=1e-4)
    np.testing.assert_allclose(variance, ((w - mean) ** 2 * density).sum(), rtol=1e-4)


def test_an_update_to_no_variance_is_undone() -> None:
    m, v = np.array([1.0, 1.0]), np.array([0.5, 0.5])
    mean, variance = after_one(m, v, np.array([0.1, 0.1]), np.array([0.0, -2.0]))  # v^2 (g^2 - 2 h) = 1.0025 > v
    np.testing.assert_allclose(mean, [1.05, 1.0])
    assert variance[1] == 0.5
    assert 0 < variance[0] < 0.5
    means, variances = torch.ones(3), torch.full((3,), 0.5)
    left = update_(means, variances, torch.tensor([0.1, 0.1, math.nan]), torch.tensor([0.2, -1.0, 0.3]))
    torch.testing.assert_close(means, torch.tensor([1.1, 1.0, 1.0]))
    torch.testing.assert_close(variances, torch.tensor([0.2, 0.5, 0.5]))
    assert int(left) == 2


def test_many_data_at_once_give_the_posterior_of_an_orthogonal_design() -> None:
    """Two weights, 2,000 data that each say little: exact after one update by all of them."""
    random = np.random.default_rng(0)
    x, noise, v = np.linalg.qr(random.normal(size=(2000, 2)))[0] * 40, 400.0, torch.tensor([0.8, 0.8]).double()
    y = x @ [0.5, -0.3] + random.normal(size=2000) * math.sqrt(noise)
    inputs, outputs = torch.from_numpy(x), torch.from_numpy(y)
    kappa = 1 / (noise + inputs.square() @ v)
    gradient, curvature = inputs.T @ (kappa * outputs), inputs.square().T @ kappa
    mean, variance, step = torch.zeros(2).double(), v.clone(), v * gradient
    share = step_share([step], [v], (kappa * (inputs @ step).square()).sum())
    update_(mean, variance, share * step, v / (1 + v * curvature))
    precision = 1 / 0.8 + (x**2).sum(0) / noise
    np.testing.assert_allclose(mean, x.T @ y / noise / precision, rtol=5e-3)
    np.testing.assert_allclose(variance, 1 / precision, rtol=5e-3)


def test_weights_that_move_together_do_not_go_too_far() -> None:
    """A thousand weights of one output, whose sum is asked to be 1: alone each would go a good part of the way."""
    v, noise = torch.ones(1000), 0.1
    total = noise + float(v.sum())
    step = v * (1 / total) * 50  # of 50 data alike
    share = step_share([step], [v], 50 / total * step.sum().square())
    assert float(step.sum()) > 40
    assert 0.9 < float(share * step.sum()) < 1.1


def test_the_gamma_of_a_precision_is_exact_where_the_evidence_is() -> None:
    """Student's t: the gamma after y is Gam(a + 1/2, b + y^2 / 2)."""
    y = np.array([0.3, -2.0, 5.0])

    def log_student(gamma: Gamma) -> np.ndarray:
        a, b = gamma
        total: np.ndarray = gammaln(a + 0.5) - gammaln(a) - 0.5 * np.log(2 * math.pi * b)
        return total - (a + 0.5) * np.log1p(y**2 / (2 * b))

    for a in (2.0, 6.0, 300.0, 40_000.0):
        after = matched(Gamma(np.full(3, a), np.full(3, 0.7 * a)), log_student)
        np.testing.assert_allclose(after.shape, a + 0.5, rtol=1e-5)
        np.testing.assert_allclose(after.rate, 0.7 * a + y**2 / 2, rtol=1e-5)
    before = Gamma(np.array([3.0]), np.array([2.0]))
    assert matched(before, lambda gamma: 5 * gamma.shape**2) == before  # no gamma has such moments
    assert matched(before, lambda gamma: np.array([math.nan])) == before


def test_the_precision_of_weights_that_are_known_is_that_of_their_gamma() -> None:
    random, inputs = np.random.default_rng(1), fan_in([(40, 9), (40,), (30, 40), (30,)])
    assert inputs[:360].tolist() == [10.0] * 360
    assert set(inputs[360:]) == {10.0, 41.0}
    weights = random.normal(size=len(inputs)) / np.sqrt(4 * inputs)
    factors = PriorFactors(inputs)
    for _ in range(10):
        mean, variance = factors.refine(weights, np.full(len(inputs), 1e-9))
    np.testing.assert_allclose(mean, weights, rtol=1e-4)
    exact = 6 + len(weights) / 2, 6 + (inputs * weights**2).sum() / 2
    np.testing.assert_allclose([factors.gamma.shape, factors.gamma.rate], exact, rtol=0.02)
    np.testing.assert_allclose(1 / variance - 1e9, 0, atol=1e9 * 1e-5)


def test_weights_that_data_say_nothing_of_leave_the_prior() -> None:
    factors = PriorFactors(np.array([4.0, 5.0]))
    mean, variance = factors.refine(np.zeros(2), 1 / factors.weight_precision)
    np.testing.assert_allclose(variance, [1.2 / 4, 1.2 / 5])
    assert (float(factors.gamma.shape), float(factors.gamma.rate)) == (6, 6)
    assert not mean.any()


def test_a_known_precision_is_kept_and_a_belief_refined_twice_stays() -> None:
    factors = PriorFactors(np.full(3, 7.0), precision=2.0)
    belief = np.array([0.5, -0.2, 0.1]), np.array([0.01, 0.02, 0.03])
    for _ in range(2):
        for got, want in zip(factors.refine(*belief), belief, strict=True):
            np.testing.assert_allclose(got, want)
    learnt = PriorFactors(np.full(3, 7.0))
    for _ in range(60):
        belief = learnt.refine(*belief)
    for got, want in zip(learnt.refine(*belief), belief, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_factors_are_stored_and_taken_up() -> None:
    factors, other = PriorFactors(np.full(3, 7.0)), PriorFactors(np.full(3, 7.0))
    belief = factors.refine(np.array([0.5, -0.2, 0.1]), np.array([0.01, 0.02, 0.03]))
    other.restore(factors.state())
    for got, want in zip(other.refine(*belief), factors.refine(*belief), strict=True):
        np.testing.assert_array_equal(got, want)


def scores(num_classes: int, spread: float, number: int = 150) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    mean = 2 * torch.randn(number, num_classes, generator=generator, dtype=torch.float64)
    variance = spread * 2 * torch.rand(number, num_classes, generator=generator, dtype=torch.float64)
    return mean, variance, torch.randint(num_classes, (number,), generator=generator)


ERRORS = {2: (0.06, 0.06), 3: (0.12, 0.17), 5: (0.2, 0.33), 24: (0.45, 1.0)}
"""Mean absolute error of ln Z that is allowed, for scores of mean variance 0.5 and 4, by the number of classes."""


@pytest.mark.parametrize("num_classes", ERRORS)
def test_the_evidence_of_a_class_is_near_draws(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(9)
    for spread, most in zip((0.5, 4.0), ERRORS[num_classes], strict=True):
        mean, variance, labels = scores(num_classes, spread)
        noise = torch.randn(800, *mean.shape, generator=generator, dtype=torch.float64)
        drawn = (mean + variance.sqrt() * noise).softmax(2).mean(0).gather(1, labels[:, None])[:, 0].log()
        error = float((class_evidence(mean, variance, labels) - drawn).abs().mean())
        without = float((mean.log_softmax(1).gather(1, labels[:, None])[:, 0] - drawn).abs().mean())
        assert error < most
        assert num_classes == 24 or error < without


def test_the_evidence_does_not_see_what_all_scores_share_and_is_a_probability() -> None:
    mean, variance, labels = scores(3, 1.0)
    log_z = class_evidence(mean, variance, labels)
    torch.testing.assert_close(class_evidence(mean + 7, variance, labels), log_z)
    assert bool((log_z <= 0).all())
    two = scores(2, 1.0)
    first, second = (class_evidence(*two[:2], torch.full_like(two[2], label)).exp() for label in (0, 1))
    torch.testing.assert_close(first + second, torch.ones_like(first))
    maps = class_evidence(mean.T[None, :, :, None], variance.T[None, :, :, None], labels[None, :, None])
    torch.testing.assert_close(maps[0, :, 0], log_z)


def test_the_curvature_is_that_of_the_evidence_and_never_below_0() -> None:
    mean, variance, labels = scores(5, 2.0, 12)
    got = evidence_curvature(mean, variance, labels)
    for row in range(len(labels)):
        part = slice(row, row + 1)
        hessian = torch.autograd.functional.hessian(
            lambda own, part=part: class_evidence(own, variance[part], labels[part]).sum(), mean[part]
        )
        torch.testing.assert_close(got[row], -hessian[0, :, 0].diagonal())
    assert bool((got >= 0).all())
