"""Random class flips, against flipping pixel by pixel."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from plurimask.errors import InputError
from plurimask.flips import MAX_FLIPS, Flip, apply_flips, draw_flips, mode_index, mode_table, switchable_classes

FLIPS = (Flip(3, 7, 8 / 17), Flip(0, 6, 4 / 17), Flip(5, 8, 0.3))


def label_map() -> torch.Tensor:
    labels = torch.randint(6, (5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels[0, :3] = 255
    return labels


def naive(labels: torch.Tensor, happens: tuple[bool, ...]) -> list[list[int]]:
    twin = {flip.source: flip.target for flip, yes in zip(FLIPS, happens, strict=True) if yes}
    return [[twin.get(value, value) for value in row] for row in labels.tolist()]


def test_the_table_enumerates_every_mode_once() -> None:
    happens, probabilities = mode_table(FLIPS)
    assert happens.shape == (8, 3)
    assert set(map(tuple, happens.tolist())) == set(itertools.product([False, True], repeat=3))
    assert not happens[0].any()
    for row, probability in zip(happens.tolist(), probabilities.tolist(), strict=True):
        factors = [f.probability if yes else 1 - f.probability for f, yes in zip(FLIPS, row, strict=True)]
        assert probability == pytest.approx(math.prod(factors), abs=1e-15)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-15)
    assert mode_index(happens).tolist() == list(range(8))


def test_the_published_law_has_32_modes() -> None:
    flips = [Flip(k, 5 + k, (8 - k) / 17) for k in range(5)]
    happens, probabilities = mode_table(flips)
    assert len(happens) == 32
    expected = [(happens[:, k].double() * probabilities).sum() for k in range(5)]
    assert expected == pytest.approx([8 / 17, 7 / 17, 6 / 17, 5 / 17, 4 / 17])


def test_applying_equals_flipping_pixel_by_pixel() -> None:
    labels, (happens, _) = label_map(), mode_table(FLIPS)
    maps = apply_flips(labels, FLIPS, happens)
    assert maps.dtype == torch.uint8
    assert maps.tolist() == [naive(labels, tuple(row)) for row in happens.tolist()]
    assert apply_flips(labels[0], FLIPS, happens[:2]).shape == (2, 7)


def test_draws_have_the_law_and_are_independent() -> None:
    labels, num = torch.tensor([3, 0, 5, 1, 255], dtype=torch.uint8), 4000
    maps = draw_flips(labels, FLIPS, num, torch.Generator().manual_seed(1))
    flipped = maps[:, :3] != labels[:3]
    happens, probabilities = mode_table(FLIPS)
    counts = torch.bincount(mode_index(flipped), minlength=8) / num
    for frequency, probability in zip(counts.tolist(), probabilities.tolist(), strict=True):
        assert abs(frequency - probability) < 4.5 * math.sqrt(probability * (1 - probability) / num)
    assert bool((maps[:, 3:] == labels[3:]).all())
    assert torch.equal(maps[:9], draw_flips(labels, FLIPS, num, torch.Generator().manual_seed(1))[:9])
    assert maps[0].tolist() in apply_flips(labels, FLIPS, happens).tolist()


def test_classes_and_limits() -> None:
    assert switchable_classes(FLIPS) == (0, 3, 5, 6, 7, 8)
    many = [Flip(k, 20 + k, 0.5) for k in range(MAX_FLIPS + 1)]
    assert len(mode_table(many[:-1])[0]) == 2**MAX_FLIPS
    with pytest.raises(InputError, match="at most 10"):
        mode_table(many)
