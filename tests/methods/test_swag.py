"""SWAG: moments and draws against the formulas and SGD's stationary distribution, and the networks that it keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from contract import CPU, assert_nearly_equal, predict, seeded
from torch import Tensor, nn

from plurimask.distribution import MixtureSegmentation
from plurimask.errors import InputError
from plurimask.method import Loss, MethodConfig, SegmentationMethod, TrainingStep
from plurimask.methods import build_method
from plurimask.methods.swag import SWAG, SWAGConfig, Trajectory
from plurimask.methods.unet import PixelwiseSegmentation
from plurimask.prediction.device import fast_precision

NORMED = {"channels": (5, 7), "normalisation": "batch"}
K, C, H, W = 3, 4, 19, 14


def collected(num: int, size: int, rank: int) -> tuple[Trajectory, Tensor]:
    """Weights that hardly differ, far from 0, where a mean of squares less a squared mean has no digits left."""
    trajectory = Trajectory(rank)
    mixing = torch.randn(size, size, generator=seeded(1))
    weights = 30 + 1e-3 * torch.randn(num, size, generator=seeded(2)) @ mixing
    for one in weights:
        trajectory.collect(one)
    return trajectory, weights.double()


def test_moments_and_deviations_are_those_of_the_weights() -> None:
    trajectory, weights = collected(11, 7, 4)
    torch.testing.assert_close(trajectory.mean.double(), weights.mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(trajectory.variance.double(), weights.var(0, correction=0), rtol=1e-2, atol=0)
    running = torch.stack([weights[: i + 1].mean(0) for i in range(11)])
    assert len(trajectory.deviations) == 4
    torch.testing.assert_close(torch.stack(trajectory.deviations).double(), (weights - running)[-4:], rtol=0, atol=2e-5)
    few, weights = collected(3, 7, 4)  # the first weights deviate from nothing
    assert len(few.deviations) == 2


@pytest.mark.parametrize("low_rank", [True, False])
def test_draws_have_the_covariance_of_the_formula(low_rank: bool) -> None:
    trajectory, _ = collected(9, 6, 5)
    num, generator = 15_000, seeded(3)
    draws = torch.stack([trajectory.draw(low_rank, generator) for _ in range(num)]).double() - trajectory.mean.double()
    columns = torch.stack(trajectory.deviations).double()
    want = torch.diag(trajectory.variance.double())
    if low_rank:
        want = want / 2 + columns.T @ columns / (2 * (5 - 1))
    scale = want.diag().sqrt()
    found = draws.T @ draws / num
    # Of an entry the standard error is sqrt((s_ij^2 + s_ii s_jj) / num): in units of the scales at most sqrt(2 / num).
    errors = (found - want) / (scale[:, None] * scale)
    assert float(errors.abs().max()) < 4.5 * (2 / num) ** 0.5
    # The mean of 30 is rounded to 2e-6 where the scale is about 2e-3.
    assert float((draws.mean(0) / scale).abs().max()) < 4.5 / num**0.5 + 2e-3


class Quadratic(SegmentationMethod):
    """1/2 sum_i h_i w_i^2, whose gradient has noise of standard deviation sigma."""

    Config, summary, paper = MethodConfig, "a test", "none"

    def __init__(self, curvature: Tensor, sigma: float) -> None:
        super().__init__(MethodConfig())
        self.weights, self.curvature, self.sigma = nn.Parameter(torch.zeros(len(curvature))), curvature, sigma

    def forward(self, images: Tensor) -> PixelwiseSegmentation:
        raise NotImplementedError

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        noise = self.sigma * torch.randn(self.weights.shape, generator=generator)
        total = (self.curvature * self.weights.square() / 2 + noise * self.weights).sum()
        return Loss(total * images[0, 0].numel(), {})


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_variances_are_those_of_the_stationary_distribution_of_sgd(momentum: float) -> None:
    """Of w' = w + u', u' = mu u - eta (h w + sigma e): eta sigma^2 (1 + mu) / (h (1 - mu) (2 (1 + mu) - eta h)), which
    without momentum is eta sigma^2 / (h (2 - eta h))."""
    size, eta, sigma, collects = 150, 0.1, 0.3, 200
    h = torch.linspace(2.0, 9.0, size)
    settings: dict[str, Any] = {"warm_up": 0.0, "sgd_weight_decay": 0.0, "burn_in": 60, "collect_every": 20, "rank": 20}
    base = Quadratic(h, sigma)
    swag = SWAG(SWAGConfig(sgd_learning_rate=eta, sgd_momentum=momentum, draws=1, **settings), base)
    images, labels, generator = torch.zeros(1, 1, 3, 5), torch.zeros(1, 1, 3, 5, dtype=torch.uint8), seeded(7)
    for index in range(60 + 20 * collects):
        step = TrainingStep(index, 0.5, generator)
        assert swag.update(images, labels, step) is not None
        swag.after_step(step)
    assert swag.trajectory.count == collects
    want = eta * sigma**2 * (1 + momentum) / (h * (1 - momentum) * (2 * (1 + momentum) - eta * h))
    assert float((swag.trajectory.variance / want).mean()) == pytest.approx(1, abs=0.1)
    for low_rank in (True, False):
        draws = torch.stack([swag.trajectory.draw(low_rank, generator) for _ in range(1000)])
        assert float((draws.var(0) / want).mean()) == pytest.approx(1, abs=0.1)


def trained(base: str = "unet", own: dict[str, Any] | None = None, **settings: Any) -> tuple[SWAG, list[Any]]:
    """A tiny SWAG and the batches that it is to finish with; its budget is used up."""
    torch.manual_seed(0)
    own = NORMED if own is None else own
    common = {"image_channels": K, "num_classes": C, "base": base, "base_settings": {base: own}}
    fast = {"draws": 3, "burn_in": 2, "collect_every": 2, "warm_up": 0.0, "sgd_learning_rate": 0.05}
    swag = build_method("swag", **common, **{**fast, **settings})
    assert isinstance(swag, SWAG)
    images = torch.randn(8, 2, K, H, W, generator=seeded(5))
    labels = (images.sum(2, keepdim=True) > 1).to(torch.uint8)
    batches = [*zip(images, labels, strict=True)]
    for index in range(10):
        step = TrainingStep(index, 0.5, seeded(index))
        with fast_precision(CPU):
            assert swag.update(*batches[index % 8], step) is not None
        swag.after_step(step)
    return swag.train(), batches


def finished(base: str = "unet", own: dict[str, Any] | None = None, **settings: Any) -> SWAG:
    swag, batches = trained(base, own, **settings)
    with fast_precision(CPU):
        swag.finish(batches)
    return swag.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, K, H, W, generator=seeded(1))


def test_each_draw_has_batch_norm_statistics_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plurimask.prediction.device.has_fast_bf16", lambda device: False)
    swag, batches = trained(batch_norm_batches=5)
    stale = {name: value.clone() for name, value in swag.base.named_buffers() if "running_mean" in name}
    momentum = next(module.momentum for module in swag.modules() if isinstance(module, nn.BatchNorm2d))
    swag.finish(iter(batches))
    assert stale
    for network in (swag.base, *swag.members):
        hand = copy.deepcopy(network).train()
        convolution = next(module for module in hand.modules() if isinstance(module, nn.Conv2d))
        norm = next(module for module in hand.modules() if isinstance(module, nn.BatchNorm2d))
        with torch.no_grad():
            means = torch.stack([convolution(images).mean((0, 2, 3)) for images, _ in batches[:5]])
        torch.testing.assert_close(norm.running_mean, means.mean(0), rtol=1e-4, atol=1e-5)
        assert norm.momentum == momentum
        buffers = dict(network.named_buffers())
        assert all(not torch.equal(buffers[name], stale[name]) for name in stale)
    first, second = (dict(member.named_buffers()) for member in list(swag.members)[:2])
    assert all(not torch.equal(first[name], second[name]) for name in stale)


def test_a_draw_is_a_network_and_a_sample_is_its_map(images: Tensor, precision: str) -> None:
    swag = finished()
    assert sum(p.numel() for p in swag.parameters()) == sum(p.numel() for p in swag.base.parameters())
    with torch.no_grad():
        mixture = predict(swag, images).freeze(50)
        alone = [predict(member, images).freeze(1) for member in swag.members]  # type: ignore[arg-type]
    assert isinstance(mixture, MixtureSegmentation)
    assert mixture.num_components == 3
    assert torch.equal(mixture.maps, torch.cat([one.maps for one in alone]))
    torch.testing.assert_close(mixture.mean(), torch.stack([one.mean() for one in alone]).mean(0))
    assert float(mixture.mutual_information().max()) > 0
    weights = [torch.cat([b.flatten() for name, b in m.named_buffers() if "weight" in name]) for m in swag.members]
    assert not torch.equal(weights[0], weights[1])


def test_the_mean_alone_is_one_network(images: Tensor) -> None:
    swag = finished(covariance="none")
    assert len(swag.members) == 0
    found = torch.cat([p.detach().flatten() for p in swag.base.parameters()])
    assert torch.equal(found, swag.trajectory.mean)
    with torch.no_grad():
        assert predict(swag, images).freeze(9).num_components == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("base", "own"),
    [
        ("dropout-unet", {**NORMED, "pooling": "max"}),
        ("probabilistic-unet", {"channels": (5, 7), "latent_dim": 2}),
        ("lightweight-probabilistic", NORMED),
        ("hierarchical-probabilistic-unet", {"channels": (5, 7, 6), "latent_dims": (1, 2), "blocks_per_scale": 1}),
    ],
)
def test_any_method_may_be_underneath(base: str, own: dict[str, Any], images: Tensor, precision: str) -> None:
    swag = finished(base, own, draws=2)
    other = build_method("swag", **swag.config.model_dump())
    other.load_state_dict(swag.state_dict())
    with torch.no_grad():
        want = predict(swag, images).sample(5, seeded())
        assert want.shape == (5, 2, H, W)
        assert_nearly_equal(predict(other.eval(), images).sample(5, seeded()), want, 0.0)


def test_ordinary_training_comes_first_and_never_again(images: Tensor) -> None:
    swag, batches = trained(warm_up=0.4)
    assert swag.update(*batches[0], TrainingStep(10, 0.1, seeded())) is not None  # the budget has grown
    fresh = build_method("swag", image_channels=K, num_classes=C, base_settings={"unet": NORMED}, warm_up=0.4)
    assert fresh.update(*batches[0], TrainingStep(0, 0.39, seeded())) is None
    assert fresh.update(*batches[0], TrainingStep(1, 0.4, seeded())) is not None


def test_the_cyclic_rate_is_lowest_where_weights_are_collected() -> None:
    settings: dict[str, Any] = {"sgd_schedule": "cyclic", "burn_in": 3, "collect_every": 4, "cycle_end": 0.2}
    swag = build_method("swag", sgd_learning_rate=0.5, base_settings={"unet": NORMED}, **settings)
    assert isinstance(swag, SWAG)
    rates = [swag.rate(step) for step in range(11)]
    cycle = [0.4, 0.3, 0.2, 0.1]
    assert rates == pytest.approx([*cycle[1:], *cycle, *cycle])  # weights are collected after steps 7 and 11


def test_too_few_weights_are_refused() -> None:
    swag, batches = trained(burn_in=7)
    with pytest.raises(InputError, match="collected weights 1 times in 10 steps"):
        swag.finish(batches)


def test_what_cannot_be_underneath_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("ensemble", "swag"):
        with pytest.raises(ValueError, match="several networks already"):
            build_method("swag", base=base)
    with pytest.raises(InputError, match="did you mean unet"):
        build_method("swag", base_settings={"unett": {}})
    with pytest.raises(InputError, match=r"base \(unet\): setting chanels"):
        build_method("swag", base_settings={"unet": {"chanels": (4, 6)}})
    monkeypatch.setattr(Quadratic, "update", lambda self, images, labels, step: None)
    with pytest.raises(InputError, match="updates of its own"):
        SWAG(SWAGConfig(), Quadratic(torch.ones(3), 1.0))
