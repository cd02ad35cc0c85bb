"""DeepLabV3+ takes any size, is dilated instead of strided where it should be, sees the whole image, can be traced."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from plurimask.nn.deeplab import DeepLabSettings, DeepLabV3Plus, Layers, Normalisation, StridedBlock, StridedEncoder
from plurimask.nn.initialisation import initialise
from plurimask.nn.moments import moment_network

SMALL = DeepLabSettings((4, 6, 8, 10), rates=(1, 2), aspp_channels=12, low_level_channels=5, normalisation="batch")
PLAIN = SMALL._replace(normalisation="none")


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (45, 70), (64, 48)])
@pytest.mark.parametrize("settings", [DeepLabSettings(), SMALL, SMALL._replace(output_stride=8)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int], settings: DeepLabSettings) -> None:
    assert DeepLabV3Plus(2, 3, settings).eval()(torch.randn(4, 2, *size)).shape == (4, 3, *size)


def test_three_dimensions() -> None:
    images = torch.randn(2, 1, 9, 22, 17)
    for separable in (False, True):
        network = DeepLabV3Plus(1, 3, SMALL._replace(separable=separable), spatial_dims=3)
        assert network(images).shape == (2, 3, 9, 22, 17)


@pytest.mark.parametrize(("output_stride", "coarse"), [(8, (6, 9)), (16, (3, 5))])
def test_features_are_at_stride_four_and_at_the_output_stride(output_stride: int, coarse: tuple[int, int]) -> None:
    network = DeepLabV3Plus(2, 3, SMALL._replace(output_stride=output_stride))
    low_level, features = network.encoder(torch.randn(1, 2, 45, 70))
    assert low_level.shape == (1, 4, 12, 18)
    assert features.shape == (1, 10, *coarse)
    assert network.pyramid(features).shape == (1, 12, *coarse)


def dilations(module: nn.Module) -> list[int]:
    """Of its 3x3 convolutions, in order."""
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert all(conv.padding == conv.dilation for conv in convs)
    return [conv.dilation[0] for conv in convs]


def test_dilations() -> None:
    """The convolution whose stride is dropped keeps the dilation before it; all that follow have twice as much."""
    fine = DeepLabV3Plus(1, 2, DeepLabSettings(output_stride=8, rates=(2, 4, 8), blocks_per_stage=2))
    assert dilations(fine.encoder) == [1, *[1] * 8, 1, 2, 2, 2, 2, 4, 4, 4]
    assert dilations(fine.pyramid) == [2, 4, 8]
    assert dilations(fine.decoder) == [1, 1]
    assert dilations(DeepLabV3Plus(1, 2).encoder) == [1, *[1] * 6, 1, 2]
    assert dilations(DeepLabV3Plus(1, 2).pyramid) == [6, 12, 18]


def test_dilation_computes_what_strides_would_at_more_places() -> None:
    """Every other feature at output stride 8 is the feature at 16, also at borders and for odd sizes."""
    encoders = [
        StridedEncoder(2, PLAIN._replace(output_stride=stride, blocks_per_stage=2), Layers("none", False, 2))
        for stride in (8, 16)
    ]
    encoders[1].load_state_dict(encoders[0].state_dict())
    fine, coarse = (encoder(torch.randn(3, 2, 75, 101, generator=torch.manual_seed(0)))[1] for encoder in encoders)
    assert (fine.shape[2:], coarse.shape[2:]) == ((10, 13), (5, 7))
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse)


def test_has_the_number_of_parameters_counted_by_hand() -> None:
    """Stages of 5, 6 and 7 channels for 2-channel images, two rates, 11 features, a skip of 4, 3 classes."""

    def conv(before: int, after: int, size: int) -> int:
        return size * size * before * after + after

    def count(separable: bool, normalisation: Normalisation) -> int:
        settings = DeepLabSettings((5, 6, 7), 1, 16, (1, 2), 11, 4, separable, normalisation)
        return num_parameters(DeepLabV3Plus(2, 3, settings))

    stem = conv(2, 5, 3)
    stages = [conv(i, o, 3) + conv(o, o, 3) + conv(i, o, 1) for i, o in ((5, 5), (5, 6), (6, 7))]
    pyramid = conv(7, 11, 1) + 2 * conv(7, 11, 3) + conv(7, 11, 1) + conv(4 * 11, 11, 1)
    decoder = conv(5, 4, 1) + conv(11 + 4, 11, 3) + conv(11, 11, 3) + conv(11, 3, 1)
    plain = stem + sum(stages) + pyramid + decoder
    assert count(False, "none") == plain
    # A factor and an offset per channel for each bias, except in the average's branch and in the class scores.
    normalised = 5 + 3 * (5 + 6 + 7) + 4 * 11 + 4 + 2 * 11
    assert count(False, "batch") == count(False, "group") == plain + normalised
    dense = 2 * conv(7, 11, 3) + conv(11 + 4, 11, 3) + conv(11, 11, 3)
    split = 2 * (10 * 7 + conv(7, 11, 1)) + 10 * (11 + 4) + conv(11 + 4, 11, 1) + 10 * 11 + conv(11, 11, 1)
    assert count(True, "none") == plain - dense + split


@pytest.mark.parametrize("settings", [DeepLabSettings(), SMALL, SMALL._replace(separable=True, normalisation="group")])
def test_is_traceable(settings: DeepLabSettings) -> None:
    network = DeepLabV3Plus(1, 3, settings).eval()
    traced = torch.fx.symbolic_trace(network)
    for size in ((17, 22), (45, 70)):
        images = torch.randn(2, 1, *size)
        torch.testing.assert_close(traced(images), network(images))


def test_is_made_of_layers_whose_moments_are_known() -> None:
    allowed = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.ReLU, nn.AdaptiveAvgPool2d)
    normalisations: tuple[Normalisation, ...] = ("none", "batch", "group")
    for separable, normalisation in itertools.product((False, True), normalisations):
        network = DeepLabV3Plus(1, 2, SMALL._replace(separable=separable, normalisation=normalisation))
        graph = torch.fx.symbolic_trace(network).graph
        called = {network.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"}
        assert all(isinstance(module, allowed) for module in called)
        functions = {node.target.__name__ for node in graph.nodes if node.op == "call_function"}
        assert functions == {"add", "cat", "getattr", "getitem", "interpolate"}


def test_every_pixel_bears_on_every_score() -> None:
    """Through the average alone: the far corner is out of reach of the convolutions of so small a network."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(1, 2, PLAIN._replace(rates=(1,))).double()
    initialise(network, "he_normal")
    images = torch.randn(1, 1, 257, 250, dtype=torch.double, requires_grad=True)

    def far_gradient() -> float:
        (gradient,) = torch.autograd.grad(network(images)[0, 0, 0, 0], images)
        return float(gradient[0, 0, -32:, -32:].abs().max())

    assert far_gradient() > 0
    for parameter in network.pyramid.average.parameters():
        nn.init.zeros_(parameter)
    assert far_gradient() == 0


def test_separable_convolutions_are_depthwise_then_pointwise() -> None:
    network = DeepLabV3Plus(1, 2, SMALL._replace(separable=True))
    for part, widths in ((network.pyramid.atrous, [10, 10]), (network.decoder, [12 + 5, 12])):
        spatial = [conv for conv in part.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)]
        assert [conv.groups for conv in spatial] == [conv.in_channels for conv in spatial] == widths
    assert all(conv.groups == 1 for conv in network.encoder.modules() if isinstance(conv, nn.Conv2d))


def test_residual_is_added_to_what_came_in() -> None:
    """Although the ReLUs work in place: neither the input nor the shortcut is overwritten."""
    block = StridedBlock(6, 6, 1, (1, 2), Layers("none", False, 2))
    x = torch.randn(2, 6, 9, 7)
    before = x.clone()
    first, _, second = block.residual
    expected = (before + second(first(before).relu())).relu()
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(x, before, atol=0, rtol=0)


def pointwise(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)]


def test_no_pointwise_convolution_is_strided() -> None:
    """Its backward pass writes outside its memory on processors without AVX-512 (torch 2.13)."""
    network = DeepLabV3Plus(1, 2, SMALL._replace(separable=True, output_stride=8))
    assert pointwise(network)
    assert {conv.stride for conv in pointwise(network)} == {(1, 1)}


@pytest.mark.parametrize("normalisation", ["none", "batch", "group"])
def test_a_shortcut_is_the_strided_convolution(normalisation: Normalisation) -> None:
    """In values, gradients and names: 8 channels, for which torch's strided one is sound, and odd sizes."""
    torch.manual_seed(0)
    ours = StridedBlock(8, 10, 2, (1, 1), Layers(normalisation, False, 2)).double()
    strided = copy.deepcopy(ours)
    (convolution,) = pointwise(strided.shortcut)
    convolution.stride, strided.strides = (2, 2), (1, 1)
    assert ours.state_dict().keys() == strided.state_dict().keys()
    results = []
    for block in (ours, strided):
        x = torch.randn(2, 8, 17, 22, generator=torch.manual_seed(1)).double().requires_grad_()
        out = block(x)
        out.square().sum().backward()
        assert x.grad is not None
        results.append([out, x.grad, *[parameter.grad for parameter in block.parameters()], *block.buffers()])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want)
    moments = [moment_network(block)(x.detach(), x.detach().square()) for block in (ours, strided)]
    torch.testing.assert_close(*moments)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_a_narrow_block_trains_in_channels_last(channels: int) -> None:
    """Many times: where memory is overwritten, one of them aborts."""
    block = StridedBlock(channels, channels + 1, 2, (1, 1), Layers("none", False, 2)).to(
        memory_format=torch.channels_last
    )
    for _ in range(20):
        x = torch.randn(2, channels, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
        block(x).square().sum().backward()
        others = [torch.ones(size) for size in range(1, 400, 7)]
        assert all(bool((one == 1).all()) for one in others)
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in block.parameters())


@pytest.mark.parametrize("normalisation", ["none", "batch", "group"])
@pytest.mark.parametrize("separable", [False, True])
def test_trains(normalisation: Normalisation, separable: bool) -> None:
    """One image at a time too: the average's branch has no batch statistics."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(2, 3, SMALL._replace(normalisation=normalisation, separable=separable))
    initialise(network, "he_normal")
    images, labels = torch.randn(1, 2, 45, 70), torch.randint(3, (1, 45, 70))
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    nn.functional.cross_entropy(network(images), labels).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    assert bool(before) == (normalisation == "batch")
    assert all((buffer != before[name]).any() for name, buffer in network.named_buffers())
    biases = [conv.bias for conv in network.encoder.modules() if isinstance(conv, nn.Conv2d)]
    assert all((bias is None) == (normalisation != "none") for bias in biases)


@pytest.mark.parametrize(("groups", "fan_in"), [(1, 96 * 9), (96, 9)])
def test_he_normal_counts_the_inputs_of_a_group(groups: int, fan_in: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(96, 96 * 8, 3, groups=groups)
    initialise(layer, "he_normal")
    assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)


def test_other_output_strides_are_refused() -> None:
    with pytest.raises(ValueError, match=r"output_stride is 32.*8 or 16.*choose 16"):
        DeepLabV3Plus(1, 2, SMALL._replace(output_stride=32))


def test_too_few_stages_are_refused() -> None:
    DeepLabV3Plus(1, 2, SMALL._replace(channels=(4, 6), output_stride=8))
    with pytest.raises(ValueError, match=r"16 takes 3 stages.*channels has 2, \(4, 6\): give"):
        DeepLabV3Plus(1, 2, SMALL._replace(channels=(4, 6)))
