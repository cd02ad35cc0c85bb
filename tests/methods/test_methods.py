"""The contract: what every method must do, whatever it is, in float32 and in bf16.

A new method is tested here by being in `METHODS` and having a preset `small`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_settings
from torch import Tensor

import plurimask.distribution as distribution
from plurimask.distribution import IGNORE, SegmentationDistribution, most_likely
from plurimask.errors import InputError
from plurimask.latent import LatentSegmentation
from plurimask.method import Loss, SegmentationMethod
from plurimask.methods import METHODS, build_method
from plurimask.methods.presets import PRESETS
from plurimask.noise import Generators
from plurimask.prediction.device import fast_precision

N, B, R, K, C, H, W = 6, 2, 4, 3, 5, 21, 14
CPU = torch.device("cpu")

MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "dropout-unet with batch norm": (
        "dropout-unet",
        {"channels": (7, 9, 8), "normalisation": "batch", "pooling": "max", "sigmoid": True},
    ),
    "ensemble of several methods": (
        "ensemble",
        {
            "members": ("unet", "m-heads", "probabilistic-unet"),
            "member_settings": {
                "unet": {"channels": (7, 9)},
                "m-heads": {"channels": (6, 8), "num_heads": 3},
                "probabilistic-unet": {"channels": (7, 9), "latent_dim": 4},
            },
        },
    ),
    "hierarchical-probabilistic-unet without latents between": (
        "hierarchical-probabilistic-unet",
        {"channels": (7, 9, 8), "latent_dims": (2, 0, 1), "blocks_per_scale": 1, "objective": "elbo"},
    ),
    "lightweight-probabilistic with batch norm": (
        "lightweight-probabilistic",
        {"channels": (7, 9), "pooling": "max", "normalisation": "batch"},
    ),
}
"""Settings that differ from the small preset's so much that the contract is held to them too."""

CASES: dict[str, tuple[str, dict[str, Any]]] = {**{name: (name, tiny_settings(name)) for name in METHODS}, **MORE}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(case: str) -> SegmentationMethod:
    name, settings = CASES[case]
    return build_method(name, image_channels=K, num_classes=C, **settings)


# A method is called under autocast, as in training and prediction; what its results do comes after that.


def predict(method: SegmentationMethod, images: Tensor) -> SegmentationDistribution:
    with fast_precision(CPU):
        return method(images)  # type: ignore[no-any-return]


def loss_of(method: SegmentationMethod, images: Tensor, labels: Tensor, seed: int = 0) -> Loss:
    with fast_precision(CPU):
        return method.loss(images, labels, seeded(seed))


def reconstruct(method: SegmentationMethod, images: Tensor, labels: Tensor) -> Tensor | None:
    with torch.no_grad(), fast_precision(CPU):
        return method.reconstruct(images, labels)


def expected_agreement(method: SegmentationMethod, images: Tensor, labels: Tensor) -> float:
    """The probability that a pixel is given to a rater's class, averaged over raters and pixels, in evaluation."""
    with torch.no_grad():
        mean = predict(method.eval(), images).freeze(N, seeded()).mean()
    method.train()
    return float(mean.gather(1, labels.long()).mean())


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def method(case: str, precision: str) -> SegmentationMethod:
    torch.manual_seed(0)
    return built(case)


@pytest.fixture
def rounding(precision: str) -> float:
    """How far probabilities may differ that are the same but for the order of operations."""
    return 1e-5 if precision == "float32" else 2e-2


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, K, H, W, generator=seeded(1))


@pytest.fixture
def labels(images: Tensor) -> Tensor:
    """Four raters who threshold the image at different levels."""
    levels = torch.linspace(-0.6, 0.6, R).view(1, R, 1, 1)
    return ((images[:, :1] > levels) * 2 + (images[:, 1:2] > levels)).to(torch.uint8)


def assert_nearly_equal(got: Tensor, want: Tensor, rounding: float) -> None:
    """Label maps, of which rounding may decide ties."""
    assert float((got != want).float().mean()) <= max(1e-3, rounding)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name: str) -> None:
    assert "small" in PRESETS[name]
    assert METHODS[name].summary
    assert METHODS[name].paper
    for preset in PRESETS[name].values():
        METHODS[name].Config(**preset.method)


def test_shapes_and_types(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    prediction = predict(method, images)
    assert isinstance(prediction, SegmentationDistribution)
    assert prediction.logits_shape == (B, C, H, W)
    noise = prediction.draw_noise(N)
    assert len(noise) == len(prediction.noise)
    for part in noise:
        assert part.device.type == "cpu"
        assert len(part) == N
    assert prediction.logits(noise).shape == (N, B, C, H, W)
    assert prediction.logits(noise).dtype == torch.float32
    with fast_precision(CPU):
        assert prediction.logits(noise).dtype == torch.float32
    samples = prediction.sample(N)
    assert samples.shape == (N, B, H, W)
    assert samples.dtype == torch.uint8
    drawn = prediction.freeze(N, seeded())
    assert drawn.mean().shape == (B, C, H, W)
    torch.testing.assert_close(drawn.mean().sum(1), torch.ones(B, H, W))
    assert drawn.entropy().shape == (B, H, W)
    assert drawn.mutual_information().shape == (B, H, W)
    assert drawn.variance().shape == (B, C, H, W)
    assert drawn.log_prob(labels).shape == (B, R)


def test_logits_are_a_pure_function_of_the_noise(method: SegmentationMethod, images: Tensor) -> None:
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        noise = prediction.draw_noise(N, seeded())
        first = prediction.logits(noise)
        predict(method, images.flip(0)).sample(2)
        assert torch.equal(first, prediction.logits(noise))


@pytest.mark.parametrize("samples_per_chunk", [1, 4])
def test_a_seed_gives_the_same_samples_in_any_chunk(
    method: SegmentationMethod,
    images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    samples_per_chunk: int,
    rounding: float,
) -> None:
    method.eval()
    with torch.no_grad():
        want = predict(method, images).freeze(N, seeded()).statistics
        monkeypatch.setattr(distribution, "MAX_CHUNK_ELEMENTS", samples_per_chunk * B * C * H * W)
        got = predict(method, images).freeze(N, seeded()).statistics
    torch.testing.assert_close(got.mean, want.mean, atol=rounding, rtol=0)
    assert_nearly_equal(got.maps, want.maps, rounding)


def test_a_seed_gives_an_image_the_same_samples_in_any_batch(
    method: SegmentationMethod, images: Tensor, rounding: float
) -> None:
    method.eval()

    def mean(chosen: list[int]) -> Tensor:
        with torch.no_grad():
            source = Generators(seeded(), tuple(seeded(number) for number in chosen))
            return predict(method, images[chosen]).freeze(N, source).mean()

    together = mean([0, 1])
    torch.testing.assert_close(together[:1], mean([0]), atol=rounding, rtol=0)
    torch.testing.assert_close(together[1:], mean([1]), atol=rounding, rtol=0)


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
    """Steps of Adam on `batch(step)`: images and labels."""
    optimizer = torch.optim.Adam(method.parameter_groups(rate), lr=rate)
    for step in range(num_steps):
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
def test_what_is_ignored_teaches_nothing(method: SegmentationMethod) -> None:
    """Of new images of noise a third is class 3, and the rest ignored: read as a class, it would make 3 a third."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        labels = torch.full((B, 2, H, W), 3, dtype=torch.uint8)
        labels[:, :, step % 2 * H // 3 :][:, :, : 2 * H // 3] = IGNORE
        return torch.randn(B, K, H, W, generator=seeded(1000 + step)), labels

    train(method, 1e-2, 80, batch)
    with torch.no_grad():
        mean = predict(method.eval(), batch(-1)[0]).freeze(N, seeded()).mean()
    assert float(mean[:, 3].mean()) > 0.6


def test_raters_of_one_step_count_alike(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    """In a step with one rater repeated, each repeat counts 1/R: the deterministic part of the loss stays."""
    same = labels[:, :1].expand(-1, R, -1, -1)
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
    labels = torch.full((B, R, H, W), IGNORE, dtype=torch.uint8)
    loss = loss_of(method, images, labels)
    loss.total.backward()
    assert bool(torch.isfinite(loss.total))
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in method.parameters())


def test_reconstructions_are_maps_of_the_present_raters(
    method: SegmentationMethod, images: Tensor, labels: Tensor, rounding: float
) -> None:
    method.eval()
    labels = labels.clone()
    labels[0, 1] = IGNORE
    labels[1, 2, :, :6] = IGNORE
    made = reconstruct(method, images, labels)
    if made is None:
        return
    assert made.shape == (B, R, H, W)
    assert made.dtype == torch.uint8
    absent = torch.zeros(B, R, dtype=torch.bool)
    absent[0, 1] = True
    assert bool((made[absent] == IGNORE).all())
    assert bool((made[~absent] < C).all())
    again = reconstruct(method, images, labels)
    assert again is not None
    assert torch.equal(again, made)
    # A rater's reconstruction does not depend on the other raters or images.
    alone = reconstruct(method, images[1:], labels[1:, 2:])
    assert alone is not None
    assert_nearly_equal(alone[0], made[1, 2:], max(1e-2, rounding))
    nobody = torch.full_like(labels, IGNORE)
    nothing = reconstruct(method, images, nobody)
    assert nothing is not None
    assert torch.equal(nothing, nobody)


def with_latents(method: SegmentationMethod, images: Tensor) -> LatentSegmentation:
    """Larger weights than initial ones, with which every map would be of one class."""
    with torch.no_grad():
        for parameter in method.eval().parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(2)))
        prediction = predict(method, images)
    if not isinstance(prediction, LatentSegmentation):
        pytest.skip("no latents")
    return prediction


def test_samples_are_decoded_from_their_latents(method: SegmentationMethod, images: Tensor) -> None:
    prediction = with_latents(method, images)
    with torch.no_grad():
        noise = prediction.draw_noise(N, seeded())
        latents = prediction.latents(noise)
        assert len(latents) == len(noise)
        assert all(one.shape[:2] == (N, B) for one in latents)
        torch.testing.assert_close(prediction.decode(latents), prediction.logits(noise))


def test_reconstructions_decode_the_means_of_the_posteriors(
    method: SegmentationMethod, images: Tensor, labels: Tensor, rounding: float
) -> None:
    prediction = with_latents(method, images)
    made = reconstruct(method, images, labels)
    assert made is not None
    with torch.no_grad():
        posterior = prediction.posterior(labels.transpose(0, 1))
        assert all(level.mean.shape[:2] == (R, B) for level in posterior)
        want = most_likely(prediction.decode([level.mean for level in posterior])).transpose(0, 1)
    assert_nearly_equal(made, want, max(1e-2, rounding))
    assert len(made.unique()) > 1
    assert bool((made[:, 0] != made[:, -1]).any())


def test_saved_and_loaded_methods_give_identical_samples(
    case: str, method: SegmentationMethod, images: Tensor, tmp_path: Path
) -> None:
    save_file(method.state_dict(), tmp_path / "weights.safetensors")
    other = built(case)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    with torch.no_grad():
        want = predict(method.eval(), images).sample(N, seeded())
        assert torch.equal(predict(other.eval(), images).sample(N, seeded()), want)


def test_only_buffers_change_and_only_in_training(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    def attributes() -> dict[str, Any]:
        return {
            f"{path}.{key}": value
            for path, module in method.named_modules()
            for key, value in vars(module).items()
            if not key.startswith("_")
        }

    def state() -> dict[str, Tensor]:
        return {key: value.clone() for key, value in method.state_dict().items()}

    before, weights = attributes(), state()
    method.eval()
    with torch.no_grad():
        predict(method, images).sample(2, seeded())
    reconstruct(method, images, labels)
    assert all(torch.equal(value, weights[key]) for key, value in state().items())
    method.train()
    loss_of(method, images, labels)
    buffers = {key for key, _ in method.named_buffers()}
    assert all(key in buffers or torch.equal(value, weights[key]) for key, value in state().items())
    after = attributes()
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] or after[key] == before[key] for key in before if ".training" not in key)


def test_unknown_settings_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="latent"):
        build_method("unet", latent=3)
    with pytest.raises(InputError, match="did you mean probabilistic-unet"):
        build_method("probabilistic_unet")
