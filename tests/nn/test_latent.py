"""Gaussians against torch.distributions, and the bound of log-sigma."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from plurimask.nn.latent import LOG_SIGMA_BOUND, Gaussian, GaussianEncoder
from plurimask.nn.place import Place, placed

B, L = 5, 3


def test_kl_equals_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (Gaussian(torch.randn(B, L, generator=generator), torch.randn(B, L, generator=generator)) for _ in range(2))
    reference = kl_divergence(*(Independent(Normal(g.mean, g.log_sigma.exp()), 1) for g in (p, q)))
    torch.testing.assert_close(p.kl(q), reference)
    torch.testing.assert_close(p.kl(p), torch.zeros(B))


def test_transform_has_the_moments_of_the_gaussian() -> None:
    gaussian = Gaussian(torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.0, 1.0, -1.0]]))
    draws = gaussian.transform(torch.randn(40_000, 1, 3, generator=torch.Generator().manual_seed(0)))
    sigma = gaussian.log_sigma.exp()
    assert bool(((draws.mean(0) - gaussian.mean).abs() < 4 * sigma / 200).all())
    assert bool(((draws.std(0) - sigma).abs() < 4 * sigma / (2 * 40_000) ** 0.5).all())


def test_log_sigma_is_bounded_and_in_float32_whatever_the_images() -> None:
    encoder = GaussianEncoder(2, (6, 8), L)
    with torch.autocast("cpu", torch.bfloat16):
        gaussian = encoder(1e6 * torch.randn(B, 2, 17, 12))
    assert gaussian.mean.dtype == gaussian.log_sigma.dtype == torch.float32
    assert gaussian.mean.shape == (B, L)
    assert float(gaussian.log_sigma.abs().max()) <= LOG_SIGMA_BOUND


def test_the_average_is_that_of_all_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of many places in float32 would lose what tiles add up in float64."""
    encoder, images = GaussianEncoder(2, (6, 64), L), torch.zeros(1, 2, 4, 4)
    features = 100 + torch.randn(1, 64, 310, 203, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(encoder, "averaged", lambda images: features)
    upper, lower = (part.double().flatten(2).sum(2) for part in features.split([150, 160], dim=2))
    known = {encoder: ((upper + lower) / (310 * 203)).float()}
    with placed(Place((0, 0), (4, 4), (4, 4), known)):
        expected = encoder(images)
    found = encoder(images)
    assert torch.equal(found.mean, expected.mean) and torch.equal(found.log_sigma, expected.log_sigma)
