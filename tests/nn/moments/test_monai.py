"""Someone else's network: a U-Net of MONAI (`pip install plurimask[monai]`), installed here if it is missing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from naive_moments import EAGER
from torch import Tensor, nn

from plurimask.nn.moments import moment_network

SETTINGS: dict[str, dict[str, Any]] = {
    "PReLU and instance norm": {},
    "ReLU, batch norm and dropout": {"norm": "batch", "act": "relu", "dropout": 0.2},
    "without residuals": {"norm": "batch", "act": ("leakyrelu", {"negative_slope": 0.1}), "num_res_units": 0},
}


def unet(nets: Any, settings: str) -> nn.Module:
    torch.manual_seed(0)
    given = {"channels": (8, 16, 32), "strides": (2, 2), "num_res_units": 2, **SETTINGS[settings]}
    network: nn.Module = nets.UNet(spatial_dims=2, in_channels=1, out_channels=3, **given)
    with torch.no_grad():  # batch norm with statistics of its own
        network(images(48))
    return network.eval()


def images(height: int = 16) -> Tensor:
    return torch.randn(2, 1, height, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_without_variance_it_is_the_ordinary_network(nets: Any, settings: str) -> None:
    network, x = unet(nets, settings).double(), images().double()
    got = moment_network(network, EAGER)(x, torch.zeros_like(x))
    torch.testing.assert_close(got.mean, network(x), rtol=1e-9, atol=1e-9)
    assert not got.variance.any()


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_propagated_variances_are_near_those_of_passes_with_drawn_noise(nets: Any, settings: str) -> None:
    network, x = unet(nets, settings), images()[:1]
    noise = torch.randn(1500, *x.shape[1:], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        got = moment_network(network, EAGER)(x, torch.full_like(x, 0.01))
        samples = network(x + 0.1 * noise)
    drawn = samples.var(0, keepdim=True)
    logs = torch.stack([got.variance.flatten().log(), drawn.flatten().log()])
    assert float(torch.corrcoef(logs)[0, 1]) > 0.85
    assert 0.7 < float((logs[0] - logs[1]).mean().exp()) < 1.4
    assert float(((got.mean - samples.mean(0)).abs() / drawn.sqrt()).mean()) < 0.2


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_it_trains_and_its_dropout_propagates(nets: Any, settings: str) -> None:
    network, x = unet(nets, settings), images()
    converted = moment_network(network, EAGER)
    assert {id(one) for one in converted.parameters()} == {id(one) for one in network.parameters()}
    got = converted.train()(x, torch.zeros_like(x))
    assert bool(got.variance.any()) == ("dropout" in SETTINGS[settings])
    got = converted(x, torch.full_like(x, 0.1))
    (got.mean.square().mean() + got.variance.mean()).backward()
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in network.parameters())
