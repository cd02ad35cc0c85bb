"""Noise is what its parts say, and none of its draws depends on more than it should."""

from __future__ import annotations

import pytest
import torch

from plurimask.noise import Generators, Noise, NoisePart, draw_noise

N, B, C = 7, 3, 5
PARTS = {
    "normal": [NoisePart("image", "normal", (C,))],
    "uniform": [NoisePart("places", "uniform", (2, 4, 6), stride=(8, 8))],
    "levels": [NoisePart("places", "normal", (1, 2, 3)), NoisePart("image", "normal", (C,))],
    "index": [NoisePart("weights", "index", count=4)],
    "weighted": [NoisePart("weights", "index", count=3, weights=(0.5, 0.2, 0.3))],
    "seeds": [NoisePart("weights", "seed"), NoisePart("image", "seed")],
    "everything": [
        NoisePart("weights", "index", count=3),
        NoisePart("weights", "seed", (2,)),
        NoisePart("weights", "normal", (11,)),
        NoisePart("image", "normal", (C,)),
        NoisePart("image", "seed"),
        NoisePart("weights", "index", count=5),
        NoisePart("places", "normal", (2, 4, 6), stride=(8, 8)),
    ],
}


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def named(*seeds: int) -> Generators:
    return Generators(seeded(), tuple(map(seeded, seeds)))


def equal(first: Noise, second: Noise) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.fixture(params=PARTS)
def parts(request: pytest.FixtureRequest) -> list[NoisePart]:
    return PARTS[str(request.param)]


def test_each_part_has_its_shape_and_type(parts: list[NoisePart]) -> None:
    for part, drawn in zip(parts, draw_noise(parts, N, B, seeded()), strict=True):
        assert drawn.shape == (N, *(() if part.kind == "weights" else (B,)), *part.shape)
        assert drawn.dtype == (torch.int64 if part.law in ("index", "seed") else torch.float32)
        assert drawn.device.type == "cpu"


@pytest.mark.parametrize("named_images", [False, True])
def test_the_first_samples_are_the_same_however_many_are_drawn(parts: list[NoisePart], named_images: bool) -> None:
    few, many = (draw_noise(parts, n, B, named(1, 2, 3) if named_images else seeded()) for n in (N, 5 * N))
    assert equal(few, tuple(part[:N] for part in many))


def test_draws_of_an_image_do_not_depend_on_its_neighbours(parts: list[NoisePart]) -> None:
    together, alone = draw_noise(parts, N, 3, named(1, 2, 3)), draw_noise(parts, N, 1, named(2))
    for part, of_all, of_one in zip(parts, together, alone, strict=True):
        assert torch.equal(of_all if part.kind == "weights" else of_all[:, 1:2], of_one)
    with pytest.raises(ValueError, match="one per image"):
        draw_noise(parts, N, 3, named(1))


def test_other_seeds_and_later_calls_draw_anew(parts: list[NoisePart]) -> None:
    generator = seeded()
    first, again = draw_noise(parts, 64, B, generator), draw_noise(parts, 64, B, generator)
    assert equal(first, draw_noise(parts, 64, B, seeded()))
    for other in (again, draw_noise(parts, 64, B, seeded(6))):
        assert not any(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_without_a_generator_torchs_own_decides(parts: list[NoisePart]) -> None:
    torch.manual_seed(3)
    first = draw_noise(parts, N, B, None)
    torch.manual_seed(3)
    assert equal(first, draw_noise(parts, N, B, None))


def test_draws_follow_their_laws() -> None:
    """Means and variances within 5 standard errors."""
    parts = [NoisePart("image", "normal", (50,)), NoisePart("places", "uniform", (40, 2))]
    normal, uniform = (drawn.double().flatten() for drawn in draw_noise(parts, 400, 2, seeded()))
    for drawn, mean, variance, kurtosis in ((normal, 0.0, 1.0, 3.0), (uniform, 0.5, 1 / 12, 1.8)):
        count = len(drawn)
        assert abs(float(drawn.mean()) - mean) <= 5 * (variance / count) ** 0.5
        assert abs(float(drawn.var()) - variance) <= 5 * variance * ((kurtosis - 1) / count) ** 0.5


def test_parts_are_independent_of_each_other() -> None:
    parts = PARTS["everything"]
    drawn = draw_noise(parts, 500, 1, seeded())
    rank = torch.stack([part.reshape(500, -1)[:, 0].argsort().argsort().double() for part in drawn])
    correlations = torch.corrcoef(rank) - torch.eye(len(parts))
    assert float(correlations.abs().max()) <= 5 / 500**0.5


def test_parts_held_at_their_mean_change_no_other() -> None:
    parts = PARTS["everything"]
    free, held = draw_noise(parts, N, B, seeded()), draw_noise(parts, N, B, seeded(), at_mean=(3, 6))
    for number, (one, other) in enumerate(zip(free, held, strict=True)):
        assert torch.equal(other, torch.zeros_like(one) if number in (3, 6) else one)
    for number in (0, len(parts), -1):
        with pytest.raises(ValueError, match="normal parts"):
            draw_noise(parts, N, B, seeded(), at_mean=(number,))
