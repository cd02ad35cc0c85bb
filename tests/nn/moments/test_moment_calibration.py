"""Variances fitted to those of noisy passes."""

from __future__ import annotations

import copy

import pytest
import torch
from naive_moments import EAGER, assert_same
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.nn.moments import MomentNetwork, calibrate_moments, moment_network
from plurimask.nn.moments.calibration import drawn_variances
from plurimask.nn.unet import Style, UNetFeatures, class_scores

NOISE = 0.01


def images(count: int, seed: int) -> Tensor:
    return torch.randn(count, 1, 12, 12, generator=torch.Generator().manual_seed(seed))


def smoothing_unet() -> nn.Module:
    """Positive weights, so that neighbours move together."""
    torch.manual_seed(0)
    network = nn.Sequential(UNetFeatures(1, (4, 6), 2, Style("batch")), class_scores(4, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter.abs() * torch.where(torch.rand_like(parameter) < 0.3, -1, 1))
        network.train()(images(4, 9))
    return network.eval()


def last_variances(converted: MomentNetwork, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of the output, drawn and propagated."""
    drawn = list(drawn_variances(converted, x, NOISE, 400, torch.Generator().manual_seed(5)).values())[-1]
    with torch.no_grad():
        return drawn, converted(x, torch.full_like(x, NOISE)).variance


def agreement(converted: MomentNetwork) -> tuple[float, float]:
    """Correlation and ratio, on an image of its own."""
    drawn, propagated = last_variances(converted, images(1, 77))
    correlation = torch.corrcoef(torch.stack([drawn.flatten(), propagated.flatten()]))[0, 1]
    return float(correlation), float(propagated.mean() / drawn.mean())


def test_variances_come_to_agree_with_noisy_passes_on_other_images() -> None:
    converted = moment_network(smoothing_unet(), EAGER)
    x = images(1, 77)
    before, mean = agreement(converted), converted(x, torch.full_like(x, NOISE)).mean
    assert not 0.5 < before[1] < 2
    assert calibrate_moments(converted, images(5, 3), NOISE, num_passes=50, num_steps=50) is converted
    after = agreement(converted)
    assert 0.7 < after[1] < 1.4
    assert after[0] > before[0] + 0.1
    # Activations read variances too, so the means move with them, but little.
    torch.testing.assert_close(converted(x, torch.full_like(x, NOISE)).mean, mean, rtol=0.1, atol=0.1)


def test_what_is_exact_stays() -> None:
    torch.manual_seed(0)
    converted = moment_network(nn.Conv2d(1, 3, 3, padding=1), EAGER)
    calibrate_moments(converted, images(6, 3), NOISE, num_passes=200, num_steps=60)
    assert agreement(converted)[1] == pytest.approx(1, abs=0.05)
    factors = converted.factors.of("0")
    assert factors is not None and float(factors.abs().max()) < 0.3


def test_factors_are_stored_and_weights_and_modes_are_left() -> None:
    network = smoothing_unet()
    state = copy.deepcopy(network.state_dict())
    network.train()
    network[1].eval()
    converted = moment_network(network, EAGER)
    names = set(converted.state_dict())
    next(converted.parameters()).requires_grad_(False)
    calibrate_moments(converted, images(2, 3), NOISE, num_passes=4, num_steps=2)
    assert network.training and network[0].training and not network[1].training
    assert [one.requires_grad for one in converted.parameters()].count(False) == 1
    for name, values in network.state_dict().items():
        assert torch.equal(values, state[name])
    x = images(2, 1)
    expected = converted.eval()(x, torch.full_like(x, NOISE))
    other = moment_network(smoothing_unet(), EAGER).eval()
    assert set(converted.state_dict()) > names
    other.load_state_dict(converted.state_dict())
    for one in (other, copy.deepcopy(converted)):
        assert_same(one(x, torch.full_like(x, NOISE)), expected, tolerance=0)
    double = copy.deepcopy(converted).double()(x.double(), torch.full_like(x, NOISE).double())
    assert_same(double, expected.moved(Tensor.double), tolerance=1e-4)
    other.load_state_dict(moment_network(smoothing_unet(), EAGER).state_dict())
    assert not list(other.factors.buffers())


def test_a_layer_that_is_called_twice_has_one_set_of_factors() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1)
    converted = calibrate_moments(moment_network(nn.Sequential(layer, layer), EAGER), images(2, 3), NOISE, 10, 5)
    assert len(list(converted.factors.buffers())) == 1


def test_the_seed_decides() -> None:
    found = []
    for seed in (0, 0, 1):
        converted = calibrate_moments(moment_network(smoothing_unet(), EAGER), images(5, 3), NOISE, 6, 3, seed)
        found.append(next(converted.factors.buffers()))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("settings", [{"noise_variance": 0.0}, {"num_passes": 1}, {"num_steps": 0}, {"images": None}])
def test_what_cannot_be_fitted_is_refused(settings: dict[str, float]) -> None:
    given: dict[str, object] = {"images": images(2, 3), "noise_variance": NOISE, **settings}
    given["images"] = images(0, 3) if given["images"] is None else given["images"]
    with pytest.raises(InputError, match="calibration needs"):
        calibrate_moments(moment_network(smoothing_unet(), EAGER), **given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="nothing to calibrate"):
        calibrate_moments(moment_network(nn.Sequential(nn.ReLU()), EAGER), images(2, 3), NOISE)
