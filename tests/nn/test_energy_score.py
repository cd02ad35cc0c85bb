"""Distances of soft masks, and the energy score made of them."""

from __future__ import annotations

from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from plurimask.metrics import pairwise_distance
from plurimask.nn.energy_score import SHARED, distances_between, distances_to_raters, energy_score

B, N, R, C, PIXELS = 2, 5, 3, 4, 11


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def soft(*shape: int, seed: int = 0) -> Tensor:
    """Masks of all kinds: many pixels near 0 and 1, some between; the first of all is empty."""
    masks = (6 * torch.randn(*shape, PIXELS, generator=seeded(seed), dtype=torch.float64)).sigmoid()
    masks[:, 0] = 0
    return masks


def ruzicka(p: Tensor, q: Tensor) -> float:
    """Of one class, `(pixels,)`, with a pixel more that both mark with weight `SHARED`."""
    more = torch.tensor([SHARED], dtype=p.dtype)
    p, q = torch.cat([p, more]), torch.cat([q, more])
    return float(1 - torch.minimum(p, q).sum() / torch.maximum(p, q).sum())


def square(distances: Tensor, size: int) -> Tensor:
    """Of pairs i < j `(B, pairs)` -> `(B, N, N)`."""
    full = torch.zeros(len(distances), size, size, dtype=distances.dtype)
    first, second = torch.triu_indices(size, size, 1)
    full[:, first, second] = full[:, second, first] = distances
    return full


def test_min_max_is_the_ruzicka_distance_with_a_shared_pixel_more() -> None:
    masks = soft(B, N, 1)
    found = distances_between(masks)
    for image in range(B):
        want = [ruzicka(masks[image, i, 0], masks[image, j, 0]) for i, j in combinations(range(N), 2)]
        assert found[image].tolist() == pytest.approx(want, abs=1e-12)


def test_min_max_is_a_metric_of_negative_type() -> None:
    """No positive eigenvalue on the complement of ones, and no detour is shorter: of soft masks and an empty one."""
    size = 24
    for seed in range(20):
        full = square(distances_between(soft(1, size, 1, seed=seed)), size)[0]
        centring = torch.eye(size, dtype=torch.float64) - 1 / size
        assert float(torch.linalg.eigvalsh(centring @ full @ centring)[-1]) < 1e-12
        assert bool((full[:, None, :] <= full[:, :, None] + full[None, :, :].transpose(1, 2) + 1e-12).all())
        assert bool((full + torch.eye(size) > 0).all())


def test_equal_soft_masks_have_no_min_max_distance_and_have_one_by_the_product() -> None:
    masks = soft(B, 1, 1, seed=1).add(0.3).clamp(max=1).expand(-1, 2, -1, -1)
    assert float(distances_between(masks).abs().max()) == 0
    assert float(distances_between(masks, "product").min()) > 0.05


def test_both_are_the_same_where_one_side_is_hard() -> None:
    samples = soft(B, N, 1)
    raters = (torch.rand(B, R, 1, PIXELS, generator=seeded(3)) > 0.6).double()
    raters[0, 1] = 0
    to_raters = distances_to_raters(samples, raters)
    for image, number, rater in product(range(B), range(N), range(R)):
        want = ruzicka(samples[image, number, 0], raters[image, rater, 0])
        assert float(to_raters[image, number, rater]) == pytest.approx(want, abs=1e-12)
    for kind in ("min-max", "product"):
        both = torch.cat([samples[:, :1], raters[:, :1]], dim=1)
        torch.testing.assert_close(distances_between(both, kind)[:, 0], to_raters[:, 0, 0])


@pytest.mark.parametrize("classes", [(1,), (1, 2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("kind", ["min-max", "product"])
def test_hard_masks_have_the_distance_of_the_evaluation(classes: tuple[int, ...], kind: str) -> None:
    """Up to the shared pixel: of large masks it makes little of a difference. Some lack classes, some are empty."""
    maps = torch.randint(C, (N, 40, 50), generator=seeded(4), dtype=torch.uint8)
    maps[0], maps[1] = 0, torch.where(maps[1] == 2, 0, maps[1])
    masks = torch.stack([maps == index for index in classes], dim=1).flatten(2)[None].float()
    want = pairwise_distance(maps, maps, list(classes))
    first, second = torch.triu_indices(N, N, 1)
    torch.testing.assert_close(distances_between(masks, kind)[0].double(), want[first, second], atol=3e-3, rtol=0)
    torch.testing.assert_close(distances_to_raters(masks, masks)[0].double(), want, atol=3e-3, rtol=0)


@pytest.mark.parametrize("kind", ["min-max", "product"])
def test_gradients_are_those_of_small_steps(kind: str) -> None:
    masks = soft(B, N, C, seed=5)[:, 1:].requires_grad_()
    raters = (torch.rand(B, R, C, PIXELS, generator=seeded(6)) > 0.6).double()
    assert torch.autograd.gradcheck(lambda some: distances_between(some, kind), masks)
    assert torch.autograd.gradcheck(lambda some: distances_to_raters(some, raters), masks)


def test_near_empty_masks_a_pixel_has_a_finite_pull() -> None:
    """Of one class: slope 1 / SHARED at two empty masks."""
    logits = torch.full((1, 2, 1, PIXELS), -30.0, requires_grad=True)
    empty = torch.zeros(1, R, 1, PIXELS)
    masks = logits.exp()
    masks.retain_grad()
    (distances_to_raters(masks, empty)[0, 0, 0]).backward(retain_graph=True)
    assert masks.grad is not None
    torch.testing.assert_close(masks.grad[0, 0], torch.full((1, PIXELS), 1 / SHARED))
    distances_between(masks).sum().backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_the_score_is_the_mean_over_pairs_and_unbiased() -> None:
    """Over all ways to draw n = 3 of four masks with given probabilities, the score's mean is that of the law."""
    masks = soft(1, 4, 1, seed=7)[0]
    chances = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    raters = (torch.rand(1, R, 1, PIXELS, generator=seeded(8)) > 0.6).double()
    weight = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    between = square(distances_between(masks[None]), 4)[0]
    crossed = distances_to_raters(masks[None], raters)[0] @ weight[0]
    want = 2 * chances @ crossed - chances @ between @ chances
    found = torch.zeros((), dtype=torch.float64)
    for drawn in product(range(4), repeat=3):
        index = torch.tensor(drawn)
        found += chances[index].prod() * energy_score(masks[index][None], raters, weight)[0]
    torch.testing.assert_close(found, want)
