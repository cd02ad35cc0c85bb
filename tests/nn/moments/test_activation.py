"""Activations, dropout and softmax; and of every layer: without variance it is the ordinary layer."""

from __future__ import annotations

import copy

import pytest
import torch
from naive_moments import EAGER, SYMMETRIC, assert_same, assert_within_errors, drawn, of_samples, propagated, uncertain
from torch import Tensor, nn

from plurimask.nn.moments import Moments, Propagation
from plurimask.nn.moments.activation import dropout, softmax
from plurimask.nn.moments.rules import LAYER_RULES

SHAPE = (2, 4, 6, 10)
LAYERS: dict[str, nn.Module] = {
    "conv": nn.Conv2d(4, 5, 3, stride=2, padding=1),
    "transposed": nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "linear": nn.Linear(10, 3),
    "batch norm": nn.BatchNorm2d(4),
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4, affine=True),
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "leaky relu": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(),
    "prelu for each channel": nn.PReLU(4),
    "max-pool": nn.MaxPool2d(2),
    "max-pool 3x3": nn.MaxPool2d(3, stride=2, padding=1),
    "average pool": nn.AvgPool2d(3, stride=2, padding=1),
    "global pool": nn.AdaptiveAvgPool2d(1),
    "upsample": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "nearest": nn.UpsamplingNearest2d(size=(9, 7)),
    "bilinear": nn.UpsamplingBilinear2d(scale_factor=2),
    "softmax": nn.Softmax(dim=1),
    "softmax2d": nn.Softmax2d(),
    "identity": nn.Identity(),
    "flatten": nn.Flatten(),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", list(LAYERS))
def test_without_variance_a_layer_is_the_ordinary_one(name: str, training: bool) -> None:
    x = uncertain(*SHAPE).mean
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        layer = copy.deepcopy(LAYERS[name]).to(dtype).train(training)
        ordinary = copy.deepcopy(layer)
        got = propagated(layer, Moments(x.to(dtype), torch.zeros(SHAPE, dtype=dtype)))
        torch.testing.assert_close(got.mean, ordinary(x.to(dtype).clone()), rtol=tolerance, atol=tolerance)
        assert not got.variance.any()
        assert got.variance.shape == got.mean.shape
        for one, other in zip(layer.buffers(), ordinary.buffers(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(LAYERS))
def test_the_floor_is_added_after_layers_that_compute(name: str) -> None:
    layer = copy.deepcopy(LAYERS[name]).double().eval()
    x = uncertain(*SHAPE)
    before, after = propagated(layer, x), propagated(layer, x, Propagation(floor=0.5, compiled=False))
    moves = name in ("softmax", "softmax2d", "identity", "flatten", "nearest")
    assert_same(after, Moments(before.mean, before.variance + (0 if moves else 0.5)))


def test_every_rule_of_a_layer_is_tested_without_variance() -> None:
    """Or is the rule of a tested layer in another number of dimensions, or of dropout."""
    tested = {LAYER_RULES[type(layer)] for layer in LAYERS.values()}
    rest = {kind.__name__ for kind, rule in LAYER_RULES.items() if rule not in tested}
    assert rest == {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d"}


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.LeakyReLU(0.3), nn.PReLU(3, init=0.2)])
def test_activations_are_within_four_standard_errors_of_draws(layer: nn.Module) -> None:
    layer = layer.double()
    if isinstance(layer, nn.PReLU):
        layer.weight.data = torch.tensor([0.1, -0.4, 0.8], dtype=torch.float64)
    x = uncertain(2, 3, 4)
    noise = torch.randn(50_000, 2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        samples = layer((x.mean + x.variance.sqrt() * noise).flatten(0, 1)).view(-1, 2, 3, 4)
        assert_within_errors(propagated(layer, x), of_samples(samples))


def test_learned_slopes_get_gradients() -> None:
    layer = nn.PReLU(3).double()
    x = uncertain(2, 3, 4)

    def function(slope: Tensor) -> tuple[Tensor, ...]:
        own = copy.copy(layer)
        own._parameters = {"weight": slope}
        return tuple(propagated(own, x))

    assert torch.autograd.gradcheck(function, (layer.weight.detach().requires_grad_(),))


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_dropout_in_training_is_within_four_standard_errors_of_draws(probability: float) -> None:
    x = uncertain(3, 5)
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(200_000, 3, 5, generator=generator, dtype=torch.float64)
    kept = torch.rand(200_000, 3, 5, generator=generator) >= probability
    samples = of_samples((x.mean + x.variance.sqrt() * noise) * kept / (1 - probability))
    assert_within_errors(dropout(x, probability, training=True), samples)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d])
def test_dropout_does_nothing_in_evaluation_and_all_at_one(kind: type[nn.Module]) -> None:
    x = uncertain(*SHAPE)
    assert propagated(kind(0.3).eval(), x) is x
    assert_same(propagated(kind(0.3), x), dropout(x, 0.3, training=True))
    assert propagated(kind(0.0), x) is x
    assert not torch.stack(propagated(kind(1.0), x)).any()


def share_moments(mean: Tensor, variance: Tensor, num_samples: int = 40_000) -> tuple[Moments, Tensor, Tensor]:
    """The approximation, and how far drawn softmaxes are from it: in units of the share and of its variance."""
    x = Moments(mean, variance)
    got = softmax(x, 1)
    samples = drawn(lambda values: values.softmax(2), x, num_samples)
    of_mean = ((got.mean - samples.mean).abs() - 4 * samples.mean_error).clamp(min=0)
    of_variance = ((got.variance / samples.variance - 1).abs() - 4 * samples.variance_error / samples.variance).clamp(0)
    return got, of_mean, of_variance


def test_softmax_is_a_first_order_approximation() -> None:
    """Up to a variance of 0.25 of the scores, shares are wrong by up to 0.025, their variances by up to a half; at 0.01
    by 0.001 and 2 %: the error is in proportion to the variance.
    """
    generator = torch.Generator().manual_seed(7)
    for classes in (2, 5):
        mean = 2 * torch.randn(12, classes, 3, generator=generator, dtype=torch.float64)
        for level, bound_of_mean, bound_of_variance in ((0.25, 0.025, 0.5), (0.01, 0.001, 0.02)):
            variance = level * torch.rand(mean.shape, generator=generator, dtype=torch.float64)
            _, of_mean, of_variance = share_moments(mean, variance)
            assert float(of_mean.max()) < bound_of_mean
            assert float(of_variance.max()) < bound_of_variance


def test_softmax_has_the_variance_of_its_derivative() -> None:
    x = uncertain(1, 4, 1)
    jacobian = torch.autograd.functional.jacobian(lambda mean: mean.softmax(0), x.mean[0, :, 0])
    small = Moments(x.mean, 1e-3 * x.variance)
    expected = jacobian.square() @ small.variance[0, :, 0]
    torch.testing.assert_close(softmax(small, 1).variance[0, :, 0], expected, rtol=1e-12, atol=0)


def test_shares_never_vary_more_than_numbers_from_zero_to_one_can() -> None:
    x = uncertain(3, 4, 5)
    for scale in (1.0, 1e3, 1e12):
        got = softmax(Moments(x.mean, scale * x.variance), 1)
        assert bool((got.variance <= got.mean * (1 - got.mean) * (1 + 1e-12)).all())
    assert_same(softmax(x, 2), softmax(x.moved(lambda one: one.mT), 1).moved(lambda one: one.mT))
    assert_same(softmax(x, -1), softmax(x, 2))


def test_a_softmax_without_dim_is_refused() -> None:
    with pytest.raises(ValueError, match="without a dim"):
        propagated(nn.Softmax(), uncertain(2, 3, 4), EAGER)


def test_symmetric_max_pool_without_variance_is_the_ordinary_one() -> None:
    x = uncertain(*SHAPE).mean
    got = propagated(nn.MaxPool2d(2), Moments(x, torch.zeros_like(x)), SYMMETRIC)
    torch.testing.assert_close(got.mean, nn.functional.max_pool2d(x, 2), rtol=0, atol=1e-15)
    assert not got.variance.any()
