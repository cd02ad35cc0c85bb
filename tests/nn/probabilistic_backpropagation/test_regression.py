"""Regression: the gradients by hand, one pass against an exact posterior, and what a network learns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

from plurimask.errors import InputError
from plurimask.nn.moments import Propagation, moment_network
from plurimask.nn.probabilistic_backpropagation import Regression
from plurimask.nn.probabilistic_backpropagation.layers import Layer, backward, forward


def test_gradients_by_hand_are_those_of_automatic_differentiation() -> None:
    random, widths = np.random.default_rng(0), (4, 6, 5, 1)
    layers = [
        Layer(random.normal(size=(after, before + 1)), random.uniform(0.1, 0.6, (after, before + 1)))
        for before, after in pairwise(widths)
    ]
    modules: list[nn.Module] = []
    for mean, _ in layers:
        modules += [nn.ReLU(), nn.Linear(mean.shape[1] - 1, mean.shape[0], dtype=torch.float64)]
    network = moment_network(nn.Sequential(*modules[1:]), Propagation(compiled=False), weight_variance=1.0)
    linear = [layer for layer in modules if isinstance(layer, nn.Linear)]
    parameters = [one for layer in linear for one in (layer.weight, layer.bias)]
    variances = list(network.variances.values())
    with torch.no_grad():
        for number, (own_mean, own_variance) in enumerate(layers):
            for target, source in ((parameters, own_mean), (variances, own_variance)):
                target[2 * number].copy_(torch.from_numpy(source[:, :-1]))
                target[2 * number + 1].copy_(torch.from_numpy(source[:, -1]))
    x = random.normal(size=4)
    inputs = torch.from_numpy(x)[None]
    want = network(inputs, torch.zeros_like(inputs))
    mean, variance, passed = forward(layers, x)
    np.testing.assert_allclose([mean, variance], [float(part.detach()) for part in want])
    (0.7 * want.mean - 0.3 * want.variance).sum().backward()
    for number, (of_mean, of_variance) in enumerate(backward(layers, passed, 0.7, -0.3)):
        for got, own in ((of_mean, parameters), (of_variance, variances)):
            weight, bias = own[2 * number].grad, own[2 * number + 1].grad
            assert weight is not None
            assert bias is not None
            np.testing.assert_allclose(got, np.column_stack([weight.numpy(), bias.numpy()]), atol=1e-12)


def test_one_pass_over_a_linear_model_is_near_the_exact_posterior() -> None:
    """An orthogonal design, whose posterior factorises: means within 5 %, variances within 15 %."""
    random = np.random.default_rng(0)
    x = hadamard(512)[:, 1:5].astype(np.float64)
    y = x @ [0.3, -0.5, 0.2, 0.7] + 1.0 + 0.5 * random.normal(size=512)
    model = Regression(hidden=(), noise_variance=0.25, weight_precision=0.2).fit(x, y, epochs=1)
    (layer,) = model.layers
    noise, inputs = 0.25 / y.var(), np.column_stack([x, np.ones(512)])
    precision = inputs.T @ inputs / noise + 0.2 * 5 * np.eye(5)
    exact = np.linalg.solve(precision, inputs.T @ ((y - y.mean()) / y.std()) / noise)
    np.testing.assert_allclose(precision, np.diag(np.diag(precision)), atol=1e-9)
    np.testing.assert_allclose(layer.mean[0, :4], exact[:4], rtol=0.05)
    np.testing.assert_allclose(layer.mean[0, 4], 0, atol=0.05)  # of a bias that is 0
    np.testing.assert_allclose(layer.variance[0], 1 / np.diag(precision), rtol=0.15)


@pytest.fixture(scope="module")
def bent() -> Regression:
    """y = |x_1| + noise of variance 0.01 within [-2, 2]; x_2 says nothing, x_3 is constant."""
    random = np.random.default_rng(3)
    x = np.column_stack([random.uniform(-2, 2, 240), random.normal(size=240), np.full(240, 5.0)])
    return Regression(hidden=(20,), seed=1).fit(x, 3 * np.abs(x[:, 0]) + 0.3 * random.normal(size=240), epochs=15)


def test_a_network_learns_what_no_line_is(bent: Regression) -> None:
    random = np.random.default_rng(4)
    x = np.column_stack([random.uniform(-2, 2, 200), random.normal(size=200), np.full(200, 5.0)])
    truth = 3 * np.abs(x[:, 0])
    mean, variance = bent.predict(x)
    assert float(np.sqrt(((mean - truth) ** 2).mean())) < 0.35  # a line has 1.7
    assert bool((variance > bent.noise_variance).all())
    inside = np.abs(mean - truth - 0.3 * random.normal(size=200)) < 1.645 * np.sqrt(variance)
    assert 0.8 < float(inside.mean()) <= 1


def test_it_is_less_sure_away_from_the_data(bent: Regression) -> None:
    _, variance = bent.predict([[0.5, 0, 5], [8, 0, 5]])
    assert variance[1] - bent.noise_variance > 5 * (variance[0] - bent.noise_variance)


def test_units_of_the_data_change_nothing_and_a_seed_gives_the_same() -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=(60, 2))
    y = x[:, 0] + 0.1 * random.normal(size=60)
    model = Regression(hidden=(4,), seed=2).fit(x, y, epochs=2)
    other = Regression(hidden=(4,), seed=2).fit(100 * x + 7, 10 * y - 3, epochs=2)
    mean, variance = other.predict(100 * x + 7)
    want = model.predict(x)
    np.testing.assert_allclose((mean + 3) / 10, want.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(variance / 100, want.variance, rtol=1e-6)
    assert not np.allclose(Regression(hidden=(4,), seed=3).fit(x, y, epochs=2).predict(x).mean, want.mean)


def test_mistakes_are_said() -> None:
    with pytest.raises(InputError, match="noise_variance must be above 0"):
        Regression(noise_variance=0.0)
    with pytest.raises(InputError, match=r"expected \(N, D\) and \(N,\)"):
        Regression().fit(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(InputError, match="NaN"):
        Regression().fit([[0.0], [np.nan]], [1.0, 2.0])
    with pytest.raises(InputError, match="call fit"):
        Regression().predict([[1.0]])
    with pytest.raises(InputError, match=r"expected \(N, 1\)"):
        Regression(hidden=(2,)).fit([[0.0], [1.0]], [1.0, 2.0], epochs=1).predict([[1.0, 2.0]])
