"""Methods that train differently: each hook, used for real by a method that would not learn without it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.distribution import IGNORE, MixtureSegmentation, SegmentationDistribution
from plurimask.errors import InputError
from plurimask.method import Loss, MethodConfig, SegmentationMethod, TrainingStep
from plurimask.training import fit
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.checkpoint import TrainingJob
from plurimask.training.config import TrainingConfig

RATE, MOMENTUM = 2e-3, 0.9


class OwnUpdates(SegmentationMethod):
    """A network of two convolutions that brings its own optimiser, its own average and its own statistics."""

    title, paper = "own updates", "none"

    def __init__(self, config: MethodConfig) -> None:
        super().__init__(config)
        self.first = nn.Conv2d(config.image_channels, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.last = nn.Conv2d(5, config.num_classes, 1)
        self.descent = torch.optim.SGD(self.parameters(), lr=RATE, momentum=MOMENTUM)
        self.register_buffer("average", torch.zeros(config.num_classes))
        self.steps: list[TrainingStep] = []
        self.told: list[tuple[int, int]] = []

    def scores(self, images: Tensor) -> Tensor:
        return self.last(F.relu(self.norm(self.first(images))))

    def forward(self, images: Tensor) -> SegmentationDistribution:
        logits = self.scores(images).float()
        return MixtureSegmentation(logits[None], torch.ones(1))

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        noise = torch.randn(images.shape, generator=generator)  # so that a step's random numbers matter
        logits = self.scores(images + 0.1 * noise).float()
        total = F.cross_entropy(logits, labels[:, 0].long(), ignore_index=IGNORE)
        return Loss(total, {"cross_entropy": total.detach()})

    def update(self, images: Tensor, labels: Tensor, step: TrainingStep) -> Loss | None:
        loss = self.loss(images, labels, step.generator)
        self.descent.zero_grad()
        loss.total.backward()
        for group in self.descent.param_groups:
            group["lr"] = RATE * (1 - step.progress)
        self.descent.step()
        return loss

    def begin(self, num_images: int, num_batches: int) -> None:
        self.told.append((num_images, num_batches))

    def after_step(self, step: TrainingStep) -> None:
        self.steps.append(step)
        share = 1 / (step.index + 1)
        self.average.lerp_(self.last.bias.detach(), share)

    @torch.no_grad()
    def finish(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        assert self.training
        self.last.bias.copy_(self.average)
        self.norm.reset_running_stats()
        self.norm.momentum = None  # the plain mean over batches
        for images, _ in batches:
            self.scores(images)

    def training_state(self) -> dict[str, Any]:
        return self.descent.state_dict()

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.descent.load_state_dict(state)


CONFIG = TrainingConfig(max_steps=12, batch_size=3, num_validations=2, validation_samples=2, ema_decay=None)


@pytest.fixture
def data() -> TrainingData:
    splits = lesion_source(num_train=7, num_val=2, seed=1, size=36).splits
    return TrainingData(splits["train"], None, Preprocessing(mean=(0.0,), std=(1.0,)), (1,))


def built() -> OwnUpdates:
    torch.manual_seed(3)
    return OwnUpdates(MethodConfig())


@pytest.fixture(params=[False, True], ids=["float32", "bf16"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("plurimask.prediction.device.has_fast_bf16", lambda device: request.param)
    return bool(request.param)


def test_an_own_update_takes_the_place_of_the_optimiser(data: TrainingData, tmp_path: Path, precision: bool) -> None:
    method, first = built(), built()
    fit.fit(method, data, CONFIG, TrainingJob(tmp_path, seed=4))
    assert method.told == [(7, 3)]  # 7 images are two batches of 3, and one more
    assert [step.index for step in method.steps] == list(range(12))
    assert [step.progress for step in method.steps] == pytest.approx([step / 12 for step in range(12)])
    assert not torch.equal(method.first.weight, first.first.weight)
    last = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert last["optimizer"]["state"] == {}  # the common optimiser has not moved
    assert last["own"]["state"][0]["momentum_buffer"].shape == first.first.weight.shape


def test_an_own_average_is_of_the_weights_after_each_step(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    biases: list[Tensor] = []
    original = OwnUpdates.after_step

    def watched(self: OwnUpdates, step: TrainingStep) -> None:
        biases.append(self.last.bias.detach().clone())
        original(self, step)

    monkeypatch.setattr(OwnUpdates, "after_step", watched)
    fit.fit(built(), data, CONFIG, TrainingJob(tmp_path, seed=4))
    kept = load_file(tmp_path / "weights.safetensors")
    torch.testing.assert_close(kept["last.bias"], torch.stack(biases).mean(0))
    assert float((biases[0] - biases[-1]).abs().max()) > 1e-4


def test_statistics_are_taken_when_training_is_over(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plurimask.prediction.device.has_fast_bf16", lambda device: False)
    monkeypatch.setattr(fit, "NUM_FINISH_BATCHES", 5)
    method = built()
    fit.fit(method, data, CONFIG, TrainingJob(tmp_path, seed=4))
    assert not method.training
    batches = TrainingBatches(data, CONFIG, 4, 12, 0, 1)
    means = [method.first(batches.batch(step)[0]).mean((0, 2, 3)) for step in range(12, 17)]
    kept = load_file(tmp_path / "weights.safetensors")
    torch.testing.assert_close(kept["norm.running_mean"], torch.stack(means).mean(0).detach(), atol=1e-6, rtol=1e-5)
    assert int(kept["norm.num_batches_tracked"]) == 5


def test_a_killed_training_with_own_state_continues_to_the_digit(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: bool
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    whole, cut, resumed = built(), built(), built()
    fit.fit(whole, data, CONFIG, TrainingJob(tmp_path / "whole", seed=4))

    original = OwnUpdates.after_step

    def die(self: OwnUpdates, step: TrainingStep) -> None:
        if step.index == 7:
            raise RuntimeError("power cut")
        original(self, step)

    monkeypatch.setattr(OwnUpdates, "after_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        fit.fit(cut, data, CONFIG, TrainingJob(tmp_path / "cut", seed=4))
    monkeypatch.setattr(OwnUpdates, "after_step", original)
    fit.fit(resumed, data, CONFIG, TrainingJob(tmp_path / "cut", seed=4, resume=True))
    assert [step.index for step in resumed.steps] == list(range(7, 12))
    assert resumed.told == whole.told
    states = [load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut")]
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value), key

    forgetful = built()  # the same without the state of its own optimiser is another training
    monkeypatch.setattr(OwnUpdates, "load_training_state", lambda self, state: None)
    monkeypatch.setattr(OwnUpdates, "after_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        fit.fit(cut, data, CONFIG, TrainingJob(tmp_path / "lost", seed=4))
    monkeypatch.setattr(OwnUpdates, "after_step", original)
    fit.fit(forgetful, data, CONFIG, TrainingJob(tmp_path / "lost", seed=4, resume=True))
    assert not torch.equal(load_file(tmp_path / "lost/weights.safetensors")["first.weight"], states[0]["first.weight"])


def test_an_own_loss_that_is_not_a_number_stops_training(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Loss(torch.tensor(torch.nan), {"cross_entropy": torch.tensor(torch.nan)})
    monkeypatch.setattr(OwnUpdates, "update", lambda self, images, labels, step: broken)
    with pytest.raises(InputError, match="cross_entropy became nan at step 0"):
        fit.fit(built(), data, CONFIG, TrainingJob(tmp_path))


def test_groups_choose_their_rate_clipping_and_average(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group with "clip": False is left out of the norm, one with "average": False out of the moving average."""
    method = built()
    weights = [method.first.weight, method.first.bias, *method.norm.parameters(), method.last.weight]
    groups = [{"params": weights}, {"params": [method.last.bias], "lr": 0.5, "clip": False, "average": False}]
    monkeypatch.setattr(OwnUpdates, "parameter_groups", lambda self, rate: groups)
    monkeypatch.setattr(OwnUpdates, "update", lambda self, images, labels, step: None)
    gradients: list[dict[str, float]] = []

    def after_step(self: OwnUpdates, step: TrainingStep) -> None:
        norms = {name: float(p.grad.norm()) for name, p in self.named_parameters() if p.grad is not None}
        gradients.append(norms)

    monkeypatch.setattr(OwnUpdates, "after_step", after_step)
    monkeypatch.setattr(OwnUpdates, "finish", lambda self, batches: None)
    settings = {"gradient_clip": 1e-3, "ema_decay": 0.9, "warmup_steps": 0, "schedule": "piecewise"}
    config = CONFIG.model_copy(update={**settings, "drops": ((0.99, 0.5),), "weight_decay": 0.0})
    fit.fit(method, data, config, TrainingJob(tmp_path))
    for norms in gradients:
        alone = norms.pop("last.bias")
        assert sum(norm**2 for norm in norms.values()) ** 0.5 == pytest.approx(1e-3, rel=1e-3)
        assert alone > 3e-3
    last = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    kept = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(kept["last.bias"], last["method"]["last.bias"])
    assert not torch.equal(kept["last.weight"], last["method"]["last.weight"])
    assert [group["lr"] for group in last["optimizer"]["param_groups"]] == [config.learning_rate, 0.5]
