"""Closed forms of Dirichlets against torch's own and against draws; their draws against the Gamma distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.nn.dirichlet import Dirichlet, dirichlet_of, expected_log_share, gamma_numbers, smoothed_targets
from plurimask.nn.dirichlet import log_gamma_draws as draws_of
from plurimask.nn.moments import Moments

SHAPE = (2, 4, 3, 5)  # B, C, *spatial
TOTALS = [0.03, 0.7, 4.0, 300.0]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def log_gamma_draws(log_shape: Tensor, generator: torch.Generator) -> Tensor:
    return draws_of(log_shape, gamma_numbers(log_shape.shape, generator))


def dirichlet(total: float, dtype: torch.dtype = torch.float64) -> Dirichlet:
    """Random means, and concentrations that sum to about `total`."""
    scores = 1.5 * torch.randn(SHAPE, generator=seeded(), dtype=torch.float64)
    log_scale = 0.3 * torch.randn(2, 3, 5, generator=seeded(1), dtype=torch.float64) - math.log(total)
    return Dirichlet(scores.log_softmax(1).to(dtype), log_scale.to(dtype))


def torchs_own(ours: Dirichlet) -> torch.distributions.Dirichlet:
    return torch.distributions.Dirichlet(ours.log_concentration.double().exp().movedim(1, -1))


@pytest.mark.parametrize("total", TOTALS)
def test_mean_and_variance_are_those_of_torch(total: float) -> None:
    ours, theirs = dirichlet(total), torchs_own(dirichlet(total))
    torch.testing.assert_close(ours.log_mean.exp().movedim(1, -1), theirs.mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.variance().movedim(1, -1), theirs.variance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("total", TOTALS)
def test_moments_and_entropies_are_within_four_standard_errors_of_draws(total: float) -> None:
    ours = dirichlet(total)
    torch.manual_seed(0)
    draws = torchs_own(ours).sample((20_000,)).movedim(-1, 2)
    number = len(draws)

    mean, variance = draws.mean(0), draws.var(0)
    assert bool(((ours.log_mean.exp() - mean).abs() < 4 * (variance / number).sqrt()).all())
    fourth = (draws - mean).pow(4).mean(0)
    # Shares of a small concentration are seldom drawn: their sample's fourth moment is no measure of its error.
    often = ours.log_concentration.exp() > 0.01
    error = ((fourth - variance.square()) / number).sqrt()
    assert bool(((ours.variance() - variance).abs() < 4 * error)[often].all())

    torch.testing.assert_close(ours.entropy(), torch.special.entr(ours.log_mean.exp()).sum(1))
    entropies = torch.special.entr(draws).sum(2)
    away = (ours.expected_entropy() - entropies.mean(0)).abs()
    assert bool((away < 4 * entropies.std(0) / number**0.5).all())
    # The mutual information of label and probabilities, E[KL(p || mean)].
    information = (draws * (draws.clamp(min=1e-300).log() - ours.log_mean)).sum(2)
    away = (ours.entropy() - ours.expected_entropy() - information.mean(0)).abs()
    assert bool((away < 4 * information.std(0) / number**0.5).all())


def test_mutual_information_goes_from_all_of_the_entropy_to_nothing() -> None:
    for total, share in ((1e-6, 1.0), (1e6, 0.0)):
        ours = dirichlet(total)
        information = ours.entropy() - ours.expected_entropy()
        torch.testing.assert_close(information, share * ours.entropy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("total", TOTALS)
def test_log_density_is_that_of_torch(total: float) -> None:
    ours = dirichlet(total)
    targets = torch.randn(SHAPE, generator=seeded(2), dtype=torch.float64).log_softmax(1)
    expected = torchs_own(ours).log_prob(targets.exp().movedim(1, -1))
    torch.testing.assert_close(ours.log_density(targets), expected, rtol=1e-9, atol=1e-9)
    single = dirichlet(total, torch.float32).log_density(targets.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=2e-4)


def test_all_is_finite_however_small_or_large_concentrations_are() -> None:
    """Two classes: one of concentration 1e-30 to 1e6, the other 1e-30, 1 or 1e6; with gradients."""
    log_alpha = torch.linspace(math.log(1e-30), math.log(1e6), 61)
    for other in (1e-30, 1.0, 1e6):
        pair = torch.stack([log_alpha, torch.full_like(log_alpha, math.log(other))])[None]
        log_mean = pair.log_softmax(1).requires_grad_()
        log_scale = (-pair.logsumexp(1)).requires_grad_()
        ours = Dirichlet(log_mean, log_scale)
        for epsilon in (1e-6, 0.01, 0.5):
            targets = torch.tensor([epsilon, 1 - epsilon]).log().view(1, 2, 1).expand(1, 2, 61)
            density = ours.log_density(targets)
            results = (density, ours.entropy(), ours.expected_entropy(), ours.variance())
            gradients = torch.autograd.grad(sum(one.sum() for one in results), (log_mean, log_scale))
            assert all(bool(one.isfinite().all()) for one in (*results, *gradients))
            assert bool((ours.variance() >= 0).all())


def test_log_density_of_tiny_concentrations_is_that_of_their_logarithms() -> None:
    """For alpha -> 0: ln Gamma(sum) - sum ln Gamma(alpha) - sum ln t = - ln sum + sum ln alpha - sum ln t."""
    ours = Dirichlet(torch.tensor([[0.2, 0.3, 0.5]]).double().log()[..., None], torch.full((1, 1), 60.0).double())
    targets = torch.tensor([[0.1, 0.6, 0.3]]).double().log()[..., None]
    expected = 60.0 + (ours.log_mean - 60.0 - targets).sum()
    assert float(ours.log_density(targets)) == pytest.approx(float(expected), rel=1e-12)


def scores() -> Moments:
    mean = torch.randn(SHAPE, generator=seeded(3))
    return Moments(mean, torch.rand(SHAPE, generator=seeded(4)))


def test_both_forms_of_the_scale_by_hand() -> None:
    """Two classes of equal scores with variances 0.09 and 0.07, c1 = 0.2, c2 = 3."""
    x = Moments(torch.zeros(1, 2, 1), torch.tensor([0.09, 0.07]).view(1, 2, 1))
    base, slope = torch.tensor(0.2), torch.tensor(3.0)
    ours = dirichlet_of(x, base, slope, "expected-variance")
    assert float(ours.log_scale.exp()) == pytest.approx(0.2 + 3 * 0.08**0.5, rel=1e-6)
    ours = dirichlet_of(x, base, slope, "released-code")
    assert float(ours.log_scale.exp()) == pytest.approx(1e-4 + 0.2 + 3 * 0.04**0.5, rel=1e-6)
    assert ours.log_mean.exp().flatten().tolist() == pytest.approx([0.5, 0.5])


def test_the_scale_of_each_pixel_is_of_its_own_scores() -> None:
    x, base, slope = scores(), torch.tensor(0.1), torch.tensor(2.0)
    for form, power, least in (("expected-variance", 1, 0.0), ("released-code", 2, 1e-4)):
        ours = dirichlet_of(x, base, slope, form)  # type: ignore[arg-type]
        for b, row, column in ((0, 0, 0), (1, 2, 4), (0, 1, 3)):
            share = torch.softmax(x.mean[b, :, row, column], 0)
            scale = least + 0.1 + 2 * float((share**power * x.variance[b, :, row, column]).sum()) ** 0.5
            assert float(ours.log_scale[b, row, column].exp()) == pytest.approx(scale, rel=1e-5)
            torch.testing.assert_close(ours.log_concentration[b, :, row, column].exp(), share / scale)


@pytest.mark.parametrize("variance", [0.0, 1e-30, 1e12])
def test_gradients_of_the_scale_are_finite(variance: float) -> None:
    mean, base, slope = scores().mean.requires_grad_(), torch.tensor(1e-3).requires_grad_(), torch.tensor(1e-3)
    spread = torch.full(SHAPE, variance).requires_grad_()
    ours = dirichlet_of(Moments(mean, spread), base, slope.requires_grad_(), "expected-variance")
    targets = smoothed_targets(torch.zeros(2, 3, 5, dtype=torch.uint8), 4, 0.01, "uniform", None)
    loss = -ours.log_density(targets).sum()
    gradients = torch.autograd.grad(loss, (mean, spread, base, slope))
    assert all(bool(one.isfinite().all()) for one in (loss, *gradients))


# ---- targets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("smoothing", [1e-4, 0.01, 0.3])
def test_smoothed_targets_are_shares_in_the_stated_range(classes: int, smoothing: float) -> None:
    labels = torch.randint(classes, (3, 40, 50), generator=seeded(), dtype=torch.uint8)
    hot = torch.nn.functional.one_hot(labels.long(), classes).movedim(-1, 1).bool()
    uniform = smoothed_targets(labels, classes, smoothing, "uniform", None).exp()
    torch.testing.assert_close(uniform, hot * (1 - smoothing) + smoothing / classes)

    random = smoothed_targets(labels, classes, smoothing, "random", seeded(1)).exp()
    assert random.shape == (3, classes, 40, 50)
    torch.testing.assert_close(random.sum(1), torch.ones(3, 40, 50))
    torch.testing.assert_close(random[hot], torch.full((6000,), 1 - smoothing))
    others = random[~hot] / smoothing
    least, most = 0.1 / (0.1 + (classes - 2)), 1 / (1 + 0.1 * (classes - 2))
    assert float(others.min()) >= least * (1 - 1e-4)
    assert float(others.max()) <= most * (1 + 1e-4)
    if classes == 3:  # both ends of the range are reached
        assert float(others.min()) < least + 0.03
        assert float(others.max()) > most - 0.03
    again = smoothed_targets(labels, classes, smoothing, "random", seeded(1)).exp()
    assert torch.equal(again, random)


def test_pixels_to_ignore_have_some_target() -> None:
    labels = torch.tensor([[0, 1, IGNORE]], dtype=torch.uint8)
    for kind in ("random", "expected", "uniform"):
        targets = smoothed_targets(labels, 2, 0.1, kind, seeded())  # type: ignore[arg-type]
        assert bool(targets.isfinite().all())


# ---- draws --------------------------------------------------------------------------------------------------------


def log_gamma_cdf(log_draws: np.ndarray, shape: float) -> np.ndarray:
    """P(X <= x) of log x: the regularised incomplete gamma function, x^shape / Gamma(shape + 1) where x is tiny."""
    tiny = np.exp(np.minimum(shape * log_draws - special.gammaln(shape + 1), 0))
    return np.where(log_draws < -40, tiny, special.gammainc(shape, np.exp(np.maximum(log_draws, -40))))


@pytest.mark.parametrize("shape", [1e-2, 0.1, 0.5, 1.0, 3.0, 40.0, 1e3])
def test_draws_are_gamma_distributed(shape: float) -> None:
    """Kolmogorov and Smirnov's test, on the logarithms."""
    draws = log_gamma_draws(torch.full((30_000,), math.log(shape)), seeded(5)).double().numpy()
    assert stats.kstest(draws, lambda values: log_gamma_cdf(values, shape)).pvalue > 0.01
    # It would notice shapes that are wrong by a tenth.
    assert stats.kstest(draws, lambda values: log_gamma_cdf(values, 1.1 * shape)).pvalue < 1e-4


def test_draws_of_two_classes_have_the_shares_of_a_beta_distribution() -> None:
    alpha = torch.tensor([0.4, 1.7]).log().view(2, 1).expand(2, 30_000)
    shares = log_gamma_draws(alpha.contiguous(), seeded(6)).double().softmax(0)[0].numpy()
    assert stats.kstest(shares, stats.beta(0.4, 1.7).cdf).pvalue > 0.01


@pytest.mark.parametrize("log_shape", [math.log(1e-30), math.log(1e-6), -200.0, math.log(1e6)])
def test_draws_of_any_shape_are_finite(log_shape: float) -> None:
    draws = log_gamma_draws(torch.full((5, 200), log_shape), seeded())
    assert bool(draws.isfinite().all())
    if log_shape < -10:  # the logarithm is that of a uniform number over the shape
        assert float(draws.mean()) < -1e4


def test_a_seed_gives_the_same_draws() -> None:
    log_shape = torch.randn(3, 5, 7, generator=seeded())
    draws = log_gamma_draws(log_shape, seeded(8))
    assert torch.equal(log_gamma_draws(log_shape, seeded(8)), draws)
    assert not torch.equal(log_gamma_draws(log_shape, seeded(9)), draws)


def test_a_changed_shape_changes_its_own_draw_alone() -> None:
    """However many proposals it refuses: shapes from 0.01 to 100, one after the other."""
    log_shape = torch.randn(3, 5, 7, generator=seeded())
    draws = log_gamma_draws(log_shape, seeded(8))
    for number in (0, 17, 104):
        for value in (-4.6, 0.0, 4.6):
            changed = log_shape.clone()
            changed.view(-1)[number] = value
            differs = (log_gamma_draws(changed, seeded(8)) != draws).flatten().nonzero().flatten()
            assert differs.tolist() == [number]


def independent(first: Tensor, second: Tensor) -> bool:
    """Their ranks are uncorrelated, within four standard errors."""
    return bool(abs(stats.spearmanr(first, second).statistic) < 4 / len(first) ** 0.5)


def test_neighbouring_draws_are_independent() -> None:
    draws = log_gamma_draws(torch.full((100, 300), -0.5), seeded(2))
    assert independent(draws[:, :-1].flatten(), draws[:, 1:].flatten())
    assert independent(draws[:-1].flatten(), draws[1:].flatten())


@pytest.mark.parametrize("count", [1, 2, 5, 30, 254])
def test_the_expected_logarithm_of_a_random_share_is_within_four_standard_errors_of_draws(count: int) -> None:
    draws = 0.1 + 0.9 * torch.rand(400_000 // count, count, generator=seeded(count), dtype=torch.float64)
    shares = (draws / draws.sum(1, keepdim=True)).log()
    error = float(shares.mean(1).std()) / len(shares) ** 0.5
    assert abs(expected_log_share(count) - float(shares.mean())) <= 4 * error + 1e-9


def test_expected_targets_give_the_mean_of_the_likelihood_over_random_ones() -> None:
    labels = torch.randint(0, 4, (2, 3, 5), generator=seeded(5), dtype=torch.uint8)
    of_pixels = dirichlet(4.0)
    random = [smoothed_targets(labels, 4, 0.05, "random", seeded(seed)).double() for seed in range(3000)]
    drawn = torch.stack([of_pixels.log_density(targets) for targets in random])
    expected = of_pixels.log_density(smoothed_targets(labels, 4, 0.05, "expected", None).double())
    assert bool(((drawn.mean(0) - expected).abs() <= 4 * drawn.std(0) / len(drawn) ** 0.5 + 1e-6).all())
