"""Moments of rectified Gaussians and of the larger of two: exact, however far in the tails, and never negative."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import pytest
import torch
from naive_moments import assert_within_errors, drawn
from torch import Tensor

from plurimask.nn.moments import Moments
from plurimask.nn.moments.fused import learned_leaky
from plurimask.nn.moments.gaussian import larger_moments, leaky_moments, leaky_moments_into, normal_by_ratio

SLOPES = [0.0, 0.01, 0.3, 1.0, -0.5, 1.7]
RATIOS = [-13.0, -8.0, -5.5, -3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0, 5.5, 8.0, 13.0]
VARIANCES = [1e-12, 1e-5, 1.0, 3e6, 1e12]


def grid(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Means and variances of all pairs of a ratio mu / sigma and a variance."""
    ratios, variances = torch.tensor(RATIOS, dtype=torch.float64), torch.tensor(VARIANCES, dtype=torch.float64)
    ratio, variance = (one.flatten() for one in torch.meshgrid(ratios, variances, indexing="ij"))
    return (ratio * variance.sqrt()).to(dtype), variance.to(dtype)


def precise_leaky(mean: float, variance: float, slope: float) -> tuple[float, float]:
    """With 80 digits, as the difference of the second moment and the squared mean."""
    with mpmath.workdps(80):
        mu, v, k = mpmath.mpf(mean), mpmath.mpf(variance), mpmath.mpf(slope)
        sigma = mpmath.sqrt(v)
        above, density = mpmath.ncdf(mu / sigma), mpmath.npdf(mu / sigma)
        below = mpmath.ncdf(-mu / sigma)
        first = mu * above + sigma * density + k * (mu * below - sigma * density)
        upper = (mu**2 + v) * above + mu * sigma * density
        lower = (mu**2 + v) * below - mu * sigma * density
        return float(first), float(upper + k**2 * lower - first**2)


def precise_larger(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    with mpmath.workdps(80):
        (m1, v1), (m2, v2) = (tuple(map(mpmath.mpf, pair)) for pair in (one, other))
        theta = mpmath.sqrt(v1 + v2)
        a = (m1 - m2) / theta
        above, below, density = mpmath.ncdf(a), mpmath.ncdf(-a), mpmath.npdf(a)
        first = m1 * above + m2 * below + theta * density
        second = (m1**2 + v1) * above + (m2**2 + v2) * below + (m1 + m2) * theta * density
        return float(first), float(second - first**2)


def written(mean: Tensor, variance: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    out = (torch.full_like(mean, torch.nan), torch.full_like(mean, torch.nan))
    leaky_moments_into(out, torch.empty(4, len(mean), dtype=mean.dtype), mean, variance, slope, 0.0)
    return out


def overwritten(mean: Tensor, variance: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    mean, variance = mean.clone(), variance.clone()
    scratch = torch.full((4, len(mean)), torch.nan, dtype=mean.dtype)
    leaky_moments_into((mean, variance), scratch, mean, variance, slope, 0.5)
    return mean, variance - 0.5


def as_compiled(mean: Tensor, variance: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    """By what takes the place of `erfc` in compiled code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        return leaky_moments(mean, variance, slope)


def of_all(formula: Callable[..., tuple[float, float]], *arguments: list[object]) -> tuple[Tensor, Tensor]:
    values = [formula(*one) for one in zip(*arguments, strict=True)]
    mean, variance = torch.tensor(values, dtype=torch.float64).unbind(1)
    return mean, variance


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 3e-15), (torch.float32, 5e-7)])
@pytest.mark.parametrize("formula", [leaky_moments, written, as_compiled])
@pytest.mark.parametrize("slope", SLOPES)
def test_a_leaky_relu_is_right_to_the_last_digits(
    slope: float, formula: Callable[..., tuple[Tensor, Tensor]], dtype: torch.dtype, digits: float
) -> None:
    """In units of what comes in: the mean of |mu| + sigma, the variance of v."""
    mean, variance = grid(dtype)
    expected = of_all(precise_leaky, mean.tolist(), variance.tolist(), [slope] * len(mean))
    got = formula(mean, variance, slope)
    scale = mean.double().abs() + variance.double().sqrt()
    assert float(((got[0].double() - expected[0]) / scale).abs().max()) < digits
    assert float(((got[1].double() - expected[1]) / variance.double()).abs().max()) < digits


def test_a_relu_is_right_far_below_zero() -> None:
    """Where nearly nothing comes through, the little that does is still right in its own leading digits."""
    mean, variance = grid(torch.float64)
    expected = of_all(precise_leaky, mean.tolist(), variance.tolist(), [0.0] * len(mean))
    for got, right in zip(leaky_moments(mean, variance, 0.0), expected, strict=True):
        torch.testing.assert_close(got, right, rtol=2e-9, atol=0)
    mean, variance = (one[mean >= -8 * variance.sqrt()].float() for one in (mean, variance))
    expected = of_all(precise_leaky, mean.tolist(), variance.tolist(), [0.0] * len(mean))
    for got, right in zip(leaky_moments(mean, variance, 0.0), expected, strict=True):
        torch.testing.assert_close(got.double(), right, rtol=3e-3, atol=0)


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_inputs_may_be_overwritten_and_a_floor_is_added(slope: float) -> None:
    mean, variance = grid(torch.float64)
    got, expected = overwritten(mean, variance, slope), leaky_moments(mean, variance, slope)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(got[1], expected[1], rtol=1e-12, atol=1e-14)
    raised = leaky_moments(mean, variance, slope, floor=0.5)
    assert torch.equal(raised[1], expected[1] + 0.5)


def test_by_mills_ratio_the_distribution_function_and_the_density_have_the_digits_of_float32() -> None:
    a = torch.linspace(-12.5, 12.5, 2001)
    above, density = normal_by_ratio(a)
    with mpmath.workdps(30):
        right = torch.tensor([[float(mpmath.ncdf(one)), float(mpmath.npdf(one))] for one in a.tolist()]).double()
    spread = 3e-7 * a.double().square() + 1e-6  # what the rounding of a^2 does to the exponential
    assert bool(((above.double() / right[:, 0] - 1).abs() < spread).all())
    assert bool(((density.double() / right[:, 1] - 1).abs() < spread).all())


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 3e-15), (torch.float32, 5e-7)])
@pytest.mark.parametrize("ratio", [1e-6, 1.0, 50.0])
def test_the_larger_of_two_is_right_to_the_last_digits(ratio: float, dtype: torch.dtype, digits: float) -> None:
    """In units of what comes in: the mean of |mu1| + |mu2| + theta, the variance of v1 + v2."""
    distance, total = grid(torch.float64)
    mean2 = torch.linspace(-1.3, 0.7, len(distance), dtype=torch.float64) * total.sqrt()
    variance1 = total / (1 + ratio)
    values = [one.to(dtype) for one in (mean2 + distance, variance1, mean2, total - variance1)]
    m1, v1, m2, v2 = (one.double() for one in values)
    pairs = [list(zip(m.tolist(), v.tolist(), strict=True)) for m, v in ((m1, v1), (m2, v2))]
    expected = of_all(precise_larger, *pairs)
    got = larger_moments(*values)
    scale = m1.abs() + m2.abs() + (v1 + v2).sqrt()
    assert float(((got[0].double() - expected[0]) / scale).abs().max()) < digits
    assert float(((got[1].double() - expected[1]) / (v1 + v2)).abs().max()) < digits
    assert bool((got[1] >= 0).all())


@pytest.mark.parametrize("slope", SLOPES)
def test_a_leaky_relu_is_within_four_standard_errors_of_draws(slope: float) -> None:
    ratio, variance = torch.meshgrid(torch.linspace(-2, 3, 6), torch.tensor([0.01, 1.0, 30.0]), indexing="ij")
    x = Moments((ratio * variance.sqrt()).double(), variance.double())
    samples = drawn(lambda values: torch.where(values > 0, values, slope * values), x, 200_000)
    assert_within_errors(Moments(*leaky_moments(*x, slope)), samples)


def test_the_larger_of_two_is_within_four_standard_errors_of_draws() -> None:
    ratio, share = torch.meshgrid(torch.linspace(-3, 3, 7), torch.tensor([0.02, 0.5, 0.9]), indexing="ij")
    mean = torch.stack([1.5 + 2 * ratio, torch.full_like(ratio, 1.5)]).double()
    x = Moments(mean, torch.stack([4 * share, 4 * (1 - share)]).double())
    samples = drawn(lambda values: values.amax(1), x, 200_000)
    got = larger_moments(mean[0], x.variance[0], mean[1], x.variance[1])
    assert_within_errors(Moments(*got), samples)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("formula", [leaky_moments, written, as_compiled])
def test_without_variance_the_values_are_exactly_those_of_the_layer(
    formula: Callable[..., tuple[Tensor, Tensor]], dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4000, generator=generator, dtype=dtype) * 10 ** torch.linspace(-6, 6, 4000, dtype=dtype)
    nothing = torch.zeros_like(mean)
    for slope in (0.0, 0.3):
        got = formula(mean, nothing, slope)
        assert torch.equal(got[0], torch.nn.functional.leaky_relu(mean, slope))
        assert torch.equal(got[1], nothing)
        zero = formula(nothing[:1], nothing[:1], slope)
        assert zero[1] == 0 and float(zero[0]) < 1e-18
    larger = larger_moments(mean, nothing, mean.flip(0), nothing)
    assert torch.equal(larger[0], torch.maximum(mean, mean.flip(0)))
    assert torch.equal(larger[1], nothing)


def test_a_slope_of_one_changes_nothing() -> None:
    mean, variance = grid(torch.float64)
    got = leaky_moments(mean, variance, 1.0)
    torch.testing.assert_close(got[0], mean, rtol=1e-14, atol=1e-13)
    torch.testing.assert_close(got[1], variance, rtol=1e-14, atol=0)


def test_a_slope_for_each_channel_is_a_slope_each() -> None:
    mean, variance = (one.view(13, 5) for one in grid(torch.float64))
    slopes = torch.tensor([0.0, 0.1, 0.25, -0.3, 2.0], dtype=torch.float64)
    got = learned_leaky(mean, variance, slopes)
    for column, slope in enumerate(slopes.tolist()):
        expected = leaky_moments(mean[:, column], variance[:, column], slope)
        torch.testing.assert_close(got[0][:, column], expected[0], rtol=1e-14, atol=0)
        torch.testing.assert_close(got[1][:, column], expected[1], rtol=2e-9, atol=0)


def test_the_published_forms_turn_negative_where_these_do_not() -> None:
    """A second moment minus a squared mean, in float32: nothing is left of a variance of 1e-3 beside a mean of 100."""
    generator = torch.Generator().manual_seed(3)
    mean, other = torch.randn(2, 100_000, generator=generator) * 100
    variance = torch.full_like(mean, 1e-3)
    normal = torch.distributions.Normal(0.0, 1.0)

    sigma = variance.sqrt()
    above, density = normal.cdf(mean / sigma), normal.log_prob(mean / sigma).exp()
    first = mean * above + sigma * density
    published = (mean.square() + variance) * above + mean * sigma * density - first.square()
    assert float((published < 0).float().mean()) > 1e-3
    assert bool((leaky_moments(mean, variance, 0.0)[1] >= 0).all())

    theta = (2 * variance).sqrt()
    above, density = normal.cdf((mean - other) / theta), normal.log_prob((mean - other) / theta).exp()
    first = theta * density + (mean - other) * above + other
    second = (mean + other) * theta * density + (mean.square() + variance) * above
    published = second + (other.square() + variance) * (1 - above) - first.square()
    assert float((published < 0).float().mean()) > 1e-4
    assert bool((larger_moments(mean, variance, other, variance)[1] >= 0.3 * variance).all())
