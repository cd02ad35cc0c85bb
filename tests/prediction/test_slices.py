"""Volumes predicted slice by slice: each slice as the method predicts it, and one draw for all slices of a sample."""

from __future__ import annotations

import pytest
import torch
from contract import CASES, CPU, B, C, K, assert_nearly_equal, built, loss_of, predict, reconstruct, seeded
from torch import Tensor

from plurimask.distribution import MixtureSegmentation, most_likely
from plurimask.errors import InputError
from plurimask.prediction import slices as room
from plurimask.prediction.device import fast_precision
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.prediction.seeds import generators_of
from plurimask.prediction.slices import SliceBySlice, SlicedSegmentation, underneath

D, H, W = 3, 14, 10
DRAWS = {  # of what a sample of each kind of method is made
    "probabilistic-unet": "latent vector",
    "hierarchical-probabilistic-unet": "latent maps",
    "lightweight-probabilistic": "pixels",
    "dropout-unet": "weights",
}
every_case = pytest.mark.parametrize(
    "case", [case for case, (_, settings) in CASES.items() if settings.get("spatial_dims", 2) == 2]
)


def volumes(depth: int = D) -> Tensor:
    return torch.randn(B, K, depth, H, W, generator=seeded(1))


def sliced(case: str, axis: int = 0, draws: str = "shared") -> SliceBySlice:
    torch.manual_seed(0)
    return SliceBySlice(built(case).eval(), axis, draws).eval().requires_grad_(False)  # type: ignore[arg-type]


def prediction_of(method: SliceBySlice, images: Tensor) -> SlicedSegmentation:
    with fast_precision(CPU):
        return method.of_volumes(images)


@every_case
def test_slices_that_look_alike_have_one_mask_in_each_sample(case: str, precision: str) -> None:
    alike = volumes(1).expand(-1, -1, D, -1, -1)
    maps = prediction_of(sliced(case), alike).sample(5, seeded(2))
    assert maps.shape == (5, B, D, H, W) and maps.dtype == torch.uint8
    assert_nearly_equal(maps, maps[:, :, :1].expand_as(maps), 0.02 if precision == "bf16" else 0.0)


@pytest.mark.parametrize("case", ["probabilistic-unet", "hierarchical-probabilistic-unet", "lightweight-probabilistic"])
def test_independent_draws_jump_between_slices_that_look_alike(case: str) -> None:
    alike = volumes(1).expand(-1, -1, D, -1, -1)
    prediction = prediction_of(sliced(case, draws="independent"), alike)
    logits = prediction.logits(prediction.draw_noise(3, seeded(2)))
    shared = prediction_of(sliced(case), alike)
    same = shared.logits(shared.draw_noise(3, seeded(2)))
    assert float((logits[..., 1:, :, :] - logits[..., :1, :, :]).abs().mean()) > 1e-3
    assert float((same[..., 1:, :, :] - same[..., :1, :, :]).abs().mean()) < 1e-5


@every_case
def test_networks_have_no_independent_draws_and_the_error_says_so(case: str) -> None:
    method = sliced(case, draws="independent")
    of_weights = all(part.kind == "weights" for part in predict(underneath(method), volumes()[:, :, 0]).noise)
    if of_weights:
        with pytest.raises(InputError, match="--slice-draws independent"):
            prediction_of(method, volumes())
    else:
        assert prediction_of(method, volumes()).sample(2, seeded()).shape == (2, B, D, H, W)


@pytest.mark.parametrize("case", DRAWS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_what_the_method_makes_of_it_with_the_noise_of_the_volume(case: str, axis: int) -> None:
    method, images = sliced(case, axis), volumes()
    prediction = prediction_of(method, images)
    noise = prediction.draw_noise(4, seeded(3))
    logits = prediction.logits(noise)
    assert logits.shape == (4, B, C, D, H, W)
    for number in range(images.shape[axis + 2]):
        alone = predict(underneath(method), images.select(axis + 2, number))
        assert torch.allclose(logits.select(axis + 3, number), alone.logits(noise), atol=2e-2, rtol=2e-2)


@every_case
def test_statistics_of_fixed_draws_are_those_of_their_logits(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_GROUP_PIXELS", B * 2 * H * W)  # groups of two slices and of one
    prediction = prediction_of(sliced(case), volumes())
    assert prediction.groups == [slice(0, 2), slice(2, 3)]
    fixed = prediction.freeze(4, seeded(5))
    assert isinstance(fixed, MixtureSegmentation)
    logits, weights = prediction.logits(fixed.draws), fixed.weights
    probabilities = logits.softmax(2)
    mean = torch.einsum("n,n...->...", weights, probabilities)
    assert torch.allclose(fixed.mean(), mean, atol=1e-4)
    variance = torch.einsum("n,n...->...", weights, (probabilities - mean).square())
    assert torch.allclose(fixed.variance(), variance, atol=1e-4)
    assert_nearly_equal(fixed.maps, most_likely(logits), 0.0)
    assert fixed.mutual_information().shape == (B, D, H, W)
    labels = torch.randint(C, (B, 2, D, H, W), generator=seeded(6), dtype=torch.uint8)
    pixels = logits.log_softmax(2).gather(2, labels.long().expand(len(logits), *labels.shape)).flatten(3).sum(3)
    expected = (pixels + weights.log()[:, None, None]).logsumexp(0)
    assert torch.allclose(fixed.log_prob(labels), expected, rtol=1e-3)


@every_case
def test_groups_of_slices_change_nothing(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = sliced(case)
    told: list[int] = []
    whole = prediction_of(method, volumes()).freeze(3, seeded(5))
    monkeypatch.setattr(room, "MAX_GROUP_PIXELS", 1)
    parts = prediction_of(method, volumes()).freeze(3, seeded(5))
    parts.on_draws = told.append
    assert_nearly_equal(parts.maps, whole.maps, 0.02)
    assert torch.allclose(parts.mean(), whole.mean(), atol=2e-2)
    assert told[-1] == parts.num_components and told == sorted(told)


def test_closed_forms_are_those_of_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    method, images = sliced("lightweight-probabilistic", 1), volumes()
    monkeypatch.setattr(room, "MAX_GROUP_PIXELS", 1)
    statistics = prediction_of(method, images).closed_form
    assert statistics is not None
    labels = torch.randint(C, (B, 2, D, H, W), generator=seeded(6), dtype=torch.uint8)
    sums = torch.zeros(B, 2)
    for number in range(H):
        alone = predict(underneath(method), images[..., number, :]).closed_form
        assert alone is not None
        for name in ("mean", "variance", "entropy", "mutual_information"):
            own, expected = getattr(statistics, name)()[..., number, :], getattr(alone, name)()
            assert torch.allclose(own, expected, atol=2e-2), name
        sums += alone.log_prob(labels[..., number, :])
    assert torch.allclose(statistics.log_prob(labels), sums, rtol=2e-2)
    assert prediction_of(sliced("unet"), images).closed_form is None


def test_a_sample_of_a_volume_depends_on_its_name_alone() -> None:
    method, images = sliced("probabilistic-unet"), volumes()
    together = next(predict_images(method, [("a", images[0]), ("b", images[1])], Sampling(4, seed=7)))
    alone = next(predict_images(method, [("b", images[1])], Sampling(4, seed=7)))
    assert_nearly_equal(together.samples[:, 1:], alone.samples, 0.02)
    noise = prediction_of(method, images).draw_noise(2, generators_of(7, ["a", "b"]))
    assert [part.shape[:2] for part in noise] == [(2, B)]


@every_case
def test_what_is_learnt_from_a_volume_is_what_is_learnt_from_its_slices(case: str) -> None:
    method, images = sliced(case, 1), volumes()
    labels = torch.randint(C, (B, 2, D, H, W), generator=seeded(6), dtype=torch.uint8)
    rows, maps = images.movedim(3, 1).flatten(0, 1), labels.movedim(3, 1).flatten(0, 1)
    made, expected = reconstruct(method, images, labels), reconstruct(underneath(method), rows, maps)
    assert (made is None) == (expected is None)
    if made is not None and expected is not None:
        assert made.shape == labels.shape
        assert torch.equal(made.movedim(3, 1).flatten(0, 1), expected)
    assert len(method.parts()) == len(underneath(method).parts())
    if underneath(method).has_optimiser:
        ours, theirs = loss_of(method, images, labels), loss_of(underneath(method), rows, maps)
        assert torch.allclose(ours.total, theirs.total)


def test_images_are_predicted_as_without_slices() -> None:
    method, images = sliced("probabilistic-unet"), volumes()[:, :, 0]
    ours, theirs = predict(method, images), predict(underneath(method), images)
    assert torch.equal(ours.sample(3, seeded(1)), theirs.sample(3, seeded(1)))
