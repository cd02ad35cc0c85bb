"""The U-Net that is trained by the energy score: worlds with a known answer, and what its loss is made of."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import CPU, seeded
from torch import Tensor

from plurimask.data.worlds.lesions import lesion_source
from plurimask.data.worlds.streets import street_source
from plurimask.distribution import IGNORE
from plurimask.method import TrainingStep
from plurimask.methods import build_method
from plurimask.methods.energy_score_unet import EnergyScoreUNet
from plurimask.metrics import pairwise_distance
from plurimask.nn.energy_score import distances_between, distances_to_raters
from plurimask.prediction.device import fast_precision
from plurimask.runs.plan import Plan
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run

SIZE, IMAGES = 12, 48


def trained(labels_of: dict[str, Tensor], chance: float, num_steps: int) -> EnergyScoreUNet:
    """On images that show both masks, with one rater in a step: mask "first" with that chance, else "second"."""
    torch.manual_seed(0)
    method = build_method(
        "energy-score-unet",
        image_channels=2,
        channels=(16, 16),
        convs_per_scale=1,
        sampled_scales=1,
        latent_dim=1,
        early_steps=30,
    )
    assert isinstance(method, EnergyScoreUNet)
    images = torch.stack([*labels_of.values()]).float().expand(IMAGES, -1, -1, -1)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * 0.5 * (1 + math.cos(math.pi * step / num_steps))
        is_first = torch.rand(IMAGES, generator=seeded(step)) < chance
        labels = torch.where(is_first[:, None, None], labels_of["first"], labels_of["second"])
        optimizer.zero_grad()
        with fast_precision(CPU):
            method.loss(images, labels[:, None], seeded(step)).total.backward()
        optimizer.step()
        method.after_step(TrainingStep(step, step / num_steps, seeded(step)))
    return method.eval()


def drawn(method: EnergyScoreUNet, masks: dict[str, Tensor]) -> dict[str, float]:
    """The share of samples that overlap with each mask by more than a half; with an empty one, that are empty."""
    with torch.no_grad(), fast_precision(CPU):
        samples = method(torch.stack([*masks.values()]).float()[None]).sample(5_000, seeded(7))[:, 0]
    overlaps = 1 - pairwise_distance(samples, torch.stack([*masks.values()]), [1])
    return dict(zip(masks, (overlaps > 0.5).double().mean(0).tolist(), strict=True))


def square(start: int, stop: int) -> Tensor:
    mask = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    mask[start:stop, start:stop] = 1
    return mask


@pytest.mark.slow
@pytest.mark.parametrize("second", [(1, 5), (0, 0)], ids=["apart", "empty"])
def test_two_masks_are_drawn_as_often_as_raters_draw_them(second: tuple[int, int]) -> None:
    masks = {"first": square(4, 8), "second": square(*second)}
    assert drawn(trained(masks, 0.3, 300), masks) == pytest.approx({"first": 0.3, "second": 0.7}, abs=0.02)


SETTINGS = {"channels": (5, 7, 6), "convs_per_scale": 1, "samples_per_step": 4, "early_steps": 10}


def built(**settings: Any) -> EnergyScoreUNet:
    torch.manual_seed(0)
    method = build_method("energy-score-unet", **{**SETTINGS, **settings})
    assert isinstance(method, EnergyScoreUNet)
    return method


def test_the_loss_is_the_mean_score_of_images_and_the_weighted_likelihood() -> None:
    """Held against loops over samples, raters and pixels."""
    method, (images, labels) = built(num_classes=3), (torch.randn(2, 1, 9, 7), torch.randint(3, (2, 3, 9, 7)))
    labels = labels.to(torch.uint8)
    labels[0, 1] = IGNORE  # absent
    labels[1, 0, :2] = IGNORE
    loss = method.loss(images, labels, seeded())
    prediction = method(images)
    masks = prediction.logits(prediction.draw_noise(4, seeded())).softmax(2)  # (N, B, C, H, W)
    scores, surprises = [], []
    for image in range(2):
        raters = [rater for rater in range(3) if bool((labels[image, rater] != IGNORE).any())]
        valid = (labels[image, raters] != IGNORE).all(0)
        drawn = [masks[n, image, 1:, valid][None, None] for n in range(4)]
        hard = [torch.stack([labels[image, r] == c for c in (1, 2)])[:, valid][None, None].float() for r in raters]
        crossed = torch.stack([distances_to_raters(one, rater) for one in drawn for rater in hard]).mean()
        within = torch.stack([distances_between(torch.cat(pair, 1)) for pair in combinations(drawn, 2)]).mean()
        scores.append(2 * crossed - within)
        for rater in raters:
            known = labels[image, rater] != IGNORE
            chosen = masks[:, image].mean(0).gather(0, labels[image, rater].long().clamp(max=2)[None])[0][known]
            surprises.append(-chosen.log().mean() / (2 * len(raters)))
    torch.testing.assert_close(loss.terms["energy_score"], torch.stack(scores).mean())
    torch.testing.assert_close(loss.terms["pixels"], torch.stack(surprises).sum())
    torch.testing.assert_close(loss.total, loss.terms["energy_score"] + 10 * loss.terms["pixels"])


def test_the_likelihood_s_weight_falls_with_the_steps_and_is_kept_with_the_weights() -> None:
    method, found = built(early_likelihood_weight=8.0, likelihood_weight=2.0), []
    for step in range(12):
        found.append(float(method.weight_now))
        method.after_step(TrainingStep(step, step / 12, seeded()))
    assert found == pytest.approx([8 - 0.6 * min(step, 10) for step in range(12)])
    again = built(early_likelihood_weight=8.0, likelihood_weight=2.0)
    again.load_state_dict(method.state_dict())
    assert float(again.weight_now) == 2.0


@pytest.mark.parametrize("distance", ["min-max", "product"])
@pytest.mark.parametrize("bias", [-40.0, 40.0])
def test_gradients_are_finite_where_samples_and_raters_are_empty_or_full(distance: str, bias: float) -> None:
    method = built(distance=distance)
    with torch.no_grad():
        method.sampled.scores.bias[1] = bias
    method.loss(torch.randn(2, 1, 9, 7), torch.zeros(2, 1, 9, 7, dtype=torch.uint8), seeded()).total.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in method.parameters() if p.grad is not None)


def test_a_background_counts_where_the_data_have_none() -> None:
    """Then class 0 of samples is one more class in the score, and nothing else changes."""
    images, labels = torch.randn(1, 1, 9, 7), torch.full((1, 1, 9, 7), 1, dtype=torch.uint8)
    terms = [built(num_classes=3, has_background=known).loss(images, labels, seeded()).terms for known in (True, False)]
    assert terms[0]["energy_score"] != terms[1]["energy_score"]
    assert terms[0]["pixels"] == terms[1]["pixels"]


def test_more_changed_scales_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 scales"):
        built(sampled_scales=3)


def test_z_changes_the_features_of_the_scales_it_should() -> None:
    """What is shared by samples is computed without z, and samples of one z are the same."""
    for count in (1, 2):
        method = built(sampled_scales=count).eval()
        with torch.no_grad():
            prediction = method(torch.randn(2, 1, 9, 7))
            z = torch.randn(3, 2, 8, generator=seeded())
            z[1] = z[0]
            logits = prediction.decode([z])
        assert len(method.sampled.scales) == count
        torch.testing.assert_close(logits[0], logits[1])
        assert not torch.allclose(logits[0], logits[2])


def test_with_no_changed_scale_z_enters_a_head_behind_the_whole_u_net() -> None:
    """Its 1x1 convolutions see one pixel: another z changes scores, and a z that is the same gives the same."""
    method = built(sampled_scales=0).eval()
    assert len(method.decoder.blocks) == 2
    with torch.no_grad():
        prediction = method(torch.randn(2, 1, 9, 7))
        assert prediction.shared.shape == (2, 5, 9, 7)  # of images, not of samples
        z = torch.randn(3, 2, 8, generator=seeded())
        z[1] = z[0]
        logits = prediction.decode([z])
    torch.testing.assert_close(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])
    assert method.loss(torch.randn(2, 1, 9, 7), torch.ones(2, 1, 9, 7, dtype=torch.uint8), seeded()).total.isfinite()


def test_a_map_of_equal_latents_is_the_vector_and_one_of_its_places_changes_what_is_near() -> None:
    vector, mapped = built(sampled_scales=1).eval(), built(sampled_scales=1, latent_stride=8).eval()
    mapped.load_state_dict(vector.state_dict())
    images, z = torch.randn(2, 1, 33, 16, generator=seeded()), torch.randn(3, 2, 8, generator=seeded(1))
    with torch.no_grad():
        prediction = mapped(images)
        assert [part.shape for part in prediction.noise] == [(8, 5, 2)]
        assert prediction.prior is None
        everywhere = z[..., None, None].repeat(1, 1, 1, 5, 2)
        same = prediction.decode([everywhere])
        torch.testing.assert_close(same, vector(images).decode([z]))
        everywhere[:, :, :, 0] += 1  # the first row of places, of rows 0 to 7; the middle of the next is 11.5
        changed = (prediction.decode([everywhere]) - same).abs().amax((0, 1, 2, 4))
    assert bool((changed[:8] > 0).all())
    assert bool((changed[12 + 2 :] == 0).all())  # a 3x3 convolution at this scale follows


def test_maps_of_latents_fit_where_they_enter() -> None:
    with pytest.raises(ValueError, match="a head takes one z"):
        built(sampled_scales=0, latent_stride=8)
    with pytest.raises(ValueError, match="give a multiple of 2"):
        built(sampled_scales=2, latent_stride=3)


def test_the_part_of_an_image_has_the_latents_of_its_places() -> None:
    """A window that begins at a place, with those of the whole image's latents that are its own."""
    method = built(sampled_scales=2, latent_stride=8).eval()
    assert method.strides == (8, 8)
    images, z = torch.randn(1, 1, 70, 16, generator=seeded(2)), torch.randn(2, 1, 8, 9, 2, generator=seeded(3))
    with torch.no_grad():
        whole = method(images).decode([z])
        part = method(images[:, :, 16:64]).decode([z[:, :, :, 2:8]])
    torch.testing.assert_close(part[..., 20:28, :], whole[..., 36:44, :], atol=1e-4, rtol=1e-4)


def test_a_run_is_continued_as_if_nothing_had_happened(tmp_path: Path) -> None:
    source = lesion_source(num_train=9, num_val=3, seed=1, size=36)
    training = {"batch_size": 3, "num_validations": 1, "validation_samples": 4, "early_steps": 7, "ema_decay": 0.9}
    plan = Plan("energy-score-unet", settings={"channels": (6, 8), "sampled_scales": 1, "max_steps": 8, **training})
    train_run(plan, source, tmp_path / "whole")
    halfway = replace(plan, settings={**plan.settings, "max_steps": 4})
    train_run(halfway, source, tmp_path / "cut")
    half = torch.load(tmp_path / "cut" / "checkpoints" / "last.ckpt", weights_only=True)
    assert int(half["method"]["num_steps"]) == 4
    train_run(plan, source, tmp_path / "cut", resume=True)
    whole, cut = (torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "cut"))
    assert int(cut["method"]["num_steps"]) == int(whole["method"]["num_steps"]) == 8
    assert int(cut["average"]["num_steps"]) == 8


def test_whether_class_0_counts_is_read_from_the_data(tmp_path: Path) -> None:
    small = {"channels": (4, 6), "sampled_scales": 1, "max_steps": 1, "batch_size": 2}
    found = {}
    for name, source in (
        ("lesions", lesion_source(num_train=3, num_val=1, seed=1, size=36)),
        ("streets", street_source(num_train=3, num_val=1, seed=1)),
    ):
        train_run(Plan("energy-score-unet", settings=small), source, tmp_path / name)
        found[name] = read_record(tmp_path / name).config["has_background"]
        assert found[name] == source.description.has_background
    assert found == {"lesions": True, "streets": False}
