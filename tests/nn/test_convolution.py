"""Convolutions of volumes: of two slices too they and their gradients are those of the definition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from plurimask.nn.convolution import CONVOLVE, padded_convolution


def unclean_memory() -> None:
    """What is freed here is found by who reads memory that nobody wrote."""
    for _ in [torch.full((2**power,), float("nan")) for power in range(4, 18)]:
        pass


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("autocast", [True, False])
def test_gradients_of_thin_volumes_are_right(layout: torch.memory_format, depth: int, autocast: bool) -> None:
    torch.manual_seed(0)
    layer = padded_convolution(16, 16, (3, 3, 3)).to(memory_format=layout)
    plain = nn.Conv3d(16, 16, 3, padding=1).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 16, depth, 6, 6)
    want = plain(x.double())
    want.square().sum().backward()
    for _ in range(6):
        own = copy.deepcopy(layer)
        unclean_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            got = own(x.contiguous(memory_format=layout))
        unclean_memory()
        got.float().square().sum().backward()
        error = 3e-2 if autocast else 1e-5
        for mine, theirs in ((got, want), (own.weight.grad, plain.weight.grad), (own.bias.grad, plain.bias.grad)):
            assert mine is not None
            assert theirs is not None
            assert float((mine.double() - theirs).norm()) <= error * float(theirs.norm())
    weight, bias = layer.weight, layer.bias
    torch.testing.assert_close(CONVOLVE[3](x, weight, bias, padding=1), layer(x))


def test_a_convolution_keeps_the_size_along_each_axis() -> None:
    assert padded_convolution(2, 3, (1, 3, 3))(torch.randn(1, 2, 2, 5, 4)).shape == (1, 3, 2, 5, 4)
    assert padded_convolution(2, 3, (3, 1))(torch.randn(1, 2, 5, 4)).shape == (1, 3, 5, 4)
