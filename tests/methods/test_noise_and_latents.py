"""The contract on noise and latents: what a method declares is what it does."""

from __future__ import annotations

import pytest
import torch
from contract import B, C, N, R, assert_nearly_equal, predict, reconstruct, seeded
from torch import Tensor

from plurimask.errors import InputError
from plurimask.latent import LatentSegmentation
from plurimask.method import SegmentationMethod
from plurimask.noise import Generators


def test_the_first_samples_are_the_same_however_many_are_drawn(
    method: SegmentationMethod, images: Tensor, rounding: float
) -> None:
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        few, many = (prediction.sample(number, seeded()) for number in (N, 4 * N + 1))
    assert_nearly_equal(many[:N], few, rounding)


def test_latents_can_be_spread_and_nothing_else(method: SegmentationMethod, images: Tensor, rounding: float) -> None:
    """Alone and in a batch alike, the first draws of more, and frozen with all their statistics."""
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        if not isinstance(prediction, LatentSegmentation):
            for call in (prediction.sample, prediction.freeze):
                with pytest.raises(InputError, match="latents"):
                    call(N, seeded(), spread=True)
            return
        few, many = (prediction.sample(number, named(B), spread=True) for number in (N, 2 * N))
        assert_nearly_equal(many[:N], few, rounding)
        drawn = prediction.freeze(N, named(B), spread=True)
        assert_nearly_equal(drawn.maps, few, rounding)
        (noise, *_), (independent, *_) = drawn.draws, prediction.draw_noise(N, named(B))
        assert noise.shape == independent.shape and not torch.isclose(noise, independent).any()
        last = Generators(seeded(), named(B).images[-1:])
        assert_nearly_equal(predict(method, images[-1:]).sample(N, last, spread=True)[:, 0], few[:, -1], rounding)


def named(count: int) -> Generators:
    return Generators(seeded(), tuple(map(seeded, range(count))))


def test_every_part_of_the_noise_is_used_and_normal_parts_can_be_held(
    method: SegmentationMethod, images: Tensor
) -> None:
    """Something changes with each part alone, unless there is but one thing to draw."""
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        noise, other = (prediction.draw_noise(4 * N, seeded(seed)) for seed in (0, 1))
        logits = prediction.logits(noise)
        for number, part in enumerate(prediction.noise):
            if part.count == 1:
                continue
            changed = tuple(other[k] if k == number else own for k, own in enumerate(noise))
            assert not torch.equal(prediction.logits(changed), logits), part
            if part.law == "normal":
                held = prediction.draw_noise(4 * N, seeded(), at_mean=(number,))
                assert bool((held[number] == 0).all())


def test_seeds_expand_to_tensors_that_give_the_same_logits(method: SegmentationMethod, images: Tensor) -> None:
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        noise = prediction.draw_noise(N, seeded())
        expanded = prediction.expand(noise)
        assert torch.equal(prediction.logits(expanded), prediction.logits(noise))
        again = prediction.expand(expanded)
    assert all(torch.equal(one, two) for one, two in zip(again, expanded, strict=True))
    if "seed" in {part.law for part in prediction.noise}:
        assert any(part.dtype != torch.int64 for part in expanded)


def test_statistics_are_those_of_the_maps_beside_them(
    method: SegmentationMethod, images: Tensor, rounding: float
) -> None:
    method.eval()
    with torch.no_grad():
        prediction = predict(method, images)
        drawn = prediction.freeze(N, seeded())
        logits = prediction.logits(drawn.draws)
    assert_nearly_equal(drawn.maps, logits.argmax(2).to(torch.uint8), rounding)
    weights = drawn.weights.view(-1, *[1] * (logits.ndim - 1))
    torch.testing.assert_close(drawn.mean(), (weights * logits.softmax(2)).sum(0), atol=max(1e-5, rounding), rtol=0)


@pytest.fixture
def latent(method: SegmentationMethod, images: Tensor) -> LatentSegmentation:
    with torch.no_grad():
        prediction = predict(method.eval(), images)
    if not isinstance(prediction, LatentSegmentation):
        pytest.skip("a method without latents")
    return prediction


def test_latents_have_the_shape_of_their_noise(latent: LatentSegmentation, rounding: float) -> None:
    with torch.no_grad():
        noise = latent.draw_noise(N, seeded())
        latents = latent.latents(noise)
        assert [one.shape for one in latents] == [(N, B, *part.shape) for part in latent.noise]
        decoded = latent.decode(latents).softmax(2)
        torch.testing.assert_close(decoded, latent.logits(noise).softmax(2), atol=max(1e-5, rounding), rtol=0)
        assert latent.decode(latents).dtype == torch.float32
        # Latents that are not given are drawn by the noise, or stay at the prior's mean.
        levels = range(len(latents))
        by_noise = latent.decode([latents[0]], noise).softmax(2)
        torch.testing.assert_close(by_noise, decoded, atol=max(1e-5, rounding), rtol=0)
        middle = latent.latents(latent.draw_noise(N, at_mean=levels))
        for wrong in ([], [None], [*latents, latents[0]]):
            with pytest.raises(ValueError, match="at least one of them given"):
                latent.decode(wrong)
    if latent.prior is not None:
        assert latent.prior.mean.shape == (B, *latent.noise[0].shape)
        torch.testing.assert_close(middle[0], latent.prior.mean.expand_as(middle[0]))


def test_the_posterior_of_label_maps_decodes_to_reconstructions(
    method: SegmentationMethod, latent: LatentSegmentation, images: Tensor, labels: Tensor, rounding: float
) -> None:
    with torch.no_grad():
        gaussians = latent.posterior(labels.transpose(0, 1))
        if not gaussians:
            pytest.skip("no posterior")
        for gaussian, part in zip(gaussians, latent.noise, strict=True):
            assert gaussian.mean.shape == gaussian.log_sigma.shape == (R, B, *part.shape)
        decoded = latent.decode([gaussian.mean for gaussian in gaussians])
    assert decoded.shape == (R, B, C, *latent.images.shape[2:])
    rebuilt = reconstruct(method, images, labels)
    assert rebuilt is not None
    assert_nearly_equal(rebuilt, decoded.argmax(2).to(torch.uint8).transpose(0, 1), max(rounding, 1e-2))
