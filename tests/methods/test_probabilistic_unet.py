"""The Probabilistic U-Net: its hybrid loss, and the energy score beside the bound."""

from __future__ import annotations

import torch
from contract import B, C, H, R, W, seeded

from plurimask.methods import build_method
from plurimask.methods.probabilistic_unet import ProbabilisticUNet
from plurimask.nn.energy_score import energy_score


def test_the_hybrid_loss_weighs_maps_of_the_posterior_and_of_the_prior() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(B, 1, H, W), torch.randint(C, (B, R, H, W), dtype=torch.uint8)
    methods = {
        share: build_method("probabilistic-unet", num_classes=C, channels=(5, 7), beta=3.0, prior_share=share)
        for share in (0.0, 0.25)
    }
    methods[0.25].load_state_dict(methods[0.0].state_dict())
    plain, hybrid = (method.loss(images, labels, seeded()) for method in methods.values())
    assert plain.terms.keys() == {"reconstruction", "kl"}
    bound = hybrid.terms["reconstruction"] + 3.0 * hybrid.terms["kl"]
    torch.testing.assert_close(plain.total, bound)
    torch.testing.assert_close(hybrid.total, 0.75 * bound + 0.25 * hybrid.terms["prediction"])
    assert hybrid.terms["prediction"] != hybrid.terms["reconstruction"]
    hybrid.total.backward()
    prior = methods[0.25].prior_net
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in prior.parameters())


def test_draws_from_the_prior_are_charged_by_the_energy_score_and_their_mean_s_likelihood() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(B, 1, H, W), torch.randint(C, (B, R, H, W), dtype=torch.uint8)
    settings = {"num_classes": C, "channels": (5, 7), "energy_samples": 3}
    plain, weighted = (build_method("probabilistic-unet", **settings, energy_weight=w) for w in (0.0, 50.0))
    assert isinstance(weighted, ProbabilisticUNet)
    weighted.load_state_dict(plain.state_dict())
    bound, loss = (method.loss(images, labels, seeded()) for method in (plain, weighted))
    generator = seeded()
    torch.randn(B * R, 6, generator=generator)  # of the posteriors
    prediction = weighted(images)
    z = prediction.prior.transform(torch.randn(3, B, 6, generator=generator))
    probabilities = prediction.decode([z]).softmax(2)
    maps = torch.stack([labels == value for value in range(C)], dim=2).flatten(3).float()  # (B, R, C, pixels)
    score = energy_score(probabilities.flatten(3).transpose(0, 1)[:, :, 1:], maps[:, :, 1:], torch.full((B, R), 1 / R))
    mean = (probabilities.mean(0)[:, None].flatten(3) * maps).sum(2)
    torch.testing.assert_close(loss.terms["energy_score"], score.mean(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(loss.terms["pixels"], -mean.log().mean(), atol=1e-5, rtol=1e-4)
    charged = bound.total + 50 * (loss.terms["energy_score"] + loss.terms["pixels"])
    torch.testing.assert_close(loss.total, charged)
