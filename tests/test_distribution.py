"""Statistics of distributions, against sums written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import plurimask.distribution as distribution
from plurimask.distribution import IGNORE, MixtureSegmentation, SegmentationDistribution
from plurimask.noise import Noise, NoisePart

N, B, C, H, W, R = 7, 2, 3, 5, 4, 6


class Shifted(SegmentationDistribution):
    """Logits that depend on noise in a known way."""

    def __init__(self, base: Tensor) -> None:
        super().__init__(base.shape, base.device, [NoisePart("image", "normal", base.shape[1:2])])
        self.base = base

    def scores(self, noise: Noise) -> Tensor:
        return self.base + 2 * noise[0][..., None, None]


@pytest.fixture
def shifted() -> Shifted:
    return Shifted(torch.randn(B, C, H, W, generator=torch.Generator().manual_seed(1)))


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_statistics_equal_sums_over_components(shifted: Shifted) -> None:
    weights = torch.tensor([0.3, 0.1, 0.2, 0.4])
    noise = shifted.draw_noise(4, seeded())
    mixture = MixtureSegmentation(shifted, noise, weights.tolist())
    p = shifted.logits(noise).softmax(2).double()
    mean = sum(w * x for w, x in zip(weights.double(), p, strict=True))
    torch.testing.assert_close(mixture.mean().double(), mean, atol=1e-6, rtol=0)
    spread = sum(w * (x - mean) ** 2 for w, x in zip(weights.double(), p, strict=True))
    torch.testing.assert_close(mixture.variance().double(), spread, atol=1e-6, rtol=0)
    total = -(mean * mean.log()).sum(1)
    torch.testing.assert_close(mixture.entropy().double(), total, atol=1e-6, rtol=0)
    within = sum(-w * (x * x.log()).sum(1) for w, x in zip(weights.double(), p, strict=True))
    torch.testing.assert_close(mixture.mutual_information().double(), total - within, atol=1e-6, rtol=0)


def test_log_prob_equals_logsumexp_of_whole_maps(shifted: Shifted) -> None:
    labels = torch.randint(0, C, (B, R, H, W), generator=seeded()).to(torch.uint8)
    labels[0, 2, 1] = IGNORE
    labels[1, 4] = IGNORE
    frozen = shifted.freeze(N, seeded())
    logp = shifted.logits(frozen.draws).log_softmax(2)
    for b in range(B):
        for r in range(R):
            scores = []
            for n in range(N):
                total = 0.0
                for i in range(H):
                    for j in range(W):
                        label = int(labels[b, r, i, j])
                        total += 0.0 if label == IGNORE else float(logp[n, b, label, i, j])
                scores.append(total)
            expected = math.log(sum(math.exp(score) for score in scores) / N)
            assert float(frozen.log_prob(labels)[b, r]) == pytest.approx(expected, abs=1e-4)
    assert float(frozen.log_prob(labels)[1, 4]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("logits_per_chunk", [1, 3 * B * C * H * W, 10**9])
def test_chunks_change_nothing(shifted: Shifted, monkeypatch: pytest.MonkeyPatch, logits_per_chunk: int) -> None:
    expected = shifted.freeze(N, seeded())
    want = expected.statistics
    monkeypatch.setattr(distribution, "MAX_CHUNK_ELEMENTS", logits_per_chunk)
    got = shifted.freeze(N, seeded()).statistics
    assert torch.equal(got.maps, want.maps)
    for name in ("mean", "variance", "expected_entropy"):
        torch.testing.assert_close(getattr(got, name), getattr(want, name), atol=1e-6, rtol=0)
    assert torch.equal(shifted.sample(N, seeded()), want.maps)


def test_entropy_is_safe_at_certain_pixels() -> None:
    certain = torch.full((B, C, H, W), -200.0)
    certain[:, 1] = 200.0
    frozen = Shifted(certain).freeze(N, seeded())
    for statistic in (frozen.entropy(), frozen.mutual_information(), frozen.variance()):
        assert bool(torch.isfinite(statistic).all())
        assert bool((statistic >= 0).all())
        assert float(statistic.max()) < 1e-6


def test_variance_is_never_negative_for_nearly_equal_draws() -> None:
    base = torch.randn(B, C, H, W) * 3
    mixture = MixtureSegmentation(Shifted(base), (1e-7 * torch.randn(N, B, C),))
    assert bool((mixture.variance() >= 0).all())


def test_a_mixture_gives_each_component_once_before_any_repeats(shifted: Shifted) -> None:
    mixture = shifted.freeze(N, seeded())
    indices = mixture.draw_noise(3 * N - 2, seeded())[0].tolist()
    assert sorted(indices[:N]) == list(range(N))
    assert sorted(indices[N : 2 * N]) == list(range(N))
    assert len(set(indices[2 * N :])) == N - 2
    assert len(mixture.draw_noise(2, seeded())[0]) == 2


def test_weighted_components_appear_by_their_weight(shifted: Shifted) -> None:
    weights = torch.tensor([0.5, 0.3, 0.15, 0.05])
    mixture = MixtureSegmentation(shifted, shifted.draw_noise(4, seeded()), weights.tolist())
    for seed in range(20):
        counts = torch.bincount(mixture.draw_noise(50, seeded(seed))[0], minlength=4)
        assert bool(((counts - 50 * weights).abs() <= 2).all())
    # One draw of many generators: 5 standard errors of each frequency.
    first = torch.cat([mixture.draw_noise(1, seeded(seed))[0] for seed in range(2000)])
    error = (weights * (1 - weights) / len(first)).sqrt()
    assert bool(((torch.bincount(first, minlength=4) / len(first) - weights).abs() <= 5 * error).all())


def test_weights_must_be_positive_and_one_a_component(shifted: Shifted) -> None:
    noise = shifted.draw_noise(4, seeded())
    for weights in ((1.0, 1.0, 1.0), (1.0, 0.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match="4 positive numbers"):
            MixtureSegmentation(shifted, noise, weights)


def test_samples_of_a_frozen_prediction_are_its_maps(shifted: Shifted) -> None:
    frozen = shifted.freeze(N, seeded())
    samples = frozen.sample(N, seeded(9))
    (order,) = frozen.draw_noise(N, seeded(9))
    assert samples.dtype == torch.uint8
    assert samples.shape == (N, B, H, W)
    assert torch.equal(samples, shifted.logits(frozen.draws).argmax(2)[order].to(torch.uint8))
    assert frozen.freeze(3) is frozen


def test_no_samples_are_refused(shifted: Shifted) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        shifted.sample(0)
