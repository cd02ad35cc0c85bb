"""Representatives of label maps, against all subsets of a few, and where there is nothing to choose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from plurimask.distribution import MixtureSegmentation, SegmentationDistribution
from plurimask.errors import InputError
from plurimask.noise import Noise, NoisePart
from plurimask.sets.distance import joint_distances
from plurimask.sets.representatives import Support, representative_maps, support
from plurimask.sets.simplex import Numbers, simplex_weights

HEIGHT, WIDTH = 17, 23


def disks(num: int, seed: int, empty: int = 0, classes: int = 2) -> Tensor:
    """Disks of random places, sizes and classes, the first few of them empty: `(num, H, W)`, uint8."""
    random = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    place = torch.rand(num, 2, 1, 1, generator=random) * 6 + 5
    radius = torch.rand(num, 1, 1, generator=random) * 6 + 1
    inside = (rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2 < radius**2
    which = torch.randint(1, classes, (num, 1, 1), generator=random)
    maps = torch.where(inside, which, 0).to(torch.uint8)
    maps[:empty] = 0
    return maps


def matrix(maps: Tensor, classes: int = 2) -> Numbers:
    distances: Numbers = joint_distances([maps], range(1, classes)).numpy()
    return distances


def energy(found: Support, distances: Numbers, masses: Numbers | None = None) -> float:
    """The squared energy distance by its definition, with an explicit sum over pairs."""
    num = len(distances)
    p = np.full(num, 1 / num) if masses is None else masses / masses.sum()
    w = dict(zip(found.members, found.weights, strict=True))
    crossed = sum(w[i] * p[j] * distances[i, j] for i in w for j in range(num))
    within = sum(w[i] * w[j] * distances[i, j] for i in w for j in w)
    between = sum(p[i] * p[j] * distances[i, j] for i in range(num) for j in range(num))
    return float(2 * crossed - within - between)


def best_of_all_subsets(distances: Numbers, most: int, masses: Numbers) -> float:
    values = []
    for members in itertools.combinations(range(len(distances)), most):
        chosen = list(members)
        kernel = 1 - distances
        weights = simplex_weights(kernel[np.ix_(chosen, chosen)], (kernel @ masses)[chosen])
        values.append(energy(Support(members, tuple(weights.tolist()), 0), distances, masses))
    return min(values)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("classes", [2, 4])
def test_no_other_subset_is_nearer(most: int, classes: int) -> None:
    """The search is not exhaustive: of 16 sets of 5 to 9 maps it misses the best subset of at most one, narrowly."""
    excess = []
    for seed in range(16):
        num = 5 + seed % 5
        distances = matrix(disks(num, seed, empty=seed % 3, classes=classes), classes)
        masses = np.random.default_rng(seed).random(num) + 0.1
        masses /= masses.sum()
        found = support(distances, most, masses)
        assert found.distance == pytest.approx(energy(found, distances, masses), abs=1e-9)
        best = best_of_all_subsets(distances, most, masses)
        assert found.distance >= best - 1e-9
        excess.append(found.distance - best)
    assert sum(one > 1e-8 for one in excess) <= 1 and max(excess) < 0.01


def test_no_exchange_of_one_member_helps_among_many() -> None:
    distances = matrix(disks(40, 3))
    kernel, masses = 1 - distances, np.full(40, 1 / 40)
    found = support(distances, 4)
    for member in found.members:
        for other in set(range(40)) - set(found.members):
            chosen = [other if one == member else one for one in found.members]
            weights = simplex_weights(kernel[np.ix_(chosen, chosen)], (kernel @ masses)[chosen])
            tried = Support(tuple(chosen), tuple(weights.tolist()), 0)
            assert energy(tried, distances) >= found.distance - 1e-9


def test_more_maps_are_nearer_and_weights_are_on_the_simplex() -> None:
    distances = matrix(disks(60, 5, empty=9))
    found = [support(distances, most) for most in (1, 2, 3, 5, 8, 16, 30)]
    assert [one.distance for one in found] == sorted((one.distance for one in found), reverse=True)
    for one in found:
        assert min(one.weights) > 0 and sum(one.weights) == pytest.approx(1, abs=1e-12)
        assert np.all(np.diff(one.weights) < 1e-8) and len(set(one.members)) == len(one.members)
    assert found[-1].distance < 0.01 < found[0].distance


def test_they_depend_on_neither_chance_nor_order() -> None:
    maps = disks(30, 7, empty=4)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    first, again = representative_maps(maps, [1], 5), representative_maps(maps.clone(), [1], 5)
    other = representative_maps(maps[order], [1], 5)
    assert first == again and other.weights == first.weights and other.distance == first.distance
    assert all(torch.equal(maps[a], maps[order][b]) for a, b in zip(first.members, other.members, strict=True))


def test_equal_draws_are_one_and_few_distinct_ones_have_their_shares() -> None:
    assert support(np.zeros((7, 7)), 3) == Support((0,), (pytest.approx(1.0),), 0.0)
    two = disks(2, 1)[[0, 1, 1, 0, 0]]
    assert representative_maps(two, [1], 4).weights == pytest.approx((0.6, 0.4))
    assert representative_maps(torch.zeros(6, HEIGHT, WIDTH, dtype=torch.uint8), [1], 4).weights == pytest.approx(
        (1.0,)
    )
    different = disks(5, 2)
    all_of_them = representative_maps(different, [1], 5)
    assert sorted(all_of_them.members) == [0, 1, 2, 3, 4] and all_of_them.weights == pytest.approx([0.2] * 5)
    assert representative_maps(different, [1], 50) == all_of_them
    assert representative_maps(different[:1], [1], 1) == Support((0,), (1.0,), 0.0)
    half = torch.cat([torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), disks(1, 4)])
    assert representative_maps(half, [1], 2).weights == pytest.approx((0.75, 0.25))
    with pytest.raises(InputError, match="0 representatives"):
        support(np.zeros((2, 2)), 0)


def test_classes_that_do_not_count_make_no_difference() -> None:
    maps = torch.zeros(4, HEIGHT, WIDTH, dtype=torch.uint8)
    maps[:, :5, :5], maps[1::2, 8:, 8:] = 1, 2
    assert len(representative_maps(maps, [1], 3).members) == 1
    assert representative_maps(maps, [1, 2], 3).weights == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_distance_is_of_negative_type_with_several_classes_too(classes: int) -> None:
    """-d has no negative eigenvalue on the weights of sum 0, beyond rounding."""
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        maps = torch.randint(0, classes, (24, 3, 4), generator=random).to(torch.uint8)
        maps[torch.rand(24, 3, 4, generator=random) < seed / 20] = 0
        centre = np.eye(24) - 1 / 24
        assert np.linalg.eigvalsh(-centre @ matrix(maps, classes) @ centre).min() > -1e-12


def test_classes_that_turn_independently_have_many_equally_good_weights() -> None:
    """K is singular then: each class alone is seen, so four combinations of two choices depend on each other."""
    maps = torch.zeros(4, 4, 6, dtype=torch.uint8)
    for number in range(4):
        maps[number, :2, : 2 + number % 2], maps[number, 2:, : 3 + number // 2] = 1, 2
    kernel = 1 - matrix(maps, 3)
    assert np.linalg.eigvalsh(kernel)[0] == pytest.approx(0, abs=1e-12)
    found = support(1 - kernel, 3)
    assert found.distance == pytest.approx(energy(found, 1 - kernel), abs=1e-9)
    assert sum(found.weights) == pytest.approx(1)


class Drawn(SegmentationDistribution):
    """Two images: in one a disk of a drawn size or nothing, in the other always the same."""

    def __init__(self) -> None:
        super().__init__((2, 3, HEIGHT, WIDTH), torch.device("cpu"), [NoisePart("image", "normal", (1,))])

    def scores(self, noise: Noise) -> Tensor:
        rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
        far = ((rows - 8) ** 2 + (columns - 11) ** 2).sqrt()
        logits = torch.zeros(len(noise[0]), *self.logits_shape)
        logits[:, 0, 2] = 6 * noise[0][:, 0, :, None].float() - far
        logits[:, 1, 1] = 4 - far
        return logits


def test_a_prediction_has_representatives_of_its_draws() -> None:
    prediction = Drawn()
    found = prediction.representatives(4, 60, torch.Generator().manual_seed(3))
    drawn = prediction.freeze(60, torch.Generator().manual_seed(3))
    assert found.maps.shape == (4, 2, HEIGHT, WIDTH) and found.maps.dtype == torch.uint8
    assert found.weights.shape == found.draws.shape == (4, 2) and found.distance.shape == (2,)
    assert found.weights.sum(0).tolist() == pytest.approx([1, 1])
    for image in range(2):
        assert torch.equal(found.maps[:, image], drawn.maps[found.draws[:, image], image])
    assert found.weights[:, 1].tolist() == pytest.approx([1, 0, 0, 0]) and found.distance[1] == 0
    assert torch.equal(found.maps[:, 1], found.maps[:1, 1].expand(4, -1, -1))
    assert int((found.maps[0, 0] == 2).sum()) == 0 and float(found.weights[0, 0]) == pytest.approx(0.5, abs=0.15)
    again = drawn.representatives(4)  # of fixed draws they are of these, however many are asked for
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
    only_first = prediction.representatives(4, 60, torch.Generator().manual_seed(3), classes=[1])
    assert only_first.weights.tolist() == [pytest.approx([1, 1])]
    for image in range(2):  # each draw belongs to the map that is nearest to it
        distances = matrix(torch.cat([found.maps[:, image], drawn.maps[:, image]]), 3)[4:, :4]
        belongs = np.bincount(distances[:, : 4 if image == 0 else 1].argmin(1), minlength=4) / 60
        assert found.shares[:, image].tolist() == pytest.approx(belongs.tolist())


def test_weights_of_components_are_their_masses() -> None:
    base = Drawn()
    draws = torch.tensor([[[-3.0], [0.0]], [[1.0], [0.0]], [[2.0], [0.0]]])
    mixture = MixtureSegmentation(base, (draws,), [0.2, 0.5, 0.3])
    found = mixture.representatives(3)
    assert found.weights[:, 0].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert found.draws[:, 0].tolist() == [1, 2, 0]
