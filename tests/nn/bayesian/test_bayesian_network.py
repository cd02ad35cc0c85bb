"""Networks that are turned into Bayesian ones, the divergence from the prior, and what it counts for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from plurimask.errors import InputError
from plurimask.method import TrainingStep
from plurimask.nn.bayesian import (
    DivergenceWeight,
    Estimator,
    Gaussian,
    GaussianPrior,
    ScaleMixturePrior,
    Shares,
    bayesian_network,
    pruned,
    signal_to_noise,
)
from plurimask.nn.bayesian.network import gaussian_parameters
from plurimask.nn.deeplab import DeepLabSettings, DeepLabV3Plus
from plurimask.nn.strips import PixelScores
from plurimask.nn.unet import PLAIN, Style

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: PixelScores(3, (4, 6), 2, PLAIN, 5),
    "unet with batch norm": lambda: PixelScores(3, (4, 6), 1, Style("batch", "max", "nearest"), 5),
    "residual unet": lambda: PixelScores(3, (4, 6), 1, Style(blocks="residual"), 5),
    "deeplab": lambda: DeepLabV3Plus(3, 5, DeepLabSettings((4, 5, 6, 8), 1, 8, (2, 3), 5, 4, True, "group")),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_is_turned_by_one_call(name: str) -> None:
    torch.manual_seed(0)
    network, images = NETWORKS[name]().eval(), torch.randn(2, 3, 18, 13)
    before = network(images)
    bayesian = bayesian_network(network, 1e-3)
    assert bayesian.num_weights == sum(p.numel() for p in gaussian_parameters(network).values())
    torch.testing.assert_close(bayesian.posterior().sigma, torch.full((bayesian.num_weights,), 1e-3))
    torch.testing.assert_close(bayesian.run(images, bayesian.posterior().mean), before)
    for estimator in get_args(Estimator):
        drawn = bayesian(images, estimator, torch.Generator().manual_seed(1))
        assert drawn.shape == (2, 5, 18, 13)
        assert 0 < float((drawn - before).abs().mean()) < 0.1 * float(before.std()) + 0.01
        for parameter in bayesian.parameters():
            parameter.grad = None
        drawn.square().sum().backward()
        assert all(rho.grad is not None and bool((rho.grad != 0).any()) for rho in bayesian.rho.values())
    assert torch.equal(network(images), before)


def test_someone_else_s_network_is_turned_by_one_call(nets: Any) -> None:
    """The U-Net of MONAI, with strided and transposed convolutions, instance norm and PReLU."""
    torch.manual_seed(0)
    network = nets.UNet(spatial_dims=2, in_channels=1, out_channels=3, channels=(4, 6), strides=(2,), num_res_units=1)
    bayesian, images = bayesian_network(network.eval(), 1e-3), torch.randn(2, 1, 16, 24)
    want = network(images)
    torch.testing.assert_close(bayesian.run(images, bayesian.posterior().mean), want)
    for estimator in get_args(Estimator):
        drawn = bayesian(images, estimator)
        assert 0 < float((drawn - want).abs().mean().detach()) < 0.1 * float(want.std().detach())


def test_what_is_no_layer_with_plain_weights_is_refused() -> None:
    with pytest.raises(InputError, match="BatchNorm2d has no linear layer"):
        bayesian_network(nn.BatchNorm2d(3))
    with pytest.raises(InputError, match="above 0, not 0"):
        bayesian_network(nn.Linear(2, 3), 0.0)


def test_draws_are_the_same_in_any_memory_layout() -> None:
    torch.manual_seed(0)
    network, images = bayesian_network(NETWORKS["unet"](), 0.1), torch.randn(2, 3, 18, 13)
    weights = network.posterior().draw(torch.Generator().manual_seed(1))
    want = network.run(images, weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert torch.equal(network.posterior().draw(torch.Generator().manual_seed(1)), weights)
    torch.testing.assert_close(network.run(images, weights), want)


def test_shared_weights_are_drawn_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert bayesian_network(nn.Sequential(first, second)).num_weights == 9 + 3 + 3


def posterior(count: int) -> Gaussian:
    torch.manual_seed(4)
    return Gaussian(torch.randn(count).double(), torch.rand(count).double() + 0.05)


def test_the_divergence_from_a_gaussian_is_what_draws_give() -> None:
    q, draws = posterior(7), 100_000
    got = GaussianPrior(0.7).kl(q)
    torch.testing.assert_close(got, torch.distributions.kl_divergence(Normal(*q), Normal(0.0, 0.7)).sum())
    w = Normal(*q).sample((draws,))
    terms = (Normal(*q).log_prob(w) - Normal(0.0, 0.7).log_prob(w)).sum(1)
    assert abs(float(terms.mean() - got)) < 5 * float(terms.std()) / draws**0.5


def test_the_divergence_from_a_mixture_is_unbiased() -> None:
    q, prior = posterior(6), ScaleMixturePrior(0.3, 0.9, 0.1)
    shares, sigmas = torch.tensor([0.3, 0.7]).double(), torch.tensor([0.9, 0.1]).double()
    mixture = MixtureSameFamily(Categorical(shares), Normal(torch.zeros(2).double(), sigmas))
    torch.testing.assert_close(prior.log_density(q.mean), mixture.log_prob(q.mean))
    w = Normal(*q).sample((200_000,))
    want = (Normal(*q).log_prob(w) - mixture.log_prob(w)).sum(1)
    generator = torch.Generator().manual_seed(5)
    got = torch.stack([prior.kl(q, generator) for _ in range(4000)])
    assert (
        abs(float(got.mean() - want.mean())) < 5 * float(got.std()) / 4000**0.5 + 5 * float(want.std()) / 200_000**0.5
    )
    alike = ScaleMixturePrior(0.3, 0.8, 0.8)
    close = alike.kl(Gaussian(torch.zeros(9).double(), torch.full((9,), 0.8).double()), generator)
    assert float(close) == pytest.approx(0, abs=1e-5)  # the same draws in both densities


def test_a_mixture_of_equals_is_a_gaussian() -> None:
    q = posterior(5)
    torch.testing.assert_close(ScaleMixturePrior(0.4, 0.8, 0.8).log_density(q.mean), Normal(0.0, 0.8).log_prob(q.mean))


@pytest.mark.parametrize("shares", ["uniform", "halving"])
def test_an_epoch_counts_the_divergence_once_for_each_of_its_images(shares: Shares) -> None:
    weight, generator = DivergenceWeight(shares, 0.0, 0.5), torch.Generator()
    weight.begin(num_images=12, num_batches=4)
    factors = []
    for index in range(8):
        factors.append(float(weight(3)))
        weight.count(TrainingStep(index, index / 8, generator))
    assert sum(factors[:4]) * 3 == pytest.approx(0.5)  # times 3: the loss is a mean over 3 images
    assert factors[:4] == pytest.approx(factors[4:])
    ratio = 1 if shares == "uniform" else 2
    assert [before / after for before, after in pairwise(factors[:4])] == pytest.approx([ratio] * 3)


def test_the_divergence_rises_in_the_warm_up() -> None:
    weight, generator = DivergenceWeight("uniform", 0.5, 1.0), torch.Generator()
    weight.begin(num_images=10, num_batches=5)
    assert float(weight(2)) == 0
    for index, want in ((1, 0.05), (2, 0.1), (3, 0.1)):
        weight.count(TrainingStep(index, index / 4, generator))
        assert float(weight(2)) == pytest.approx(want)


def test_an_untold_weight_takes_the_batch_for_all_data() -> None:
    assert float(DivergenceWeight("uniform", 0.0, 1.0)(4)) == pytest.approx(0.25)
    assert float(DivergenceWeight("halving", 0.0, 1.0)(4)) == pytest.approx(0.25)


def test_pruning_takes_away_the_weakest() -> None:
    torch.manual_seed(6)
    network = bayesian_network(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), 0.1)
    with torch.no_grad():
        for rho in network.rho.values():
            rho.add_(torch.randn_like(rho))
    ratios, before = signal_to_noise(network), network.posterior()
    torch.testing.assert_close(ratios, before.mean.abs() / before.sigma)
    less = pruned(network, 0.6)
    gone = less.posterior().mean == 0
    assert int(gone.sum()) == round(0.6 * len(ratios))
    assert float(ratios[gone].max()) <= float(ratios[~gone].min())
    assert float(less.posterior().sigma[gone].max()) < 1e-12
    assert torch.equal(less.posterior().sigma[~gone], before.sigma[~gone])
    assert torch.equal(network.posterior().mean, before.mean)
    assert torch.equal(pruned(network, 0.0).posterior().mean, before.mean)
    assert float(pruned(network, 1.0)(torch.randn(2, 5)).abs().max()) < 1e-5
    with pytest.raises(InputError, match=r"share of 1\.5"):
        pruned(network, 1.5)
    with pytest.raises(InputError, match="no Bayesian network"):
        pruned(nn.Linear(2, 2), 0.5)


def linear_posterior() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An orthogonal design, responses with noise of variance 1/4, and the exact posterior under weights N(0, 1)."""
    torch.manual_seed(7)
    count, size, variance = 64, 4, 0.25
    x = torch.linalg.qr(torch.randn(count, size))[0] * torch.tensor([2.0, 3.0, 4.0, 6.0])
    y = x @ torch.tensor([0.9, -1.4, 0.7, 1.2]) + variance**0.5 * torch.randn(count)
    precision = x.square().sum(0) / variance + 1
    return x, y, (x.T @ y / variance) / precision, 1 / precision


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_a_linear_model_learns_the_exact_posterior(estimator: Estimator) -> None:
    x, y, mean, variance = linear_posterior()
    network, generator, steps = bayesian_network(nn.Linear(4, 1, bias=False), 0.3), torch.Generator(), 2000
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    found = []
    for _ in range(steps):
        drawn = network(x, estimator, generator)[:, 0]
        loss = (drawn - y).square().sum() / (2 * 0.25) + network.kl(GaussianPrior(1.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        found.append(torch.stack([*network.posterior()]).detach())
    got_mean, got_sigma = torch.stack(found[steps // 2 :]).mean(0)
    torch.testing.assert_close(got_mean, mean, rtol=0.05, atol=0)
    torch.testing.assert_close(got_sigma.square(), variance, rtol=0.15, atol=0)
