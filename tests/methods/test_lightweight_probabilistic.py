"""The lightweight probabilistic network against its formulas."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet as ReferenceDirichlet

from plurimask.data.worlds.traps import trap_source
from plurimask.distribution import IGNORE
from plurimask.methods import build_method
from plurimask.methods.lightweight_probabilistic import DirichletSegmentation, LightweightProbabilistic
from plurimask.nn.dirichlet import Dirichlet, smoothed_targets
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run

NAME = "lightweight-probabilistic"
B, R, K, C, H, W = 2, 3, 2, 4, 22, 17
BACKBONES: dict[str, dict[str, Any]] = {
    "unet": {"channels": (5, 7)},
    "unet with batch norm and max-pool": {"channels": (5, 7), "normalisation": "batch", "pooling": "max"},
    "deeplabv3plus": {"backbone": "deeplabv3plus", "channels": (5, 7, 6), "aspp_channels": 8},
    "deeplabv3plus with group norm": {
        "backbone": "deeplabv3plus",
        "channels": (4, 6, 8),
        "aspp_channels": 8,
        "normalisation": "group",
        "separable": True,
    },
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(**settings: Any) -> LightweightProbabilistic:
    torch.manual_seed(0)
    method = build_method(NAME, **{"image_channels": K, "num_classes": C, "channels": (5, 7), **settings})
    assert isinstance(method, LightweightProbabilistic)
    return method


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, K, H, W, generator=seeded(1))


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, C, (B, R, H, W), generator=seeded(2), dtype=torch.uint8)


@pytest.fixture
def dirichlet() -> Dirichlet:
    """Scales from 1e-3, nearly sure, to 3, near the corners."""
    scores = torch.randn(B, C, H, W, generator=seeded(3)).clamp(-1.5, 1.5)
    return Dirichlet(scores.log_softmax(1), torch.linspace(-7, 1.1, B * H * W).view(B, H, W))


# ---- the network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_learns_and_predicts(backbone: str, images: Tensor, precision: str) -> None:
    method = built(**BACKBONES[backbone])
    labels = (images[:, :1] > 0).to(torch.uint8) * 3
    optimizer = torch.optim.Adam(method.parameter_groups(3e-3), lr=3e-3)
    values = []
    for step in range(60):
        loss = method.loss(images, labels, seeded(step))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        values.append(float(loss.terms["cross_entropy"]))
    assert values[-1] < 0.8 * values[0]
    prediction = method.eval()(images)
    assert bool(torch.isfinite(prediction.variance()).all())
    assert bool((prediction.variance() >= 0).all())
    assert 0 < float(prediction.variance().mean().detach()) < 1 / 4


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_means_without_noise_are_those_of_the_ordinary_network(backbone: str, images: Tensor) -> None:
    method = built(**BACKBONES[backbone], variance_floor=0.0, noise_variance=1e-30).eval()
    with torch.no_grad():
        moments, ordinary = method.moments(images), method.network.network(images)
    torch.testing.assert_close(moments.mean, ordinary, atol=1e-4, rtol=1e-4)


def test_more_noise_gives_a_wider_dirichlet(images: Tensor) -> None:
    settings = {"variance_floor": 0.0, "initial_scale": (-7.0, 0.0)}
    few, many = (built(**settings, noise_variance=noise).eval() for noise in (1e-3, 1e-1))
    with torch.no_grad():
        assert bool((few(images).dirichlet.log_scale < many(images).dirichlet.log_scale).all())


def test_c1_and_c2_have_their_own_learning_rate_and_start() -> None:
    method = built(scale_learning_rate=0.25, initial_scale=(-7.0, 1.5))
    *_, scales = method.parameter_groups(1e-3)
    assert [float(p.detach()) for p in scales["params"]] == [-7.0, 1.5]
    assert scales["lr"] == 0.25
    assert scales["weight_decay"] == 0.0
    assert not scales["clip"]


def test_the_unet_has_no_group_norm() -> None:
    with pytest.raises(ValueError, match="group"):
        built(normalisation="group")


# ---- the loss -----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_published_likelihood(images: Tensor, labels: Tensor) -> None:
    """Written out with torch's Dirichlet, in float64."""
    method = built(off_targets="uniform", label_smoothing=0.03, scale_form="released-code", initial_scale=(-1.0, 0.5))
    loss = method.loss(images, labels)
    scores = method.moments(images)
    mean, variance = scores.mean.double().softmax(1), scores.variance.double()
    c1, c2 = math.log1p(math.exp(-1.0)), math.log1p(math.exp(0.5))
    scale = 1e-4 + c1 + c2 * (mean**2 * variance).sum(1, keepdim=True).sqrt()
    reference = ReferenceDirichlet((mean / scale).movedim(1, -1))
    total = 0.0
    for rater in range(R):
        hot = torch.nn.functional.one_hot(labels[:, rater].long(), C).double()
        total += float(-reference.log_prob(0.97 * hot + 0.03 / C).detach().sum()) / (B * R)
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-4)


def test_random_targets_follow_the_generator(images: Tensor, labels: Tensor) -> None:
    method = built(off_targets="random")
    first, second, other = (float(method.loss(images, labels, seeded(seed)).total.detach()) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_targets_of_ignored_pixels_do_not_matter(images: Tensor, labels: Tensor) -> None:
    labels[:, :, :5] = IGNORE
    hot = smoothed_targets(labels[:, 0], C, 0.01, "random", seeded())
    assert bool(torch.isfinite(hot).all())
    assert bool(torch.isfinite(built().loss(images, labels, seeded()).total))


# ---- the prediction -----------------------------------------------------------------------------------------------


def test_closed_forms_are_the_moments_of_the_draws(dirichlet: Dirichlet) -> None:
    """Pixel by pixel within 5 standard errors of 4,000 draws (there are some 7,000 numbers)."""
    prediction, num = DirichletSegmentation(dirichlet), 4000
    draws = prediction.logits(prediction.draw_noise(num, seeded())).double().softmax(2)
    error = draws.std(0) / num**0.5
    assert bool(((draws.mean(0) - prediction.mean()).abs() <= 5 * error + 1e-4).all())
    squares = (draws - draws.mean(0)).square()
    assert bool(((squares.mean(0) - prediction.variance()).abs() <= 5 * squares.std(0) / num**0.5 + 1e-4).all())
    entropies = torch.special.entr(draws).sum(2)
    difference = (entropies.mean(0) - prediction.expected_entropy()).abs()
    assert bool((difference <= 5 * entropies.std(0) / num**0.5 + 1e-4).all())
    information = prediction.entropy() - prediction.expected_entropy()
    torch.testing.assert_close(prediction.mutual_information(), information.clamp(min=0))


def test_pixels_are_drawn_independently_of_each_other() -> None:
    """Equal pixels in doubt: neighbours agree as often as chance has it."""
    scores = torch.zeros(1, 2, 9, 11)
    prediction = DirichletSegmentation(Dirichlet(scores.log_softmax(1), torch.zeros(1, 9, 11)))
    maps = prediction.sample(3000, seeded())[:, 0].double() - 0.5
    products = maps[:, :, 1:] * maps[:, :, :-1]
    assert abs(float(products.mean())) <= 4 * 0.25 / products.numel() ** 0.5


def test_the_probability_of_label_maps_is_that_of_its_pixels(dirichlet: Dirichlet, labels: Tensor) -> None:
    labels[0, 1, 3:, :] = IGNORE
    got = DirichletSegmentation(dirichlet).log_prob(labels)
    mean = dirichlet.log_mean.exp()
    for image in range(B):
        for rater in range(R):
            total = 0.0
            for row in range(H):
                for column in range(W):
                    label = int(labels[image, rater, row, column])
                    total += 0.0 if label == IGNORE else math.log(float(mean[image, label, row, column]))
            assert float(got[image, rater]) == pytest.approx(total, rel=1e-4)


def test_statistics_are_asked_without_draws(images: Tensor) -> None:
    method = built().eval()
    (batch,) = predict_images(method, [("a", images[0]), ("b", images[1])], Sampling(3))
    assert isinstance(batch.statistics, DirichletSegmentation)
    assert batch.samples.shape == (3, B, H, W)


@pytest.mark.parametrize("backbone", ["unet", "deeplabv3plus"])
def test_a_run_on_trapped_yeast(backbone: str, tmp_path: Path, precision: str) -> None:
    source = trap_source(6, 3, size=64)
    settings = {"channels": (4, 6), "backbone": backbone, "max_steps": 10, "batch_size": 2, "num_validations": 2}
    train_run(Plan(NAME, "small", settings, 0), source, tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        header = next(csv.reader(file))
    assert {"dirichlet", "cross_entropy", "c1", "c2"} <= set(header)
    method = load_run(tmp_path / "run").method
    assert isinstance(method, LightweightProbabilistic)
    assert method.config.backbone == backbone
    image = source.splits["val"][0].image[None]
    assert method(image).mean().shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"normalisation": "group"}, "is for deeplabv3plus"),
        ({"backbone": "deeplabv3plus", "channels": (4, 8), "output_stride": 16}, "stride"),
        ({"initial_scale": (-7.0, -200.0)}, "greater than or equal to -12"),
        ({"initial_scale": (-7.0,)}, "initial_scale"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        built(**settings)
