"""Probabilistic backpropagation: what an update does, what a sample is, and what a killed run takes up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from contract import B, C, H, K, N, W, predict, seeded
from safetensors.torch import load_file
from torch import Tensor

from plurimask.data.worlds.lesions import lesion_source
from plurimask.distribution import IGNORE
from plurimask.method import TrainingStep
from plurimask.methods import build_method
from plurimask.methods.probabilistic_backpropagation import ProbabilisticBackpropagation, _Evidence
from plurimask.nn.bayesian.network import run_with
from plurimask.nn.strips import strips_of
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run
from plurimask.training import fit

SETTINGS: dict[str, Any] = {"channels": (5, 7), "convs_per_scale": 1, "compiled": False}


def built(**settings: Any) -> ProbabilisticBackpropagation:
    torch.manual_seed(0)
    method = build_method(
        "probabilistic-backpropagation", **{**SETTINGS, "image_channels": K, "num_classes": C, **settings}
    )
    assert isinstance(method, ProbabilisticBackpropagation)
    return method


def batch(seed: int = 1, raters: int = 2) -> tuple[Tensor, Tensor]:
    images = torch.randn(B, K, H, W, generator=seeded(seed))
    return images, images[:, :1].gt(0).expand(-1, raters, -1, -1).to(torch.uint8)


def step(index: int = 0) -> TrainingStep:
    return TrainingStep(index, 0.0, seeded())


def test_a_sample_is_a_pass_of_the_ordinary_network_with_drawn_weights(precision: str) -> None:
    method, images = built().eval(), torch.randn(1, K, H, W, generator=seeded(1))
    with torch.no_grad():
        twice = predict(method, torch.cat([images, images]))
        logits = twice.logits(twice.draw_noise(N, seeded()))
        torch.testing.assert_close(logits[:, 0], logits[:, 1])
        assert not torch.equal(logits[0], logits[1])
        prediction = method(images)
        (numbers,) = prediction.expand(prediction.draw_noise(1, seeded()))
        mean, sigma = method.posterior()
        want = run_with(method.network, images, mean + sigma * numbers[0])
        torch.testing.assert_close(prediction.logits((numbers,))[0], want)


def test_the_moments_are_those_of_the_draws_scores() -> None:
    method, images = built(initial_spread=0.05).eval(), torch.randn(1, K, H, W, generator=seeded(1))
    with torch.no_grad():
        prediction = method(images)
        drawn = prediction.logits(prediction.draw_noise(300, seeded()))
        mean, variance = method.moments(images)
        assert float(((mean - drawn.mean(0)).abs() / drawn.std(0)).mean()) < 0.2
        assert 0.3 < float((variance / drawn.var(0)).log().mean().exp()) < 1.3  # that places share weights is neglected


def test_large_images_are_drawn_in_strips() -> None:
    method, images = built().eval(), torch.randn(1, K, 150, 9, generator=seeded(1))
    with torch.no_grad():
        whole = method(images).freeze(3, seeded()).mean()
        with strips_of(0):
            torch.testing.assert_close(method(images).freeze(3, seeded()).mean(), whole)


@pytest.mark.parametrize("batch_as", ["factors", "datum"])
def test_an_update_makes_the_batch_likelier_and_its_weights_surer(batch_as: str, precision: str) -> None:
    method, (images, labels) = built(batch_as=batch_as, image_weight=2.0).train(), batch()
    before, sigma = float(method.loss(images, labels).total.detach()), method.posterior().sigma
    for index in range(3):
        loss = method.update(images, labels, step(index))
        assert 0 < float(loss.terms["step_share"]) <= 1
    assert float(method.loss(images, labels).total.detach()) < before
    ratio = method.posterior().sigma / sigma
    assert bool((method.posterior().sigma > 0).all())
    assert float(ratio.log().mean()) < 0


def test_the_first_update_is_that_of_the_formulas() -> None:
    method, (images, labels) = built().train(), batch(raters=1)
    evidence = method._evidence(images, labels)
    means, variances = method._pairs()
    gradient = torch.autograd.grad(evidence.log_z, means, retain_graph=True)
    curvature = torch.autograd.grad((evidence.curvature * evidence.variance).sum(), variances)
    before = [(m.detach().clone(), v.detach().clone()) for m, v in zip(means, variances, strict=True)]
    share = method.update(images, labels, step()).terms["step_share"]
    for (m, v), g, c, mean, variance in zip(before, gradient, curvature, means, variances, strict=True):
        torch.testing.assert_close(variance.detach(), 1 / (1 / v + c))
        torch.testing.assert_close(mean.detach(), m + share * v * g)
    # 300 pixels an image, of ln Z summed over its pixels.
    torch.testing.assert_close(evidence.log_z, -evidence.surprise * B * 300 / (H * W))


def test_an_image_counts_alike_however_many_pixels_and_raters_were_judged() -> None:
    method, (images, labels) = built(), batch(raters=1)
    want = method._evidence(images, labels)
    torch.testing.assert_close(method._evidence(images, labels.expand(-1, 3, -1, -1)).log_z, want.log_z)
    absent = torch.cat([labels, torch.full_like(labels, IGNORE)], 1)
    torch.testing.assert_close(method._evidence(images, absent).log_z, want.log_z)
    half = labels.clone()
    half[..., : H // 2, :] = IGNORE
    judged = method._evidence(images, half)
    assert bool((judged.curvature[..., : H // 2, :] == 0).all())
    assert 0.5 < float(judged.log_z / want.log_z) < 2


def test_all_weights_together_do_not_go_too_far() -> None:
    method, (images, labels) = built(image_weight=1e5).train(), batch()
    loss = [method.update(images, labels, step(index)) for index in range(6)]
    assert float(loss[0].terms["step_share"]) < 0.1
    assert float(loss[-1].total) < float(loss[0].total)


def test_a_batch_that_nobody_judged_changes_nothing() -> None:
    method, (images, labels) = built().train(), batch()
    before = method.posterior()
    loss = method.update(images, torch.full_like(labels, IGNORE), step())
    assert float(loss.total) == 0
    for got, want in zip(method.posterior(), before, strict=True):
        torch.testing.assert_close(got, want)


def test_a_memory_of_few_epochs_lets_what_was_learnt_fade_at_its_rate() -> None:
    """One step moves as without it, then each precision goes the share of a step back to that of the beginning."""
    plain, forgetting = built().train(), built(memory=0.5).train()
    at_first = [variance.detach().clone() for variance in plain._pairs()[1]]
    for method in (plain, forgetting):
        method.begin(num_images=12, num_batches=4)
        method.update(*batch(), step())
    share = 1 / (0.5 * 4)
    (means, variances), (own_means, own) = plain._pairs(), forgetting._pairs()
    for mean, mine in zip(means, own_means, strict=True):
        torch.testing.assert_close(mine, mean)
    for before, variance, mine in zip(at_first, variances, own, strict=True):
        assert bool((variance < before).any())
        torch.testing.assert_close(1 / mine, (1 - share) / variance + share / before)
    unjudged = torch.full((B, 1, H, W), IGNORE, dtype=torch.uint8)
    for index in range(24):
        forgetting.update(batch()[0], unjudged, step(index))
    for before, mine in zip(at_first, forgetting._pairs()[1], strict=True):
        torch.testing.assert_close(mine, before)


def test_batch_norm_follows_the_batch_once() -> None:
    method, (images, labels) = built(normalisation="batch").train(), batch()
    norms = [one for one in method.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    method.update(images, labels, step())
    assert [int(one.num_batches_tracked) for one in norms] == [1] * len(norms)
    assert all(one.momentum == 0.01 for one in norms)
    once = [one.running_var.clone() for one in norms]
    other = built(normalisation="batch").train()
    other.loss(images, labels)
    others = [one.running_var for one in other.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(once, others)
    assert not any(list(one.parameters()) for one in norms)


def test_precisions_that_are_forgotten_settle_where_the_formula_says(monkeypatch: pytest.MonkeyPatch) -> None:
    method, (images, labels) = built(memory=2.0).train(), batch()
    method.begin(num_images=6, num_batches=3)
    told = [torch.full_like(variance, 7.0) for variance in method._pairs()[1]]
    first = [variance.detach().clone() for variance in method._pairs()[1]]

    def same_evidence(self: ProbabilisticBackpropagation, images: Tensor, labels: Tensor) -> _Evidence:
        """Whose gradient by each variance is 7 and by each mean 0."""
        means, variances = self._pairs()
        spread = sum((7 * variance).sum() for variance in variances)
        nothing = sum((0 * mean).sum() for mean in means)
        one = torch.ones(1)
        return _Evidence(torch.as_tensor(nothing), spread * one, one, torch.zeros(1, dtype=torch.int64), one[0])

    monkeypatch.setattr(ProbabilisticBackpropagation, "_evidence", same_evidence)
    monkeypatch.setattr(ProbabilisticBackpropagation, "_curved", lambda *_: torch.tensor(0.0))
    for index in range(120):
        method.update(images, labels, step(index))
    f = 1 / 6  # two epochs of three mini-batches
    for variance, began, c in zip(method._pairs()[1], first, told, strict=True):
        torch.testing.assert_close(1 / variance.detach(), 1 / began + (1 - f) / f * c)


def test_forgetting_widens_what_no_data_speak_of_and_nothing_is_forgotten_without_a_memory() -> None:
    images, labels = batch(raters=1)
    nobody = torch.full_like(labels, IGNORE)
    for memory in (None, 4.0):
        method = built(memory=memory).train()
        began = method.posterior().sigma
        for index in range(3):
            method.update(images, labels, step(index))
        after, mean = method.posterior().sigma, method.posterior().mean
        for index in range(60):
            method.update(images, nobody, step(index))
        assert float((after / began).log().mean()) < 0
        torch.testing.assert_close(method.posterior().mean, mean)
        torch.testing.assert_close(method.posterior().sigma, after if memory is None else began)


def trained(folder: Path, steps: int) -> None:
    source = lesion_source(num_train=10, num_val=3, seed=3, size=32)
    settings = {
        **SETTINGS,
        "memory": 2.0,
        "batch_size": 5,
        "num_validations": 2,
        "max_steps": steps,
        "validation_samples": 4,
    }
    train_run(Plan("probabilistic-backpropagation", settings=settings, seed=2), source, folder, resume=folder.exists())


def test_a_killed_run_continues_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    trained(tmp_path / "whole", 7)  # three and a half epochs: the prior's factors are refined before and after
    original = ProbabilisticBackpropagation.after_step

    def die(self: ProbabilisticBackpropagation, step: TrainingStep) -> None:
        if step.index == 4:
            raise RuntimeError("power cut")
        original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(ProbabilisticBackpropagation, "after_step", die)
        with pytest.raises(RuntimeError, match="power cut"):
            trained(tmp_path / "cut", 7)
    trained(tmp_path / "cut", 7)
    whole, cut = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for key, value in whole.items():
        assert torch.equal(cut[key], value), key


def test_the_prior_is_refined_after_each_epoch() -> None:
    method, (images, labels) = built().train(), batch()
    method.begin(num_images=6, num_batches=3)
    for index in range(3):
        assert float(method.prior.gamma.shape) == 6
        method.update(images, labels, step(index))
        method.after_step(step(index))
    assert float(method.prior.gamma.shape) > 6
    assert bool((method.posterior().sigma > 0).all())
