"""Layers that are affine in their input against their own matrix; normalisation from the batch against draws."""

from __future__ import annotations

import copy

import pytest
import torch
from naive_moments import (
    EAGER,
    Drawn,
    assert_same,
    assert_within_errors,
    by_matrix,
    drawn,
    of_samples,
    propagated,
    uncertain,
)
from torch import Tensor, nn

from plurimask.nn.moments import Moments, Propagation

CONVOLUTIONS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "valid": (nn.Conv2d(3, 5, 3), (3, 6, 8)),
    "strided": (nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 6, 9)),
    "stride for each axis": (nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(1, 0)), (2, 5, 7)),
    "dilated": (nn.Conv2d(3, 4, 3, padding=2, dilation=2), (3, 6, 7)),
    "same": (nn.Conv2d(3, 4, 3, padding="same", dilation=(2, 1)), (3, 6, 7)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 7)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), (4, 5, 7)),
    "pointwise": (nn.Conv2d(4, 3, 1), (4, 5, 6)),
    "pointwise and strided": (nn.Conv2d(4, 3, 1, stride=(2, 3)), (4, 7, 8)),
    "pointwise, strided and grouped": (nn.Conv2d(4, 6, 1, stride=2, groups=2, padding="valid"), (4, 5, 6)),
    "pointwise, strided and padded": (nn.Conv2d(4, 3, 1, stride=2, padding=1), (4, 5, 6)),
    "pointwise and strided, three dimensions": (nn.Conv3d(2, 3, 1, stride=2), (2, 4, 5, 3)),
    "without bias": (nn.Conv2d(3, 5, 3, bias=False), (3, 6, 8)),
    "one dimension": (nn.Conv1d(3, 5, 4, stride=2, padding=1), (3, 11)),
    "three dimensions": (nn.Conv3d(2, 3, 3, stride=2, padding=1), (2, 4, 5, 3)),
    "transposed": (nn.ConvTranspose2d(3, 5, 2, stride=2), (3, 4, 6)),
    "transposed and overlapping": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 4, 5)),
    "transposed and grouped": (nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), groups=2, bias=False), (4, 3, 5)),
    "transposed and dilated": (nn.ConvTranspose2d(2, 3, 3, dilation=2, padding=1), (2, 4, 5)),
    "transposed, one dimension": (nn.ConvTranspose1d(3, 5, 4, stride=3), (3, 6)),
    "transposed, three dimensions": (nn.ConvTranspose3d(2, 3, 2, stride=2), (2, 2, 3, 4)),
    "linear": (nn.Linear(7, 5), (4, 7)),
    "linear without bias": (nn.Linear(7, 5, bias=False), (7,)),
}


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_a_layer_is_its_matrix_and_the_squares_of_its_matrix(name: str) -> None:
    layer, images = CONVOLUTIONS[name]
    layer = copy.deepcopy(layer).double()
    x = uncertain(2, *images)
    expected = by_matrix(layer, x)
    assert_same(propagated(layer, x), expected)
    floored = propagated(layer, x, Propagation(floor=0.25))
    assert_same(floored, Moments(expected.mean, expected.variance + 0.25))


@pytest.mark.parametrize("name", ["depthwise", "transposed and overlapping", "linear"])
def test_a_layer_is_within_four_standard_errors_of_draws(name: str) -> None:
    layer, images = CONVOLUTIONS[name]
    layer = copy.deepcopy(layer).double()
    with torch.no_grad():
        x = uncertain(*images)
        samples = drawn(layer, x, 20_000)
        moments = propagated(layer, x.moved(lambda values: values[None])).moved(lambda values: values[0])
        assert_within_errors(moments, samples, 4.5)  # of some 500 values


def test_gradients_reach_the_weights_through_mean_and_variance() -> None:
    x = uncertain(2, 3, 4, 5)
    for layer in (nn.Conv2d(3, 2, 3).double(), nn.ConvTranspose2d(3, 2, 3).double()):

        def function(weight: Tensor, bias: Tensor, layer: nn.Module = layer) -> tuple[Tensor, ...]:
            own = copy.copy(layer)
            own._parameters = {"weight": weight, "bias": bias}
            return tuple(propagated(own, x))

        weights = tuple(one.detach().requires_grad_() for one in (layer.weight, layer.bias))
        assert torch.autograd.gradcheck(function, weights)


def normaliser(kind: str, channels: int, affine: bool = True) -> nn.Module:
    """In float64, with statistics and weights of its own."""
    layers = {
        "batch1": lambda: nn.BatchNorm1d(channels, affine=affine),
        "batch2": lambda: nn.BatchNorm2d(channels, affine=affine),
        "batch3": lambda: nn.BatchNorm3d(channels, affine=affine),
        "group": lambda: nn.GroupNorm(2, channels, affine=affine),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=affine),
    }
    torch.manual_seed(2)
    layer = layers[kind]().double()
    for name, values in {**dict(layer.named_parameters()), **dict(layer.named_buffers())}.items():
        if values.is_floating_point():
            values.data = torch.rand_like(values) + (0.5 if name in ("weight", "running_var") else -0.5)
    return layer


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "size"), [("batch1", (7,)), ("batch2", (4, 5)), ("batch3", (2, 3, 4))])
def test_batch_norm_in_evaluation_is_its_matrix(kind: str, size: tuple[int, ...], affine: bool) -> None:
    layer, x = normaliser(kind, 3, affine).eval(), uncertain(2, 3, *size)
    assert_same(propagated(layer, x), by_matrix(layer, x))
    assert_same(
        propagated(layer, x, Propagation(floor=0.5)),
        by_matrix(layer, x)._replace(variance=by_matrix(layer, x).variance + 0.5),
    )


def relative_errors(moments: Moments, samples: Drawn) -> tuple[Tensor, Tensor]:
    """How far each mean is off, in standard deviations, and each variance, as a share of it, beyond what four standard
    errors of the draws account for.
    """
    of_mean = ((moments.mean - samples.mean).abs() - 4 * samples.mean_error) / samples.variance.sqrt()
    of_variance = ((moments.variance - samples.variance).abs() - 4 * samples.variance_error) / samples.variance
    return of_mean.clamp(min=0), of_variance.clamp(min=0)


NORMALISED = {
    # kind, shape, number of values that are normalised together
    "batch of 24": ("batch2", (2, 3, 3, 4), 24),
    "batch of 168": ("batch2", (3, 2, 7, 8), 168),
    "group of 30": ("group", (2, 4, 3, 5), 30),
    "group of 160": ("group", (2, 4, 8, 10), 160),
    "instance of 40": ("instance", (2, 3, 5, 8), 40),
}


@pytest.mark.parametrize("name", list(NORMALISED))
def test_normalising_by_drawn_values_is_approximated_to_a_few_in_their_number(name: str) -> None:
    """Of n values normalised together a mean is wrong by up to 5 / n standard deviations, a variance by up to 25 / n of
    itself and on average by 1 / n. The largest are those of values that vary far less than the others do (here by up to
    40 times): they take up what the statistics vary.
    """
    kind, shape, number = NORMALISED[name]
    layer, x = normaliser(kind, shape[1]), uncertain(*shape)
    noise = torch.randn(4000, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        moments = propagated(copy.deepcopy(layer), x)
        samples = torch.stack([layer(x.mean + x.variance.sqrt() * one) for one in noise])
    of_mean, of_variance = relative_errors(moments, of_samples(samples))
    assert float(of_mean.max()) < 5 / number
    assert float(of_variance.max()) < 25 / number
    assert float(of_variance.mean()) < 1 / number


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_those_of_drawn_values(momentum: float | None) -> None:
    shape, number = (2, 3, 4, 5), 2 * 4 * 5
    layer, x = normaliser("batch2", 3), uncertain(*shape)
    layer.momentum = momentum
    ours = copy.deepcopy(layer)
    propagated(ours, x)
    noise = torch.randn(4000, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    means, variances = [], []
    for one in noise:
        ordinary = copy.deepcopy(layer)
        ordinary(x.mean + x.variance.sqrt() * one)
        means.append(ordinary.running_mean)
        variances.append(ordinary.running_var)
    of_mean, of_variance = of_samples(torch.stack(means)), of_samples(torch.stack(variances))
    assert bool(((ours.running_mean - of_mean.mean).abs() < 4 * of_mean.mean_error).all())
    # The share of one in the number of values that the documentation names.
    neglected = (momentum or 1) * x.variance.mean((0, 2, 3)) / (number - 1)
    away = (ours.running_var - of_variance.mean).abs()
    assert bool((away < 4 * of_variance.mean_error + neglected).all())
    assert int(ours.num_batches_tracked) == 1


def test_in_evaluation_statistics_stay() -> None:
    layer = normaliser("batch2", 3).eval()
    before = copy.deepcopy(layer.state_dict())
    propagated(layer, uncertain(2, 3, 4, 5))
    assert all(torch.equal(before[name], values) for name, values in layer.state_dict().items())


def test_without_running_statistics_batch_norm_takes_the_batch_in_evaluation_too() -> None:
    layer = nn.BatchNorm2d(3, track_running_stats=False).double().eval()
    x = uncertain(2, 3, 4, 5)
    sure = Moments(x.mean, torch.zeros_like(x.variance))
    assert_same(propagated(layer, sure), Moments(layer(x.mean), sure.variance))


def test_what_is_not_supported_is_refused() -> None:
    with pytest.raises(ValueError, match="padding_mode='circular'"):
        propagated(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), uncertain(1, 3, 5, 6))
    with pytest.raises(ValueError, match="track_running_stats"):
        propagated(nn.InstanceNorm2d(3, track_running_stats=True), uncertain(1, 3, 5, 6), EAGER)
