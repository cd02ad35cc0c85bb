"""Chained convolutions give the numbers and gradients of those one by one, and are chained only where that holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plurimask.nn import blocked
from plurimask.nn.blocked import dense, is_chained, joined
from plurimask.nn.unet import Style, UNetFeatures, conv_block

STYLES = {"average": Style(), "max": Style(pooling="max"), "nearest": Style(upsampling="nearest")}


def value_and_gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    network.zero_grad()
    features = network(images)
    features.square().sum().backward()
    assert images.grad is not None
    return [features.detach(), images.grad, *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(16, 24), (15, 18), (9, 7)])
def test_a_network_is_the_same(style: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, images = UNetFeatures(3, (6, 9, 11), 2, STYLES[style]), torch.randn(2, 3, *size)
    assert all(is_chained(block, images) for block in [*network.encoder.blocks, *network.decoder.blocks])
    got = value_and_gradients(network, images)
    monkeypatch.setattr("plurimask.nn.unet.is_chained", lambda *_: False)
    monkeypatch.setattr(blocked, "is_chained", lambda *_: False)
    want = value_and_gradients(network, images)
    assert len(got) == len(want) == 2 + len(list(network.parameters()))
    for one, other in zip(got, want, strict=True):
        assert one.layout == torch.strided
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("in_blocks", [False, True])
def test_what_is_joined_is_the_same(in_blocks: bool) -> None:
    torch.manual_seed(0)
    block, inputs = conv_block(9, 6, 2), [torch.randn(3, width, 8, 10, requires_grad=True) for width in (4, 5)]
    skip = inputs[1].to_mkldnn() if in_blocks else inputs[1]
    got, want = joined(block, inputs[0], skip), block(torch.cat(inputs, dim=1))
    assert got.layout == torch.strided
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    target, leaves = torch.randn_like(want), [*inputs, *block.parameters()]
    of_got, of_want = (torch.autograd.grad((out * target).sum(), leaves) for out in (got, want))
    for one, other in zip(of_got, of_want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_an_encoder_is_dense_outside() -> None:
    network, images = UNetFeatures(3, (6, 9), 2), torch.randn(2, 3, 8, 10)
    assert [one.is_mkldnn for one in network.encoder.features(images)] == [True, True]
    assert not any(one.is_mkldnn for one in [*network.encoder(images), network(images)])
    with torch.no_grad():
        assert not any(one.is_mkldnn for one in network.encoder.features(images))
    assert torch.equal(dense(images), images)


def test_a_network_whose_weights_stay_is_not_chained() -> None:
    block, x = conv_block(4, 6, 2), torch.randn(3, 4, 8, 10)
    assert is_chained(block, x)
    with torch.no_grad():
        assert not is_chained(block, x)
    assert not is_chained(block.requires_grad_(False), x)


@pytest.mark.parametrize(
    ("block", "x"),
    [
        (conv_block(4, 6, 2, Style(normalisation="batch")), torch.randn(3, 4, 8, 10)),
        (conv_block(4, 6, 2, Style(blocks="residual")), torch.randn(3, 4, 8, 10)),
        (conv_block(4, 6, 2, kernel=(3, 3, 3)), torch.randn(3, 4, 8, 10, 5)),
        (conv_block(4, 6, 2).to(memory_format=torch.channels_last), torch.randn(3, 4, 8, 10)),
        (conv_block(4, 6, 2), torch.randn(3, 4, 8, 10).contiguous(memory_format=torch.channels_last)),
        (conv_block(4, 6, 2).double(), torch.randn(3, 4, 8, 10).double()),
        (conv_block(4, 6, 2), torch.randn(0, 4, 8, 10)),
    ],
)
def test_other_layers_and_layouts_are_left_alone(block: Any, x: Tensor) -> None:
    assert not is_chained(block, x)
    assert torch.equal(joined(block, x[:, :1], x[:, 1:]), block(x))


def test_bf16_is_left_alone() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_chained(conv_block(4, 6, 2), torch.randn(3, 4, 8, 10))
