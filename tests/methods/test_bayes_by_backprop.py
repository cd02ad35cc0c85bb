"""Bayes by Backprop: what a sample is, what training is told, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from contract import B, C, H, K, N, W, predict, seeded
from safetensors.torch import load_file

from plurimask.data.worlds.lesions import lesion_source
from plurimask.method import SegmentationMethod, TrainingStep
from plurimask.methods import build_method
from plurimask.methods.bayes_by_backprop import BayesByBackprop, BayesByBackpropConfig
from plurimask.nn.bayesian import GaussianPrior, ScaleMixturePrior, pruned, signal_to_noise
from plurimask.nn.bayesian.network import of_parameters
from plurimask.nn.strips import strips_of
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run
from plurimask.training import fit

SETTINGS: dict[str, Any] = {"channels": (5, 7), "convs_per_scale": 1, "image_channels": K, "num_classes": C}


def built(**settings: Any) -> BayesByBackprop:
    torch.manual_seed(0)
    method = build_method("bayes-by-backprop", **{**SETTINGS, **settings})
    assert isinstance(method, BayesByBackprop)
    return method


def test_a_sample_is_one_network_for_all_images(precision: str) -> None:
    method, images = built(initial_sigma=0.2).eval(), torch.randn(1, K, H, W, generator=seeded(1))
    with torch.no_grad():
        twice = predict(method, torch.cat([images, images]))
        logits = twice.logits(twice.draw_noise(N, seeded()))
        torch.testing.assert_close(logits[:, 0], logits[:, 1])
        assert not torch.equal(logits[0], logits[1])
        (numbers,) = twice.expand(twice.draw_noise(N, seeded()))
        assert numbers.shape == (N, method.network.num_weights)
        assert float(numbers.std()) == pytest.approx(1, abs=5 / numbers.numel() ** 0.5)


def test_a_sample_is_a_pass_of_the_ordinary_network_with_drawn_weights() -> None:
    method, images = built(initial_sigma=0.2).eval(), torch.randn(B, K, H, W, generator=seeded(1))
    with torch.no_grad():
        prediction = method(images)
        (numbers,) = prediction.expand(prediction.draw_noise(1, seeded()))
        mean, sigma = method.network.posterior()
        parameters = list(method.network.network.parameters())  # all of which are Gaussian
        for parameter, drawn in zip(parameters, of_parameters(mean + sigma * numbers[0], parameters), strict=True):
            parameter.copy_(drawn)
        torch.testing.assert_close(prediction.logits((numbers,))[0], method.network.network(images))


def test_draws_share_their_place_in_memory_and_nothing_else(precision: str) -> None:
    """Without gradients the weights of all draws are written into one row, one after the other."""
    method, images = built(initial_sigma=0.2).eval(), torch.randn(B, K, H, W, generator=seeded(1))
    learning = predict(method, images)
    noise = learning.draw_noise(N, seeded())
    found = learning.logits(noise)
    with torch.no_grad():
        prediction = predict(method, images)
        together = prediction.logits(noise)
        alone = torch.cat([prediction.logits((noise[0][number : number + 1],)) for number in range(N)])
        assert torch.equal(together, alone)
        assert torch.equal(prediction.logits(prediction.expand(noise)), together)
        rounding = 0.02 if precision == "bf16" else 1e-5
        torch.testing.assert_close(found.detach(), together, rtol=rounding, atol=rounding)
    means = list(method.network.network.parameters())
    gradients = torch.autograd.grad(found.square().mean(), [*means, *method.network.rho.parameters()])
    assert all(bool(gradient.any()) for gradient in gradients)


def test_large_images_are_drawn_in_strips() -> None:
    method, images = built(initial_sigma=0.1).eval(), torch.randn(1, K, 150, 9, generator=seeded(1))
    with torch.no_grad():
        whole = method(images).freeze(3, seeded()).mean()
        with strips_of(0):
            torch.testing.assert_close(method(images).freeze(3, seeded()).mean(), whole)


def test_the_loss_is_the_likelihood_and_the_divergence_s_share() -> None:
    images = torch.randn(B, K, H, W, generator=seeded(1))
    labels = torch.randint(C, (B, 2, H, W), generator=seeded(2), dtype=torch.uint8)
    for method in (built(), built(kl_scale=0.5), built(prior="gaussian", prior_sigma=0.3)):
        method.begin(num_images=40, num_batches=20)
        loss = method.loss(images, labels, seeded())
        scale = method.config.kl_scale
        want = loss.terms["cross_entropy"] + scale * loss.terms["kl"] / 40
        torch.testing.assert_close(loss.total, want)
    torch.testing.assert_close(loss.terms["kl"], GaussianPrior(0.3).kl(method.network.posterior()))
    assert isinstance(built().prior, ScaleMixturePrior)
    halving = built(kl_shares="halving", kl_warmup=0.5, prior="gaussian")
    halving.begin(num_images=40, num_batches=20)
    halving.after_step(TrainingStep(0, 0.25, seeded()))
    loss = halving.loss(images, labels, seeded())
    want = loss.terms["cross_entropy"] + 0.5 * loss.terms["kl"] / 40 * 20 * 2**18 / (2**20 - 1)
    torch.testing.assert_close(loss.total, want)


def test_the_wider_gaussian_of_the_prior_comes_first() -> None:
    with pytest.raises(ValueError, match=r"the larger first, not 0\.1 and 0\.2"):
        BayesByBackpropConfig(mixture_sigmas=(0.1, 0.2))


def trained(folder: Path, method: str, steps: int, **settings: Any) -> None:
    source = lesion_source(num_train=24, num_val=3, seed=3, size=32)
    common = {"channels": (6, 8), "convs_per_scale": 1, "batch_size": 5, "warmup_steps": 2, "num_validations": 2}
    budget = {"max_steps": steps, "validation_samples": 4, "ema_decay": 0.9}
    train_run(Plan(method, settings={**common, **budget, **settings}, seed=2), source, folder, resume=folder.exists())


def test_training_says_how_many_images_there_are(tmp_path: Path) -> None:
    trained(tmp_path / "one", "bayes-by-backprop", 2)
    kept = load_file(tmp_path / "one" / "weights.safetensors")
    assert (int(kept["kl_weight.num_images"]), int(kept["kl_weight.num_batches"])) == (24, 5)


def test_a_killed_run_continues_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    settings = {"kl_shares": "halving", "kl_warmup": 0.9}  # what a step weighs depends on those before
    trained(tmp_path / "whole", "bayes-by-backprop", 8, **settings)
    original = BayesByBackprop.after_step

    def die(self: BayesByBackprop, step: TrainingStep) -> None:
        if step.index == 5:
            raise RuntimeError("power cut")
        original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(BayesByBackprop, "after_step", die)
        with pytest.raises(RuntimeError, match="power cut"):
            trained(tmp_path / "cut", "bayes-by-backprop", 8, **settings)
    trained(tmp_path / "cut", "bayes-by-backprop", 8, **settings)
    whole, cut = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for key, value in whole.items():
        assert torch.equal(cut[key], value), key


def test_members_of_an_ensemble_are_told_too(tmp_path: Path) -> None:
    own = {"bayes-by-backprop": {"channels": (5, 7), "convs_per_scale": 1}}
    source = lesion_source(num_train=6, num_val=2, seed=3, size=32)
    settings = {"members": ("bayes-by-backprop",) * 2, "member_settings": own, "max_steps": 4, "batch_size": 3}
    settings |= {"num_validations": 1, "validation_samples": 2}
    train_run(Plan("ensemble", settings=settings), source, tmp_path / "run")
    kept = load_file(tmp_path / "run" / "weights.safetensors")
    assert [int(value) for key, value in sorted(kept.items()) if key.endswith("kl_weight.num_images")] == [6, 6]


def test_a_method_is_pruned_as_a_whole() -> None:
    method: SegmentationMethod = built()
    less = pruned(method, 0.5)
    assert isinstance(less, BayesByBackprop)
    assert float((signal_to_noise(less) == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert less(torch.randn(1, K, H, W)).sample(2).shape == (2, 1, H, W)
