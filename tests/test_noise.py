"""Noise is what its parts say, and none of its draws depends on more than it should."""

from __future__ import annotations

import pytest
import torch

from plurimask.errors import InputError
from plurimask.noise import MAX_SPREAD, Generators, Noise, NoisePart, can_spread, draw_noise, spread_parts

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


# ---- spread draws -------------------------------------------------------------------------------------------------

VECTOR = [NoisePart("image", "normal", (C,))]
LEVELS = [NoisePart("places", "normal", shape) for shape in ((2, 3, 5), (1, 6, 10), (1, 30, 35))]
"""30, 60 and 1,050 latents: the first two are spread."""


def spread(parts: list[NoisePart], num: int, batch_size: int, source: torch.Generator | Generators | None) -> Noise:
    return draw_noise(parts, num, batch_size, source, spread=True)


def star_discrepancy(points: torch.Tensor) -> float:
    """The largest difference between a box's share of points `(N, 2)` and its area, of boxes from 0 to a point."""
    corners = torch.cartesian_prod(*(torch.cat([column, torch.ones(1)]) for column in points.float().T))
    shares = (points.float()[:, None] < corners).all(2).double().mean(0)
    closed = (points.float()[:, None] <= corners).all(2).double().mean(0)
    area = corners.double().prod(1)
    return float(torch.maximum((shares - area).abs(), (closed - area).abs()).max())


@pytest.mark.parametrize("parts", [VECTOR, LEVELS], ids=["vector", "levels"])
@pytest.mark.parametrize("named_images", [False, True])
def test_the_first_spread_draws_are_the_same_however_many_are_drawn(parts: list[NoisePart], named_images: bool) -> None:
    sources = (named(1, 2, 3) if named_images else seeded() for _ in range(3))
    few, many, one = (spread(parts, n, B, source) for n, source in zip((N, 2 * N, 1), sources, strict=True))
    assert equal(few, tuple(part[:N] for part in many)) and equal(one, tuple(part[:1] for part in many))
    for part, drawn in zip(parts, few, strict=True):
        assert drawn.shape == (N, B, *part.shape) and drawn.dtype == torch.float32


@pytest.mark.parametrize("power", [0, 1, 4, 7])
def test_each_equally_likely_interval_of_each_latent_holds_its_share(power: int) -> None:
    num = 2**power
    for drawn in spread(VECTOR, num, B, seeded()), spread(LEVELS, num, B, named(1, 2, 3))[:2]:
        for latents in drawn:
            cells = (torch.special.ndtr(latents.double()) * num).long().flatten(1)
            assert torch.equal(cells.sort(0).values, torch.arange(num)[:, None].expand_as(cells))


@pytest.mark.parametrize("rows", [1, 2, 8, 32, 64])
def test_each_box_of_one_size_in_the_plane_of_the_first_two_latents_holds_one_draw(rows: int) -> None:
    """Of 64 draws, in any grid of 64 equally likely boxes: what defines the sequence, and scrambling keeps."""
    uniform = torch.special.ndtr(spread(VECTOR, 64, B, seeded())[0][..., :2].double())
    boxes = (uniform * torch.tensor([rows, 64 // rows])).long()
    numbers = boxes[..., 0] * (64 // rows) + boxes[..., 1]
    assert torch.equal(numbers.sort(0).values, torch.arange(64)[:, None].expand(64, B))


def test_pairs_of_latents_are_spread_too() -> None:
    """The discrepancy in the plane of each two latents is that of independent draws, or rather half of it."""

    def mean_discrepancy(noise: Noise) -> float:
        uniform = torch.special.ndtr(noise[0].double())[:, 0]
        pairs = [(i, j) for j in range(C) for i in range(j)]
        return sum(star_discrepancy(uniform[:, list(pair)]) for pair in pairs) / len(pairs)

    for seed in range(4):
        even, independent = (draw_noise(VECTOR, 64, 1, seeded(seed), spread=how) for how in (True, False))
        assert mean_discrepancy(even) < 0.7 * mean_discrepancy(independent)


def test_spread_draws_are_normal_each_and_together() -> None:
    """A point alone follows the normal distribution over scramblings; 2^10 together have its moments nearly exactly."""
    alone = spread(VECTOR, 1, 3000, seeded())[0].double().flatten()
    count = len(alone)
    assert abs(float(alone.mean())) <= 5 / count**0.5
    assert abs(float(alone.var()) - 1) <= 5 * (2 / count) ** 0.5
    assert abs(float((alone.abs() < 0.6744898).double().mean()) - 0.5) <= 5 * 0.5 / count**0.5
    many = spread(VECTOR, 1024, 1, seeded())[0].double()[:, 0]
    assert bool(many.isfinite().all())
    assert float(many.mean(0).abs().max()) < 0.01 and float((many.var(0) - 1).abs().max()) < 0.03
    correlations = torch.corrcoef(many.T) - torch.eye(C)
    assert float(correlations.abs().max()) < 0.05  # of independent draws 0.03 is the standard error


def test_seeds_and_names_decide_and_images_have_scramblings_of_their_own() -> None:
    first = spread(VECTOR, N, B, named(1, 2, 3))
    assert equal(first, spread(VECTOR, N, B, named(1, 2, 3)))
    (alone,) = spread(VECTOR, N, 1, named(2))
    assert torch.equal(first[0][:, 1:2], alone)
    (other,) = spread(VECTOR, N, B, named(1, 5, 3))
    assert torch.equal(other[:, ::2], first[0][:, ::2]) and not torch.isclose(other[:, 1], first[0][:, 1]).any()
    (together,) = spread(VECTOR, N, B, seeded())
    for one, another in ((0, 1), (1, 2), (0, 2)):
        assert not torch.isclose(together[:, one], together[:, another]).any()
    generator = seeded()
    again = [spread(VECTOR, N, B, generator)[0] for _ in range(2)]
    assert torch.equal(again[0], together) and not torch.isclose(again[0], again[1]).any()
    torch.manual_seed(3)
    by_default = spread(VECTOR, N, B, None)
    torch.manual_seed(3)
    assert equal(by_default, spread(VECTOR, N, B, None))


def test_fine_levels_and_levels_at_their_mean_are_as_without() -> None:
    assert spread_parts(LEVELS) == [0, 1] and 30 + 60 <= MAX_SPREAD < 30 + 60 + 1050
    assert spread_parts(LEVELS[::-1]) == [0]
    independent, even = draw_noise(LEVELS, N, B, seeded()), spread(LEVELS, N, B, seeded())
    assert torch.equal(even[2], independent[2])
    for level in (0, 1):
        assert not torch.isclose(even[level], independent[level]).any()
    held = draw_noise(LEVELS, N, B, seeded(), at_mean=(0,), spread=True)
    assert bool((held[0] == 0).all()) and equal(held[1:], even[1:])


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (PARTS["index"], "each of them once before any repeats"),
        (PARTS["weighted"], "each of them once before any repeats"),
        ([NoisePart("weights", "index", count=1)], "draws nothing"),
        (PARTS["uniform"], "uniform numbers for pixels"),
        (PARTS["seeds"], "weights or masks of a network by a seed"),
        ([NoisePart("image", "seed")], "pixels by a seed"),
        ([NoisePart("weights", "normal", (3,))], "normal numbers for weights"),
        (PARTS["everything"], "each of them once before any repeats"),
        ([NoisePart("places", "normal", (1, 150, 160))], "at most 21,201 latents, .* has 1 x 150 x 160"),
    ],
)
def test_what_has_no_latents_cannot_be_spread(parts: list[NoisePart], why: str) -> None:
    with pytest.raises(InputError, match=why):
        spread(parts, N, B, seeded())
    assert not can_spread(parts) and can_spread(VECTOR) and can_spread(LEVELS)
