"""10,000 random inputs with scales from 1e-6 to 1e6: nothing is ever not a number, infinite or negative.

An input has a scale of its own for its means and one for its standard deviations, both 10 to a power from -6 to 6. A
tenth of all means and of all variances are 0.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_moments import EAGER, SYMMETRIC, propagated
from torch import Tensor, nn

from plurimask.nn.deeplab import DeepLabSettings, DeepLabV3Plus
from plurimask.nn.moments import Moments, Propagation, moment_network
from plurimask.nn.unet import Style, UNetFeatures, class_scores

BATCH, NUM_BATCHES = 500, 20
CHANNELS, SIZE = 4, (5, 6)

LAYERS: dict[str, tuple[Callable[[], nn.Module], Propagation]] = {
    "conv": (lambda: nn.Conv2d(CHANNELS, 3, 3, padding=1), EAGER),
    "transposed": (lambda: nn.ConvTranspose2d(CHANNELS, 3, 2, stride=2), EAGER),
    "linear": (lambda: nn.Linear(6, 3), EAGER),
    "batch norm": (lambda: nn.BatchNorm2d(CHANNELS).eval(), EAGER),
    "group norm": (lambda: nn.GroupNorm(2, CHANNELS), EAGER),
    "instance norm": (lambda: nn.InstanceNorm2d(CHANNELS), EAGER),
    "relu": (nn.ReLU, EAGER),
    "leaky relu": (lambda: nn.LeakyReLU(0.1), EAGER),
    "steep": (lambda: nn.LeakyReLU(-1.5), EAGER),
    "prelu": (lambda: nn.PReLU(CHANNELS), EAGER),
    "max-pool": (lambda: nn.MaxPool2d(2, ceil_mode=True), EAGER),
    "max-pool 3x3": (lambda: nn.MaxPool2d(3, 2, 1), EAGER),
    "symmetric max-pool": (lambda: nn.MaxPool2d(2, ceil_mode=True), SYMMETRIC),
    "average pool": (lambda: nn.AvgPool2d(2, ceil_mode=True), EAGER),
    "global pool": (lambda: nn.AdaptiveAvgPool2d(1), EAGER),
    "bilinear": (lambda: nn.Upsample(size=(9, 7), mode="bilinear"), EAGER),
    "nearest": (lambda: nn.Upsample(size=(9, 7)), EAGER),
    "dropout": (lambda: nn.Dropout2d(0.3), EAGER),
    "softmax": (lambda: nn.Softmax(dim=1), EAGER),
}


def batch(seed: int, *shape: int) -> Moments:
    """Inputs of different scales along the first dimension."""
    generator = torch.Generator().manual_seed(seed)
    ones = [1] * (len(shape) - 1)
    scales = 10 ** (12 * torch.rand(2, shape[0], *ones, generator=generator) - 6)
    mean, deviation = torch.randn(2, *shape, generator=generator)
    zero = torch.rand(2, *shape, generator=generator) < 0.1
    mean, variance = (
        (mean * scales[0]).masked_fill(zero[0], 0),
        (deviation * scales[1]).square().masked_fill(zero[1], 0),
    )
    return Moments(mean, variance)


def assert_sound(moments: Moments) -> None:
    assert bool(torch.stack([one.float() for one in moments]).isfinite().all())
    assert bool((moments.variance >= 0).all())


many = settings(max_examples=NUM_BATCHES, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**40)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(LAYERS))
def test_every_layer(name: str, half: bool) -> None:
    torch.manual_seed(0)
    layer, how = LAYERS[name][0](), LAYERS[name][1]
    count = 0

    @many
    @given(seeds)
    def holds(seed: int) -> None:
        nonlocal count
        x = batch(seed, BATCH, CHANNELS, *SIZE)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            assert_sound(propagated(layer, x.moved(Tensor.bfloat16) if half else x, how))
        count += BATCH

    holds()
    assert count >= 10_000


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_batch_norm_of_the_batch(half: bool) -> None:
    """Each channel is normalised by itself: an input is a channel here."""
    layer = nn.BatchNorm2d(BATCH)

    @many
    @given(seeds)
    def holds(seed: int) -> None:
        x = batch(seed, BATCH, 2, *SIZE).moved(lambda values: values.transpose(0, 1))
        assert_sound(propagated(layer, x.moved(Tensor.bfloat16) if half else x))
        assert bool(layer.running_mean.isfinite().all() and layer.running_var.isfinite().all())

    holds()


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    small = DeepLabSettings((3, 4), output_stride=8, rates=(1,), aspp_channels=4, low_level_channels=2)
    styles = [Style(), Style("batch", "max", "nearest"), Style(blocks="residual")]
    return {
        **{f"unet {n}": nn.Sequential(UNetFeatures(1, (3, 4), 2, s), class_scores(3, 2)) for n, s in enumerate(styles)},
        "deeplab": DeepLabV3Plus(1, 2, small._replace(normalisation="group")),
    }


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(networks()))
def test_whole_networks(name: str, half: bool) -> None:
    network = moment_network(nn.Sequential(networks()[name], nn.Softmax(dim=1)), EAGER).eval()

    @many
    @given(seeds)
    def holds(seed: int) -> None:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            assert_sound(network(*batch(seed, BATCH, 1, 7, 8)))

    holds()


@pytest.mark.parametrize("name", list(networks()))
def test_gradients_of_whole_networks_are_finite(name: str) -> None:
    """With the floor of the method. One input at a time, as gradients of others would hide in the sum."""
    network = moment_network(networks()[name], Propagation(floor=1e-3, compiled=False)).eval()
    x = batch(3, 40, 1, 7, 8)
    for number in range(40):
        network.zero_grad()
        got = network(*(one[number : number + 1] for one in x))
        (got.mean.abs().mean() + got.variance.sqrt().mean()).backward()
        assert all(bool(one.grad.isfinite().all()) for one in network.parameters() if one.grad is not None)
