"""Layers and networks whose weights are uncertain, against draws of inputs and of all weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from naive_moments import EAGER, assert_within_errors, of_samples, uncertain
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.nn.bayesian.network import gaussian_parameters
from plurimask.nn.moments import MomentNetwork, Propagation, moment_network
from plurimask.nn.strips import PixelScores
from plurimask.nn.unet import PLAIN, Style

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(7, 5), (7,)),
    "linear without bias": (nn.Linear(7, 5, bias=False), (7,)),
    "strided": (nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 5, 6)),
    "grouped and dilated": (nn.Conv2d(4, 6, 3, groups=2, padding=2, dilation=2), (4, 4, 5)),
    "pointwise and strided": (nn.Conv2d(4, 3, 1, stride=2), (4, 4, 6)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 3, 4)),
    "transposed and grouped": (nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), groups=2, bias=False), (4, 2, 3)),
    "three dimensions": (nn.Conv3d(2, 3, 2), (2, 3, 4, 3)),
}


def with_own_variances(network: nn.Module, scale: float, how: Propagation = EAGER) -> MomentNetwork:
    """A different one for each weight: up to `scale`."""
    converted = moment_network(network, how, weight_variance=1.0)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for variance in converted.variances.values():
            variance.copy_(scale * torch.rand(variance.shape, generator=generator))
    return converted


def draws(converted: MomentNetwork, x: Tensor, number: int) -> Tensor:
    """Outputs `(N, ...)` of the ordinary network for inputs `(N, ...)`, each with weights of its own."""
    network, generator = copy.deepcopy(converted.network), torch.Generator().manual_seed(5)
    found, means = [], {key: mean.clone() for key, mean in gaussian_parameters(network).items()}
    for index in range(number):
        for key, parameter in gaussian_parameters(network).items():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
            parameter.copy_(means[key] + converted.variances[key].sqrt() * noise)
        found.append(network(x[index : index + 1])[0])
    return torch.stack(found)


@pytest.mark.parametrize("name", list(LAYERS))
@torch.no_grad()
def test_a_layer_is_within_standard_errors_of_draws(name: str) -> None:
    layer, shape = LAYERS[name]
    converted, x = with_own_variances(copy.deepcopy(layer).double(), 0.3), uncertain(*shape)
    noise = torch.randn(6000, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moments = converted(*(part[None] for part in x)).moved(lambda values: values[0])
    assert_within_errors(moments, of_samples(draws(converted, x.mean + x.variance.sqrt() * noise, 6000)), 4.5)


def test_weights_that_are_nearly_sure_give_what_sure_ones_do() -> None:
    for name, (layer, shape) in LAYERS.items():
        x, layer = uncertain(2, *shape), copy.deepcopy(layer).double()
        how = EAGER._replace(floor=0.25)
        got, want = moment_network(layer, how, weight_variance=1e-14)(*x), moment_network(layer, how)(*x)
        torch.testing.assert_close(got, want, msg=name)


@pytest.mark.parametrize("style", [PLAIN, Style("batch", "max", "nearest")], ids=["plain", "batch norm"])
@torch.no_grad()
def test_a_network_is_near_passes_with_drawn_weights(style: Style) -> None:
    torch.manual_seed(0)
    network, x = PixelScores(2, (6, 8), 1, style, 3), torch.randn(1, 2, 10, 12)
    assert_near_draws(network, x)


@pytest.mark.parametrize("act", ["relu", "prelu"])
@torch.no_grad()
def test_someone_else_s_network_is_near_passes_with_drawn_weights(nets: Any, act: str) -> None:
    torch.manual_seed(0)
    network = nets.UNet(2, 2, 3, (6, 8, 10), (2, 2), num_res_units=1, norm="batch", act=act)
    x = torch.randn(1, 2, 12, 16)
    network(x)  # batch norm with statistics of its own
    assert_near_draws(network, x)


def assert_near_draws(network: nn.Module, x: Tensor) -> None:
    """That values share weights is neglected: variances come out smaller, and must be of the right size and order."""
    converted = with_own_variances(network, 2e-3)
    converted.eval()
    got = converted(x, torch.zeros_like(x))
    samples = draws(converted, x.expand(400, *x.shape[1:]), 400)
    drawn = samples.var(0, keepdim=True)
    logs = torch.stack([got.variance.flatten().log(), drawn.flatten().log()])
    assert float(torch.corrcoef(logs)[0, 1]) > 0.5
    assert 0.2 < float((logs[0] - logs[1]).mean().exp()) < 1.2
    assert float(((got.mean - samples.mean(0)).abs() / drawn.sqrt()).mean()) < 0.3


def test_gradients_reach_means_and_variances_and_both_are_stored() -> None:
    torch.manual_seed(0)
    converted, x = with_own_variances(PixelScores(2, (4, 5), 1, PLAIN, 3), 0.1), torch.randn(2, 2, 9, 8)
    (converted(x, torch.zeros_like(x)).variance.sum()).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in converted.variances.values())
    other = moment_network(PixelScores(2, (4, 5), 1, PLAIN, 3), EAGER, weight_variance=1.0)
    other.load_state_dict(converted.state_dict())
    torch.testing.assert_close(other(x, torch.zeros_like(x)), converted(x, torch.zeros_like(x)))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="weight_variance must be above 0, not 0"):
        moment_network(nn.Linear(2, 3), weight_variance=0)
    with pytest.raises(InputError, match="no linear layer or convolution"):
        moment_network(nn.ReLU(), weight_variance=1.0)
