"""The U-Net takes any size, in two or three dimensions, and can be traced."""

from __future__ import annotations

import pytest
import torch

from plurimask.nn.initialisation import initialise
from plurimask.nn.space import Space
from plurimask.nn.unet import UNetFeatures


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (31, 45), (64, 48)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int]) -> None:
    assert UNetFeatures(2, (5, 6, 7, 8), num_convs=1)(torch.randn(3, 2, *size)).shape == (3, 5, *size)


def test_three_dimensions() -> None:
    assert UNetFeatures(1, (4, 6), num_convs=2, space=Space(3))(torch.randn(2, 1, 5, 9, 7)).shape == (2, 4, 5, 9, 7)


def test_is_traceable() -> None:
    network = UNetFeatures(1, (4, 6, 8))
    traced = torch.fx.symbolic_trace(network)
    for size in ((17, 22), (8, 40)):
        images = torch.randn(2, 1, *size)
        torch.testing.assert_close(traced(images), network(images))


def test_has_the_published_number_of_parameters() -> None:
    """Three 3x3 convolutions a scale on each side; the first of the decoder sees up-sampled and skipped channels."""

    def block(before: int, after: int) -> int:
        return 9 * before * after + after + 2 * (9 * after * after + after)

    channels = (32, 64, 128, 192)
    down = block(1, 32) + block(32, 64) + block(64, 128) + block(128, 192)
    up = block(192 + 128, 128) + block(128 + 64, 64) + block(64 + 32, 32)
    assert sum(p.numel() for p in UNetFeatures(1, channels).parameters()) == down + up


def test_he_normal_keeps_the_scale_of_activations() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(32, 64, 3)
    initialise(layer, "he_normal")
    assert float(layer.weight.std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.02)
    assert float(layer.bias.detach().abs().max()) <= 2e-3
    initialise(layer, "orthogonal")
    flat = layer.weight.detach().flatten(1)
    torch.testing.assert_close(flat @ flat.mT, torch.eye(64), atol=1e-5, rtol=0)


def test_groups_begin_as_convolutions_of_their_own() -> None:
    torch.manual_seed(0)
    depthwise = torch.nn.Conv2d(400, 400, 3, groups=400)
    initialise(depthwise, "orthogonal")
    torch.testing.assert_close(depthwise.weight.detach().flatten(1).norm(dim=1), torch.ones(400))
    initialise(depthwise, "glorot_uniform")
    assert float(depthwise.weight.detach().square().mean()) == pytest.approx(2 / (9 + 9), rel=0.1)
    initialise(depthwise, "he_normal")
    assert float(depthwise.weight.std()) == pytest.approx((2 / 9) ** 0.5, rel=0.05)
