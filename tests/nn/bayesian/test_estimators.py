"""What layers with Gaussian weights give, by each estimator, beside what random weights must give."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.nn.bayesian import BayesianNetwork, Estimator, bayesian_network

B, K, F, DRAWS = 3, 4, 5, 2000
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(K, F), (B, K)),
    "linear over places, without biases": (nn.Linear(K, F, bias=False), (B, 2, K)),
    "convolution": (nn.Conv2d(K, F, 3, padding=1, stride=2), (B, K, 7, 6)),
    "grouped and reflecting": (nn.Conv2d(K, 6, 3, padding=1, groups=2, padding_mode="reflect"), (B, K, 6, 5)),
    "transposed convolution": (nn.ConvTranspose2d(K, F, 2, stride=2), (B, K, 3, 4)),
    "convolution of volumes": (nn.Conv3d(K, F, 2, padding="same"), (B, K, 3, 4, 2)),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> tuple[BayesianNetwork, Tensor]:
    torch.manual_seed(0)
    network, shape = LAYERS[request.param]
    bayesian = bayesian_network(nn.Sequential(network), 0.1)
    with torch.no_grad():
        for rho in bayesian.rho.values():
            rho.add_(torch.randn_like(rho))
    return bayesian, torch.randn(shape)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_values_have_the_mean_and_variance_that_weights_give_them(
    layer: tuple[BayesianNetwork, Tensor], estimator: Estimator
) -> None:
    network, x = layer
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        draws = torch.stack([network(x, estimator, generator) for _ in range(DRAWS)])
        want = network.network(x)
        variance = network.run(x.square(), network.posterior().sigma.square())
    # The mean of n draws is off by sigma / sqrt(n), their variance by sigma^2 sqrt(2 / n): five times that at most.
    assert bool(((draws.mean(0) - want).abs() <= 5 * (variance / DRAWS).sqrt()).all())
    assert bool(((draws.var(0) / variance - 1).abs() <= 5 * (2 / DRAWS) ** 0.5).all())


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


@pytest.mark.parametrize(
    ("estimator", "of_images", "of_places"), [("local", 0.0, 0.0), ("flipout", 0.0, 1.0), ("plain", 1.0, 1.0)]
)
def test_what_shares_its_weights(estimator: Estimator, of_images: float, of_places: float) -> None:
    """Two images that are alike, of one value everywhere: whether they, and the places of each, vary together."""
    torch.manual_seed(0)
    network = bayesian_network(nn.Conv2d(2, 3, 1), 0.3)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        draws = torch.stack([network(torch.ones(2, 2, 1, 4), estimator, generator) for _ in range(DRAWS)])[:, :, 1, 0]
    error = 5 / DRAWS**0.5
    assert correlation(draws[:, 0, 0], draws[:, 1, 0]) == pytest.approx(of_images, abs=error)
    assert correlation(draws[:, 0, 1], draws[:, 0, 3]) == pytest.approx(of_places, abs=error)


def test_the_gradient_varies_least_by_local_draws_and_most_by_plain_ones() -> None:
    """Of a convolution on a batch, with a loss that asks each image for something else."""
    torch.manual_seed(0)
    network = bayesian_network(nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1)), 0.1)
    x, target = torch.randn(12, 3, 6, 5), torch.randn(12, 2, 6, 5)
    parameters = list(network.parameters())
    variances, means = {}, {}
    for estimator in ESTIMATORS:
        generator, gradients = torch.Generator().manual_seed(3), []
        for _ in range(150):
            loss = (network(x, estimator, generator) - target).square().mean(0).sum()
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
        together = torch.stack(gradients)
        variances[estimator], means[estimator] = float(together.var(0).sum()), together.mean(0)
    assert variances["local"] < variances["flipout"] < variances["plain"]
    # Flipout is another draw of the same loss: its mean gradient is that of plain draws.
    off = (means["flipout"] - means["plain"]).square().sum()
    assert float(off) < 3 * (variances["flipout"] + variances["plain"]) / 150


class Odd(nn.Module):
    """A layer whose weights go through a function that has no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(K, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) @ self.inner.weight


def test_weights_without_a_rule_are_refused_or_drawn_plainly() -> None:
    network, x = bayesian_network(Odd()), torch.randn(B, K)
    for estimator in ("local", "flipout"):
        with pytest.raises(InputError, match=r"matmul is given Gaussian weights.*'plain'"):
            network(x, estimator)
    assert network(x, "plain").shape == (B, K)
    weights = torch.randn(network.num_weights)
    weight, bias = weights[: K * K].view(K, K), weights[K * K :]
    torch.testing.assert_close(network.run(x, weights), (x @ weight.T + bias) @ weight)
