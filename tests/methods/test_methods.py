"""The contract: what every method must predict, whatever it is, in float32 and in bf16."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from contract import CPU, B, C, N, R, assert_nearly_equal, built, loss_of, predict, reconstruct, seeded
from safetensors.torch import load_file, save_file
from torch import Tensor

import plurimask.distribution as distribution
from plurimask.distribution import IGNORE, SegmentationDistribution, most_likely
from plurimask.errors import InputError
from plurimask.latent import LatentSegmentation
from plurimask.method import SegmentationMethod
from plurimask.methods import METHODS, build_method
from plurimask.methods.presets import PRESETS
from plurimask.noise import Generators
from plurimask.prediction.device import Layout, fast_precision, images_in_layout, in_layout


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name: str) -> None:
    assert "small" in PRESETS[name]
    assert METHODS[name].summary
    assert METHODS[name].paper
    for preset in PRESETS[name].values():
        METHODS[name].Config(**preset.method)


def test_shapes_and_types(method: SegmentationMethod, images: Tensor, labels: Tensor) -> None:
    prediction, spatial = predict(method, images), images.shape[2:]
    assert isinstance(prediction, SegmentationDistribution)
    assert prediction.logits_shape == (B, C, *spatial)
    noise = prediction.draw_noise(N)
    assert len(noise) == len(prediction.noise)
    for part in noise:
        assert part.device.type == "cpu"
        assert len(part) == N
    assert prediction.logits(noise).shape == (N, B, C, *spatial)
    assert prediction.logits(noise).dtype == torch.float32
    with fast_precision(CPU):
        assert prediction.logits(noise).dtype == torch.float32
    samples = prediction.sample(N)
    assert samples.shape == (N, B, *spatial)
    assert samples.dtype == torch.uint8
    drawn = prediction.freeze(N, seeded())
    assert drawn.mean().shape == (B, C, *spatial)
    torch.testing.assert_close(drawn.mean().sum(1), torch.ones(B, *spatial))
    assert drawn.entropy().shape == (B, *spatial)
    assert drawn.mutual_information().shape == (B, *spatial)
    assert drawn.variance().shape == (B, C, *spatial)
    assert drawn.log_prob(labels).shape == (B, R)


def test_logits_are_a_pure_function_of_the_noise(method: SegmentationMethod, images: Tensor) -> None:
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        noise = prediction.draw_noise(N, seeded())
        first = prediction.logits(noise)
        predict(method, images.flip(0)).sample(2)
        assert torch.equal(first, prediction.logits(noise))


def test_loss_and_gradient_in_any_memory_layout(
    method: SegmentationMethod, images: Tensor, labels: Tensor, rounding: float
) -> None:
    if len(method.parts()) > 1:
        return  # each is trained on its own
    found = []
    for layout in get_args(Layout):
        method = in_layout(method, layout).train()
        method.zero_grad()
        torch.manual_seed(0)  # of dropout
        loss = loss_of(method, images_in_layout(images, layout), labels)
        loss.total.backward()
        gradients = [p.grad.flatten() for p in method.parameters() if p.grad is not None]
        found.append((loss.total.detach(), torch.cat(gradients)))
    (loss_last, gradient_last), (loss_plain, gradient_plain) = found
    torch.testing.assert_close(loss_last, loss_plain, rtol=10 * rounding, atol=0)
    assert float((gradient_last - gradient_plain).norm()) <= 100 * rounding * float(gradient_last.norm())


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
        monkeypatch.setattr(distribution, "MAX_CHUNK_ELEMENTS", samples_per_chunk * B * C * images[0, 0].numel())
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


def test_reconstructions_are_maps_of_the_present_raters(
    method: SegmentationMethod, images: Tensor, labels: Tensor, rounding: float
) -> None:
    method.eval()
    labels = labels.clone()
    labels[0, 1] = IGNORE
    labels[1, 2, ..., :6] = IGNORE
    made = reconstruct(method, images, labels)
    if made is None:
        return
    assert made.shape == labels.shape
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
    if made is None:
        pytest.skip("no posterior")
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
