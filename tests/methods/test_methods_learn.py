"""The contract: what every method must learn, and from what, in float32 and in bf16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contract import CPU, B, N, R, loss_of, predict, reconstruct, seeded
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.method import SegmentationMethod, TrainingStep
from plurimask.prediction.device import fast_precision


def expected_agreement(method: SegmentationMethod, images: Tensor, labels: Tensor) -> float:
    """The probability that a pixel is given to a rater's class, averaged over raters and pixels, in evaluation."""
    with torch.no_grad():
        mean = predict(method.eval(), images).freeze(N, seeded()).mean()
    method.train()
    return float(mean.gather(1, labels.long()).mean())


def test_every_parameter_of_the_optimiser_gets_a_gradient(
    method: SegmentationMethod, images: Tensor, labels: Tensor
) -> None:
    owned = [p for group in method.parameter_groups(1e-3) for p in group["params"]]
    assert {id(p) for p in owned} == {id(p) for p in method.parameters() if p.requires_grad}
    loss_of(method, images, labels).total.backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert bool(torch.isfinite(parameter.grad).all()), key
        assert bool((parameter.grad != 0).any()), key


def train(method: SegmentationMethod, rate: float, num_steps: int, batch: Any) -> None:
    """Steps on `batch(step)`, images and labels: the method's own update, or Adam."""
    optimizer = torch.optim.Adam(method.parameter_groups(rate), lr=rate)
    for step in range(num_steps):
        with fast_precision(CPU):
            own = method.update(*batch(step), TrainingStep(step, step / num_steps, seeded(step)))
        if own is not None:
            continue
        optimizer.zero_grad()
        loss_of(method, *batch(step), step).total.backward()
        optimizer.step()


@pytest.mark.slow
def test_a_tiny_batch_is_learnt(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    before, made_before = expected_agreement(method, images, labels), reconstruct(method, images, labels)
    train(method, 5e-3, 100, lambda step: (images, labels))
    assert expected_agreement(method, images, labels) > 1.2 * before
    made = reconstruct(method, images, labels)
    if made is not None and made_before is not None:
        assert int((made == labels).sum()) > int((made_before == labels).sum())


@pytest.mark.slow
def test_what_is_ignored_teaches_nothing(method: SegmentationMethod, images: Tensor) -> None:
    """Of new images of noise a third is class 3, and the rest ignored: read as a class, it would make 3 a third."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        labels, rows = torch.full((B, 2, *images.shape[2:]), 3, dtype=torch.uint8), images.shape[-2]
        labels[..., step % 2 * rows // 3 :, :][..., : 2 * rows // 3, :] = IGNORE
        return torch.randn(images.shape, generator=seeded(1000 + step)), labels

    train(method, 1e-2, 80, batch)
    with torch.no_grad():
        mean = predict(method.eval(), batch(-1)[0]).freeze(N, seeded()).mean()
    assert float(mean[:, 3].mean()) > 0.6


def test_raters_of_one_step_count_alike(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    """In a step with one rater repeated, each repeat counts 1/R: the deterministic part of the loss stays."""
    same = labels[:, :1].expand(-1, R, *labels.shape[2:])
    assert loss_of(method, images, labels).total.ndim == 0
    with torch.no_grad():
        singles = torch.stack([loss_of(method, images, labels[:, :1], s).total for s in range(40)])
        repeated = torch.stack([loss_of(method, images, same, 100 + s).total for s in range(40)])
    difference = abs(float(singles.mean() - repeated.mean()))
    spread = float(singles.std() + repeated.std())
    assert difference <= 4 * spread / 40**0.5 + 1e-3 * abs(float(singles[0]))


def test_absent_raters_do_not_count(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    labels = labels.clone()
    labels[:, 1] = IGNORE
    with_absent = loss_of(method, images, labels)
    without = loss_of(method, images, labels[:, [0, 2, 3]])
    torch.testing.assert_close(with_absent.total, without.total)


def test_a_batch_that_nobody_judged_gives_a_finite_loss(method: SegmentationMethod, images: Tensor) -> None:
    labels = torch.full((B, R, *images.shape[2:]), IGNORE, dtype=torch.uint8)
    loss = loss_of(method, images, labels)
    loss.total.backward()
    assert bool(torch.isfinite(loss.total))
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in method.parameters())
