"""The contract: what every method must do, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import plurimask.distribution as distribution
from plurimask.distribution import IGNORE, SegmentationDistribution, most_likely
from plurimask.errors import InputError
from plurimask.method import SegmentationMethod
from plurimask.methods import METHODS, build_method
from plurimask.methods.presets import PRESETS
from plurimask.nn.dirichlet import Dirichlet
from plurimask.noise import Generators

N, B, R, K, C, H, W = 6, 2, 4, 3, 5, 21, 14

TINY: dict[str, dict[str, Any]] = {
    "unet": {"channels": (7, 9)},
    "dropout-unet": {"channels": (7, 9, 8), "normalisation": "batch", "pooling": "max", "sigmoid": True},
    "ensemble": {
        "members": ("unet", "m-heads", "probabilistic-unet"),
        "member_settings": {
            "unet": {"channels": (7, 9)},
            "m-heads": {"channels": (6, 8), "num_heads": 3},
            "probabilistic-unet": {"channels": (7, 9), "latent_dim": 4},
        },
    },
    "m-heads": {"channels": (7, 9), "num_heads": 3},
    "image2image-vae": {"channels": (7, 9)},
    "probabilistic-unet": {"channels": (7, 9), "latent_dim": 4},
    "hierarchical-probabilistic-unet": {"channels": (7, 9, 8), "latent_dims": (2, 1), "blocks_per_scale": 1},
    "lightweight-probabilistic": {"channels": (7, 9), "pooling": "max", "normalisation": "batch"},
}
FALLING_TERM: dict[str, str] = {
    "unet": "cross_entropy",
    "dropout-unet": "cross_entropy",
    "ensemble": "member_0",
    "m-heads": "best_head",
    "image2image-vae": "reconstruction",
    "probabilistic-unet": "reconstruction",
    "hierarchical-probabilistic-unet": "reconstruction",
    "lightweight-probabilistic": "cross_entropy",
}
"""The term that must fall on a tiny batch, where the total need not."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def method(name: str) -> SegmentationMethod:
    torch.manual_seed(0)
    return build_method(name, image_channels=K, num_classes=C, **TINY[name])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, K, H, W, generator=seeded(1))


@pytest.fixture
def labels(images: Tensor) -> Tensor:
    """Four raters who threshold the image at different levels."""
    levels = torch.linspace(-0.6, 0.6, R).view(1, R, 1, 1)
    return ((images[:, :1] > levels) * 2 + (images[:, 1:2] > levels)).to(torch.uint8)


def test_every_method_is_tested_and_described(name: str) -> None:
    assert name in TINY
    assert "small" in PRESETS[name]
    assert METHODS[name].summary
    assert METHODS[name].paper
    for preset in PRESETS[name].values():
        METHODS[name].Config(**preset.method)


def test_shapes_and_types(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    prediction = method(images)
    assert isinstance(prediction, SegmentationDistribution)
    assert prediction.logits_shape == (B, C, H, W)
    noise = prediction.draw_noise(N)
    for part in noise:
        assert part.device.type == "cpu"
        assert len(part) == N
    assert prediction.logits(noise).shape == (N, B, C, H, W)
    assert prediction.logits(noise).dtype == torch.float32
    samples = prediction.sample(N)
    assert samples.shape == (N, B, H, W)
    assert samples.dtype == torch.uint8
    drawn = prediction.freeze(N)
    mean = drawn.mean()
    assert mean.shape == (B, C, H, W)
    torch.testing.assert_close(mean.sum(1), torch.ones(B, H, W))
    assert drawn.entropy().shape == (B, H, W)
    assert drawn.mutual_information().shape == (B, H, W)
    assert drawn.variance().shape == (B, C, H, W)
    assert drawn.log_prob(labels).shape == (B, R)


def test_logits_are_a_pure_function_of_the_noise(method: SegmentationMethod, images: Tensor) -> None:
    method.eval()
    with torch.no_grad():
        prediction = method(images)
        noise = prediction.draw_noise(N, seeded())
        first = prediction.logits(noise)
        method(images.flip(0)).sample(2)
        assert torch.equal(first, prediction.logits(noise))


@pytest.mark.parametrize("samples_per_chunk", [1, 4])
def test_a_seed_gives_the_same_samples_in_any_chunk(
    method: SegmentationMethod, images: Tensor, monkeypatch: pytest.MonkeyPatch, samples_per_chunk: int
) -> None:
    method.eval()
    with torch.no_grad():
        whole = method(images).freeze(N, seeded())
        want = whole.statistics
        monkeypatch.setattr(distribution, "MAX_CHUNK_ELEMENTS", samples_per_chunk * B * C * H * W)
        got = method(images).freeze(N, seeded()).statistics
    torch.testing.assert_close(got.mean, want.mean, atol=1e-5, rtol=0)
    assert float((got.maps != want.maps).float().mean()) < 1e-3  # rounding may decide a tie


def test_a_seed_gives_an_image_the_same_samples_in_any_batch(method: SegmentationMethod, images: Tensor) -> None:
    method.eval()

    def mean(chosen: list[int]) -> Tensor:
        with torch.no_grad():
            source = Generators(seeded(), tuple(seeded(number) for number in chosen))
            return method(images[chosen]).freeze(N, source).mean()

    together = mean([0, 1])
    torch.testing.assert_close(together[:1], mean([0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1:], mean([1]), atol=1e-5, rtol=0)


def test_every_parameter_of_the_optimiser_gets_a_gradient(
    method: SegmentationMethod, images: Tensor, labels: Tensor
) -> None:
    owned = [p for group in method.parameter_groups(1e-3) for p in group["params"]]
    assert {id(p) for p in owned} == {id(p) for p in method.parameters() if p.requires_grad}
    method.loss(images, labels, seeded()).total.backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert bool(torch.isfinite(parameter.grad).all()), key
        assert bool((parameter.grad != 0).any()), key


def test_the_loss_falls_on_a_tiny_batch(name: str, method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.Adam(method.parameter_groups(3e-3), lr=3e-3)
    before = method.reconstruct(images, labels)
    values = []
    for step in range(100):
        loss = method.loss(images, labels, seeded(step))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        values.append(float(loss.terms[FALLING_TERM[name]]))
    assert sum(values[-5:]) / 5 < 0.75 * values[0]
    after = method.reconstruct(images, labels)
    if before is not None and after is not None:
        assert int((after == labels).sum()) > int((before == labels).sum())


def test_raters_of_one_step_count_alike(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    """In a step with one rater repeated, each repeat counts 1/R: the deterministic part of the loss stays."""
    same = labels[:, :1].expand(-1, R, -1, -1)
    assert method.loss(images, labels, seeded()).total.ndim == 0
    singles = [float(method.loss(images, labels[:, :1], seeded(s)).total.detach()) for s in range(40)]
    repeated = [float(method.loss(images, same, seeded(100 + s)).total.detach()) for s in range(40)]
    spread = torch.tensor(singles).std() + torch.tensor(repeated).std()
    difference = abs(sum(singles) - sum(repeated)) / 40
    assert difference <= 4 * float(spread) / 40**0.5 + 1e-3 * abs(singles[0])


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """The predictions of pixels that any likelihood was given: logits, or the means of Dirichlets."""
    seen: list[Tensor] = []
    cross_entropy, log_density = nn.functional.cross_entropy, Dirichlet.log_density

    def spy(logits: Tensor, *args: Any, **settings: Any) -> Tensor:
        logits.retain_grad()
        seen.append(logits)
        return cross_entropy(logits, *args, **settings)

    def spy_on_density(dirichlet: Dirichlet, log_targets: Tensor) -> Tensor:
        dirichlet.log_mean.retain_grad()
        seen.append(dirichlet.log_mean)
        return log_density(dirichlet, log_targets)

    monkeypatch.setattr(nn.functional, "cross_entropy", spy)
    monkeypatch.setattr(Dirichlet, "log_density", spy_on_density)
    yield seen


def test_ignored_pixels_give_no_gradient(
    method: SegmentationMethod, images: Tensor, labels: Tensor, scored: list[Tensor]
) -> None:
    labels = labels.clone()
    labels[..., :8, 3:] = IGNORE
    method.loss(images, labels, seeded()).total.backward()
    assert scored
    for logits in scored:
        assert logits.grad is not None
        assert bool((logits.grad[..., :8, 3:] == 0).all())
        assert bool((logits.grad[..., 8:, :] != 0).any())


def posterior_inputs(method: SegmentationMethod) -> list[Tensor]:
    """What the posterior network, if there is one, is given from now on."""
    seen: list[Tensor] = []
    for key, module in method.named_children():
        if "posterior" in key:
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


def test_a_posterior_sees_zeros_at_ignored_pixels(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    seen = posterior_inputs(method)
    labels = labels.clone()
    labels[:, :, 4:9, 2:7] = IGNORE
    method.loss(images, labels, seeded())
    for given in seen:
        assert bool((given[:, K:, 4:9, 2:7] == 0).all())
        assert bool((given[:, K:, 10:] != 0).all())


def test_absent_raters_are_removed_before_any_network(
    method: SegmentationMethod, images: Tensor, labels: Tensor
) -> None:
    seen = posterior_inputs(method)
    labels = labels.clone()
    labels[0, 1], labels[1, 1] = IGNORE, IGNORE
    with_absent = method.loss(images, labels, seeded())
    without = method.loss(images, labels[:, [0, 2, 3]], seeded())
    assert all(len(given) == B * (R - 1) for given in seen)
    torch.testing.assert_close(with_absent.total, without.total)


def test_a_batch_that_nobody_judged_gives_a_finite_loss(method: SegmentationMethod, images: Tensor) -> None:
    labels = torch.full((B, R, H, W), IGNORE, dtype=torch.uint8)
    loss = method.loss(images, labels, seeded())
    loss.total.backward()
    assert bool(torch.isfinite(loss.total))
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in method.parameters())


def test_reconstructions_are_maps_of_the_present_raters(
    method: SegmentationMethod, images: Tensor, labels: Tensor
) -> None:
    method.eval()
    labels = labels.clone()
    labels[0, 1] = IGNORE
    labels[1, 2, :, :6] = IGNORE
    with torch.no_grad():
        made = method.reconstruct(images, labels)
        if made is None:
            return
        assert made.shape == (B, R, H, W)
        assert made.dtype == torch.uint8
        absent = torch.zeros(B, R, dtype=torch.bool)
        absent[0, 1] = True
        assert bool((made[absent] == IGNORE).all())
        assert bool((made[~absent] < C).all())
        again = method.reconstruct(images, labels)
        assert again is not None
        assert torch.equal(again, made)
        # A rater's reconstruction does not depend on the other raters or images.
        alone = method.reconstruct(images[1:], labels[1:, 2:])
        assert alone is not None
        assert float((alone[0] != made[1, 2:]).float().mean()) < 1e-2  # rounding may decide a tie
        nobody = torch.full_like(labels, IGNORE)
        nothing = method.reconstruct(images, nobody)
        assert nothing is not None
        assert torch.equal(nothing, nobody)


@pytest.mark.parametrize("name", ["probabilistic-unet", "image2image-vae"])
def test_reconstructions_decode_the_means_of_the_posteriors(
    method: Any, name: str, images: Tensor, labels: Tensor
) -> None:
    method.eval()
    with torch.no_grad():
        for parameter in method.parameters():  # larger weights: without training every map would be of one class
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(2)))
        made = method.reconstruct(images, labels)
        for rater in range(R):
            mean = method.posterior(images, labels[:, rater]).mean
            want = most_likely(method(images).decode([mean[None]]))[0]
            assert float((made[:, rater] != want).float().mean()) < 1e-2  # rounding may decide a tie
    assert len(made.unique()) > 1
    assert bool((made[:, 0] != made[:, -1]).any())


def test_saved_and_loaded_methods_give_identical_samples(
    name: str, method: SegmentationMethod, images: Tensor, tmp_path: Path
) -> None:
    save_file(method.state_dict(), tmp_path / "weights.safetensors")
    other = build_method(name, image_channels=K, num_classes=C, **TINY[name])
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    with torch.no_grad():
        want = method.eval()(images).sample(N, seeded())
        assert torch.equal(other.eval()(images).sample(N, seeded()), want)


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
        method(images).sample(2, seeded())
        method.reconstruct(images, labels)
    assert all(torch.equal(value, weights[key]) for key, value in state().items())
    method.train()
    method.loss(images, labels, seeded())
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
