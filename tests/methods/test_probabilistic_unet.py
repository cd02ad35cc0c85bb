"""The Probabilistic U-Net: its hybrid loss."""

from __future__ import annotations

import torch
from contract import B, C, H, R, W, seeded

from plurimask.methods import build_method


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
