"""Residual blocks, and a decoder's scale in halves against the same scale over joined maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.joining import DecoderScale, JoiningConvolution
from plurimask.nn.residual import ResidualBlock
from plurimask.nn.unet import Style, UNetFeatures

B, F, S = 2, 5, 6
IMAGE = torch.tensor([0, 1, 1, 0, 1])
SIZES = [((4, 3), (8, 6)), ((5, 4), (9, 8)), ((1, 1), (1, 2)), ((3, 1), (5, 1))]


def joined_maps(coarse: Tensor, skip: Tensor) -> Tensor:
    """What the released code builds: up-sampled, repeated, concatenated."""
    return torch.cat([functional.interpolate(coarse, size=skip.shape[2:], mode="nearest"), skip[IMAGE]], dim=1)


@pytest.mark.parametrize(("coarse_size", "size"), SIZES)
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_two_halves_are_the_whole_convolution(
    coarse_size: tuple[int, int], size: tuple[int, int], kernel_size: int
) -> None:
    torch.manual_seed(0)
    layer = JoiningConvolution(F, S, 7, (kernel_size, kernel_size))
    coarse, skip = torch.randn(len(IMAGE), F, *coarse_size), torch.randn(B, S, *size)
    got = layer.of_coarse(coarse, size) + layer.of_skip(skip)[IMAGE]
    torch.testing.assert_close(got, layer.joined(joined_maps(coarse, skip)), atol=1e-5, rtol=1e-5)


def test_three_dimensions() -> None:
    layer = JoiningConvolution(F, S, 3, (3, 3, 3))
    coarse, skip = torch.randn(B, F, 2, 3, 4), torch.randn(B, S, 4, 6, 8)
    doubled = torch.cat([functional.interpolate(coarse, scale_factor=2, mode="nearest"), skip], dim=1)
    got = layer.of_coarse(coarse, (4, 6, 8)) + layer.of_skip(skip)
    torch.testing.assert_close(got, layer.joined(doubled), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("coarse_size", "size"), SIZES)
def test_a_residual_scale_is_residual_blocks_over_joined_maps(
    coarse_size: tuple[int, int], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    scale = DecoderScale(F, S, 2, Style(blocks="residual", convs_per_block=3))
    first = ResidualBlock(F + S, S, num_convs=3)
    convs = [layer for layer in scale.inner if isinstance(layer, nn.Conv2d)]
    pairs = zip([scale.first.joined, *convs], [first.convs[0], first.convs[2], first.convs[4]], strict=True)
    for own, plain in [*pairs, (scale.widen, first.widen), (scale.shortcut.joined, first.shortcut)]:
        plain.load_state_dict(own.state_dict())
    coarse, skip = torch.randn(len(IMAGE), F, *coarse_size), torch.randn(B, S, *size)
    want = scale.rest(first(joined_maps(coarse, skip)))
    torch.testing.assert_close(scale(coarse, scale.share(skip), IMAGE), want, atol=1e-5, rtol=1e-5)


def test_a_plain_scale_is_convolutions_over_joined_maps() -> None:
    torch.manual_seed(0)
    scale = DecoderScale(F, S, 3)
    coarse, skip = torch.randn(len(IMAGE), F, 4, 3), torch.randn(B, S, 8, 6)
    want = scale.rest(scale.first.joined(joined_maps(coarse, skip)).relu())
    torch.testing.assert_close(scale(coarse, scale.share(skip), IMAGE), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_blocks", [1, 2, 4])
def test_a_scale_has_as_many_blocks_as_asked_for(num_blocks: int) -> None:
    plain, residual = (DecoderScale(F, S, num_blocks, Style(blocks=kind)) for kind in ("plain", "residual"))
    assert sum(isinstance(layer, nn.Conv2d) for layer in plain.modules()) == num_blocks
    in_a_block = 3 + 1  # three 3x3 and the one that widens; the first block has a shortcut besides
    assert sum(isinstance(layer, nn.Conv2d) for layer in residual.modules()) == num_blocks * in_a_block + 1


def test_a_residual_block_is_pre_activated_and_half_as_wide_inside() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(4, 6, num_convs=3)
    assert [tuple(p.shape[:2]) for p in block.parameters() if p.ndim == 4] == [(3, 4), (3, 3), (3, 3), (6, 3), (6, 4)]
    x = torch.randn(2, 4, 9, 7)
    first, second, third = (block.convs[number] for number in (0, 2, 4))
    residual = block.widen(third(second(first(x.relu()).relu()).relu()))
    torch.testing.assert_close(block(x), block.shortcut(x) + residual)
    same = ResidualBlock(6, 6)
    negative = -torch.rand(2, 6, 5, 5)
    for conv in same.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.zeros_(conv.bias)
    torch.testing.assert_close(same(negative), negative)  # the shortcut is the identity, and goes past the ReLU


def test_what_is_darker_than_the_mean_reaches_the_first_convolution() -> None:
    torch.manual_seed(0)
    on_images, within = ResidualBlock(2, 4, on_images=True), ResidualBlock(2, 4)
    dark, darker = -torch.rand(1, 2, 6, 7), -torch.rand(1, 2, 6, 7)
    assert not torch.equal(on_images(dark) - on_images.shortcut(dark), on_images(darker) - on_images.shortcut(darker))
    torch.testing.assert_close(within(dark) - within.shortcut(dark), within(darker) - within.shortcut(darker))
    network = UNetFeatures(1, (4, 6), 2, Style(blocks="residual"))
    blocks = [block.on_images for block in network.modules() if isinstance(block, ResidualBlock)]
    assert blocks == [True] + [False] * 5


def test_a_residual_unet_takes_any_size_and_is_traceable() -> None:
    network = UNetFeatures(2, (6, 8, 10), 2, Style(upsampling="nearest", blocks="residual"))
    traced = torch.fx.symbolic_trace(network)
    for size in ((17, 22), (3, 5)):
        images = torch.randn(2, 2, *size)
        assert network(images).shape == (2, 6, *size)
        torch.testing.assert_close(traced(images), network(images))


def test_residual_blocks_with_batch_norm_are_refused() -> None:
    with pytest.raises(ValueError, match="no normalisation"):
        UNetFeatures(1, (4, 6), 1, Style("batch", blocks="residual"))
    with pytest.raises(ValueError, match="no normalisation"):
        DecoderScale(F, S, 2, Style("batch"))
