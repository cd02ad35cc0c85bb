"""The Hierarchical Probabilistic U-Net against its paper."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from plurimask.data.worlds.lesions import lesion_source
from plurimask.distribution import IGNORE
from plurimask.method import TrainingStep
from plurimask.methods import build_method
from plurimask.methods.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from plurimask.methods.presets import PRESETS
from plurimask.nn.latent import Gaussian
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run
from plurimask.training import fit

NAME = "hierarchical-probabilistic-unet"
N, B, R, K, C, H, W = 5, 2, 3, 2, 4, 26, 19
SMALL: dict[str, Any] = {"channels": (5, 6, 7, 8), "latent_dims": (2, 1, 3), "blocks_per_scale": 1}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**settings: Any) -> HierarchicalProbabilisticUNet:
    torch.manual_seed(0)
    method = build_method(NAME, image_channels=K, num_classes=C, **{**SMALL, **settings})
    assert isinstance(method, HierarchicalProbabilisticUNet)
    return method


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, K, H, W, generator=seeded(1))


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, C, (B, R, H, W), generator=seeded(2), dtype=torch.uint8)


# ---- the published network ----------------------------------------------------------------------------------------


def convolution(before: int, after: int, size: int = 3) -> int:
    return size * size * before * after + after


def scale(before: int, after: int) -> int:
    """Three residual blocks: three 3x3 convolutions of half width, a 1x1 one; a 1x1 shortcut where widths change."""
    inner, blocks = after // 2, 0
    for first in (before, after, after):
        blocks += convolution(first, inner) + 2 * convolution(inner, inner) + convolution(inner, after, 1)
    return blocks + (convolution(before, after, 1) if before != after else 0)


def test_has_the_published_number_of_parameters_less_what_is_never_used() -> None:
    widths = (24, 48, 96, 192, 192, 192, 192, 192)

    def encoder(inputs: int) -> int:
        return sum(scale(before, after) for before, after in zip((inputs, *widths), widths, strict=False))

    gaussians = 4 * convolution(192, 2, 1)  # one latent channel at each of four scales
    within = 3 * scale(192 + 1 + 192, 192)  # decoder scales between the latents
    after_last = scale(192 + 1 + 192, 192)  # the released posterior has this one too, and uses it for nothing
    stitching = scale(192 + 96, 96) + scale(96 + 48, 48) + scale(48 + 24, 24) + convolution(24, 2, 1)
    prior = encoder(1) + gaussians + within + after_last
    released = prior + (encoder(3) + gaussians + within + after_last) + stitching
    assert released == 21_877_230
    method = build_method(NAME, **PRESETS[NAME]["lidc"].method)
    assert isinstance(method, HierarchicalProbabilisticUNet)
    weights = sum(p.numel() for p in method.parameters()) - 1  # log lambda
    assert weights == released - after_last == 20_584_302
    used = [*method.prior_core.parameters(), *method.stitching_decoder.parameters()]
    assert sum(p.numel() for p in used) == 11_184_166  # to predict
    places = method.latent_places((128, 128))
    assert [shape for shape, _ in places] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8)]
    assert [stride for _, stride in places] == [(128, 128), (64, 64), (32, 32), (16, 16)]


def test_a_step_passes_each_core_once_whatever_the_number_of_raters(images: Tensor, labels: Tensor) -> None:
    method, seen = small(), list[tuple[str, int]]()
    for name in ("prior_core", "posterior_core"):
        getattr(method, name).encoder.register_forward_hook(
            lambda _, inputs, __, name=name: seen.append((name, len(inputs[0])))
        )
        last = getattr(method, name).gaussians[-1]
        last.register_forward_hook(lambda _, inputs, __, name=name: seen.append((f"{name} latents", len(inputs[0]))))
    method.loss(images, labels, seeded())
    assert seen == [
        ("prior_core", B),
        ("posterior_core", B * R),
        ("posterior_core latents", B * R),
        ("prior_core latents", B * R),
    ]


def test_sampling_encodes_the_image_once(images: Tensor) -> None:
    method, seen = small(), list[int]()
    method.prior_core.encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    method(images).sample(N)
    assert seen == [B]


# ---- losses -------------------------------------------------------------------------------------------------------


def test_the_prior_is_fed_with_the_latents_of_the_posterior(images: Tensor, labels: Tensor) -> None:
    """The terms by hand, one rater at a time: q's draws in both networks, KL summed over places and levels."""
    method = small(objective="elbo", beta=0.3)
    loss = method.loss(images, labels[:, :1], seeded(3))
    one_hot = torch.nn.functional.one_hot(labels[:, 0].long(), C).movedim(-1, 1) - 0.5
    noise = seeded(3)
    drawn: list[Tensor] = []

    def draw(level: int, q: Gaussian) -> Tensor:
        drawn.append(q.mean + q.log_sigma.exp() * torch.randn(q.mean.shape, generator=noise))
        return drawn[-1]

    posterior = method.posterior_core(torch.cat([images, one_hot], 1), draw)
    priors: list[Gaussian] = []

    def follow(level: int, p: Gaussian) -> Tensor:
        priors.append(p)
        return drawn[level]

    logits, _ = method.decode(method.encode(images), torch.arange(B), follow)
    for level, (q, p) in enumerate(zip(posterior, priors, strict=True)):
        reference = torch.distributions.kl_divergence(
            torch.distributions.Normal(q.gaussian.mean, q.gaussian.log_sigma.exp()),
            torch.distributions.Normal(p.mean, p.log_sigma.exp()),
        ).sum((1, 2, 3))
        torch.testing.assert_close(loss.terms[f"kl_{level}"], reference.mean().detach())
    assert float(loss.terms["kl"]) == pytest.approx(sum(float(loss.terms[f"kl_{k}"]) for k in range(3)), rel=1e-5)
    surprise = -logits.log_softmax(1).gather(1, labels[:, :1].long()).sum((1, 2, 3)).mean()
    torch.testing.assert_close(loss.terms["reconstruction"], surprise.detach())
    torch.testing.assert_close(loss.total, surprise + 0.3 * loss.terms["kl"], rtol=1e-5, atol=0)


def test_geco_constrains_the_hard_pixels(images: Tensor, labels: Tensor) -> None:
    method = small(hard_pixel_share=0.1, kappa=0.2)
    loss = method.loss(images, labels, seeded())
    per_map = int(0.1 * B * R * H * W) / (B * R)
    reconstruction = float(loss.terms["reconstruction"])
    assert float(loss.terms["reconstruction_per_pixel"]) == pytest.approx(reconstruction / per_map, rel=1e-5)
    assert float(loss.total.detach()) == pytest.approx(
        reconstruction - 0.2 * per_map + float(loss.terms["kl"]), rel=1e-5
    )  # lambda is 1, the average its first value
    assert float(loss.terms["lambda"]) == 1


def test_the_multiplier_has_a_group_of_its_own() -> None:
    method = small(multiplier_rate=0.03)
    *others, own = method.parameter_groups(1e-3)
    assert own["lr"] == 0.03
    assert own["weight_decay"] == 0
    assert not own["clip"] and not own["average"]
    assert method.constraint is not None
    assert own["params"] == [method.constraint.log_multiplier]
    assert all(p is not own["params"][0] for group in others for p in group["params"])
    assert small(objective="elbo").constraint is None
    assert len(small(objective="elbo").parameter_groups(1e-3)) == 2


@pytest.mark.parametrize("dims", [(), (1, 0), (1, -1, 1), (1, 1, 1, 1, 1)])
def test_impossible_latents_are_refused(dims: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="latent_dims"):
        small(latent_dims=dims)


@pytest.mark.parametrize("dims", [(3,), (0, 0, 2), (1, 0, 0, 2)])
@pytest.mark.parametrize("blocks", ["residual", "plain"])
def test_latents_at_any_set_of_scales(dims: tuple[int, ...], blocks: str, images: Tensor, labels: Tensor) -> None:
    method = small(latent_dims=dims, blocks=blocks)
    prediction = method(images)
    sizes = [(4, 3), (7, 5), (13, 10), (26, 19)]
    assert [part.shape for part in prediction.noise] == [(d, *size) for d, size in zip(dims, sizes, strict=False) if d]
    assert prediction.sample(N).shape == (N, B, H, W)
    method.loss(images, labels, seeded()).total.backward()
    unused = [key for key, p in method.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert not unused


# ---- sampling -----------------------------------------------------------------------------------------------------


def test_latents_of_noise_decode_to_what_the_noise_does(images: Tensor) -> None:
    with torch.no_grad():
        prediction = small().eval()(images)
        noise = prediction.draw_noise(N, seeded())
        latents = prediction.latents(noise)
        assert [tuple(z.shape) for z in latents] == [(N, B, *part.shape) for part in prediction.noise]
        torch.testing.assert_close(prediction.decode(latents), prediction.logits(noise))


def test_levels_that_are_not_given_are_drawn_given_the_others(images: Tensor) -> None:
    with torch.no_grad():
        prediction = small().eval()(images)
        noise = prediction.draw_noise(N, seeded(5))
        latents = prediction.latents(noise)
        for given in ([latents[0]], [latents[0], None, None], [None, latents[1]], [None, None, latents[2]]):
            first, second = (prediction.decode(given, prediction.draw_noise(N, seeded(seed))) for seed in (5, 6))
            assert not torch.equal(first, second)
        # the same noise at the other levels: given what it leads to anyway, nothing changes
        torch.testing.assert_close(prediction.decode([latents[0]], noise), prediction.logits(noise))
        with pytest.raises(ValueError, match="at least one of them given"):
            prediction.decode([None, None])
        with pytest.raises(ValueError, match="same number of samples"):
            prediction.decode([latents[0], latents[1][:2]])


def test_the_first_samples_are_the_same_however_many_are_drawn(images: Tensor) -> None:
    prediction = small()(images)
    few, many = (prediction.draw_noise(number, seeded()) for number in (5, 18))
    assert all(torch.equal(one, other[:5]) for one, other in zip(few, many, strict=True))
    assert all(abs(float(own.std()) - 1) < 0.2 for own in many)


def test_levels_held_at_the_prior_mean_do_not_vary(images: Tensor) -> None:
    with torch.no_grad():
        method = small().eval()
        prediction = method(images)
        noise = prediction.draw_noise(N, seeded(), at_mean=(1,))
        free = prediction.draw_noise(N, seeded())
        assert torch.equal(noise[0], free[0]) and torch.equal(noise[2], free[2])  # what is drawn stays the same
        _, levels = method.decode(
            prediction.encoding, torch.arange(B), lambda level, p: p.mean if level == 1 else noise[level][0]
        )
        torch.testing.assert_close(levels[1].latents, levels[1].gaussian.mean)
        held = prediction.sample(N, seeded(), at_mean=(0, 1, 2))
        assert bool((held == held[:1]).all())
        for level in range(3):
            others = tuple(k for k in range(3) if k != level)
            latents = prediction.latents(prediction.draw_noise(N, seeded(), at_mean=others))
            assert float(latents[level].std(0).min()) > 0
            before = range(level)
            assert all(float(latents[k].std(0).max()) == 0 for k in before)
        with pytest.raises(ValueError, match="normal parts"):
            prediction.sample(N, at_mean=(3,))


def test_reconstructions_decode_the_means_of_the_posterior(images: Tensor, labels: Tensor) -> None:
    labels = labels.clone()
    labels[0, 1] = IGNORE
    with torch.no_grad():
        method = small().eval()
        maps = method.reconstruct(images, labels)
        assert bool((maps[0, 1] == IGNORE).all())
        means = [level.gaussian.mean[None] for level in method.posterior(images[1:], labels[1:, 2])]
        want = method(images[1:]).decode(means)[0, 0].argmax(0)
    assert float((maps[1, 2] != want).float().mean()) < 1e-3


# ---- training -----------------------------------------------------------------------------------------------------


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


TRAINING: dict[str, Any] = {
    "channels": (4, 6, 8),
    "latent_dims": (1, 1),
    "blocks_per_scale": 1,
    "multiplier_rate": 0.05,
    "batch_size": 3,
    "max_steps": 40,
    "num_validations": 2,
    "validation_samples": 4,
    "warmup_steps": 2,
    "ema_decay": 0.9,
}


@pytest.mark.slow
def test_a_stopped_run_continues_lambda_and_its_average_to_the_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    source, plan = lesion_source(num_train=11, num_val=4, seed=1, size=36), Plan(NAME, settings=TRAINING, seed=2)
    train_run(plan, source, tmp_path / "whole")
    original, calls = HierarchicalProbabilisticUNet.after_step, []

    def die(self: HierarchicalProbabilisticUNet, step: TrainingStep) -> None:
        calls.append(1)
        if len(calls) == 24:
            raise RuntimeError("power cut")
        original(self, step)

    monkeypatch.setattr(HierarchicalProbabilisticUNet, "after_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        train_run(plan, source, tmp_path / "cut")
    monkeypatch.setattr(HierarchicalProbabilisticUNet, "after_step", original)
    train_run(plan, source, tmp_path / "cut", resume=True)

    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["method"]
        for name in ("whole", "cut")
    ]
    for key in ("constraint.log_multiplier", "constraint.average", "constraint.num_averaged"):
        assert torch.equal(states[0][key], states[1][key]), key
    assert int(states[0]["constraint.num_averaged"]) == 40
    whole, cut = (rows_of(tmp_path / name) for name in ("whole", "cut"))
    for column in ("lambda", "reconstruction", "reconstruction_per_pixel", "kl_0", "kl_1"):
        assert [row[column] for row in whole] == [row[column] for row in cut], column


def test_lambda_follows_its_own_rate_and_is_not_averaged(tmp_path: Path) -> None:
    """It grows by its rate a step while the constraint is broken, and the kept weights have its last value."""
    source = lesion_source(num_train=11, num_val=4, seed=1, size=36)
    constant = {"learning_rate": 1e-5, "schedule": "piecewise", "drops": ((0.99, 0.5),), "warmup_steps": 0}
    train_run(Plan(NAME, settings={**TRAINING, **constant, "num_validations": 1}), source, tmp_path / "run")
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    value = last["method"]["constraint.log_multiplier"]
    # Adam's steps are the rate, and more while gradients grow, which are in proportion to lambda.
    assert 40 * 0.05 < float(value) < 1.4 * 40 * 0.05
    assert float(rows_of(tmp_path / "run")[0]["lambda"]) == pytest.approx(
        sum(math.exp(0.05 * step) for step in range(10)) / 10, rel=0.05
    )
    kept = load_file(tmp_path / "run" / "weights.safetensors")
    assert torch.equal(kept["constraint.log_multiplier"], value)


# ---- the energy score beside the bound ----------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["geco", "elbo"])
def test_draws_from_the_prior_are_charged_beside_the_bound(objective: str, images: Tensor, labels: Tensor) -> None:
    """The weighted score is all that is added, and it reaches the prior's network but not the posterior's."""
    settings = {"objective": objective, "energy_samples": 3}
    plain, weighted = (small(**settings, energy_weight=weight) for weight in (0.0, 7.0))
    weighted.load_state_dict(plain.state_dict())
    bound, loss = (method.loss(images, labels, seeded()) for method in (plain, weighted))
    charge = 7 * (loss.terms["energy_score"] + loss.terms["pixels"])
    torch.testing.assert_close(loss.total, bound.total + charge)
    bound.total.backward()
    loss.total.backward()
    pairs = {
        name: (of.grad, own.grad)
        for (name, of), own in zip(plain.named_parameters(), weighted.parameters(), strict=True)
    }
    changed = {
        name.split(".")[0] for name, (of, own) in pairs.items() if of is not None and not torch.allclose(of, own)
    }
    assert "prior_core" in changed and "stitching_decoder" in changed
    assert "posterior_core" not in changed
