import math

import naive_metrics as naive
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics import energy_distance, energy_distances, image_distances


def random_maps(shape, num_classes, seed):
    return torch.randint(num_classes, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("spatial", [(9,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("classes", [[1], [1, 2]])
def test_equals_the_definition(spatial, classes):
    samples, labels = random_maps((5, 2, *spatial), 3, 0), random_maps((2, 4, *spatial), 3, 1)
    labels[1, 2] = IGNORE
    labels[0, 0].view(-1)[:3] = IGNORE
    found = energy_distances(samples, labels, classes)
    for index in range(2):
        expected = naive.energy(samples[:, index].numpy(), labels[index].numpy(), classes)
        np.testing.assert_allclose([float(column[index]) for column in found], expected, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1])),
    hnp.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, IGNORE])),
)
def test_the_v_statistic_of_one_class_is_not_negative(samples, labels):
    ged = float(energy_distances(torch.from_numpy(samples)[:, None], torch.from_numpy(labels)[None], [1]).ged)
    assert math.isnan(ged) or ged >= 0


def test_samples_that_are_the_raters_score_zero():
    labels = random_maps((4, 6, 5), 2, 2)
    found = energy_distances(labels.repeat(3, 1, 1)[:, None], labels[None], [1])
    assert float(found.ged) == pytest.approx(0, abs=1e-12)


def test_what_does_not_exist_is_nan():
    samples, labels = random_maps((3, 1, 4, 5), 2, 3), random_maps((1, 2, 4, 5), 2, 4)
    one_sample = energy_distances(samples[:1], labels, [1])
    assert one_sample.ged_unbiased.isnan() and one_sample.diversity.isnan() and not one_sample.ged_oracle.isnan()
    one_rater = energy_distances(samples, labels[:, :1], [1])
    assert one_rater.ged_unbiased.isnan() and one_rater.ged_oracle.isnan() and one_rater.rater_diversity.isnan()
    assert not one_rater.ged.isnan() and not one_rater.diversity.isnan()
    nobody = energy_distances(samples, torch.full_like(labels, IGNORE), [1])
    assert all(column.isnan().all() for column in nobody)
    labels[0, 0, :2], labels[0, 1, 2:] = IGNORE, IGNORE
    assert all(column.isnan().all() for column in energy_distances(samples, labels, [1]))


def test_the_oracle_and_the_unbiased_estimate_against_simulation():
    """Samples and raters drawn from one finite distribution: E ged = mu (1/n + 1/m), E ged_unbiased = 0."""
    generator = torch.Generator().manual_seed(5)
    world = random_maps((6, 4, 5), 2, 6)
    weights = torch.tensor([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
    valid = np.ones((4, 5), bool)
    mu = float(
        weights.double().numpy() @ naive.distances(world.numpy(), world.numpy(), [1], valid) @ weights.double().numpy()
    )
    n, m, repeats = 5, 3, 600
    draws = torch.multinomial(weights, repeats * (n + m), replacement=True, generator=generator).view(repeats, n + m)
    rows = torch.tensor(
        [energy_distance(image_distances(world[one[:n]], world[one[n:]], [1])) for one in draws], dtype=torch.float64
    )
    error = rows.std(0) / math.sqrt(repeats)
    expected = {0: mu * (1 / n + 1 / m), 1: 0.0, 2: mu * (1 / n + 1 / m), 3: mu, 4: mu}
    for column, value in expected.items():
        assert abs(float(rows[:, column].mean()) - value) < 4 * float(error[column]), column


def test_autocast_changes_nothing():
    samples, labels = random_maps((7, 1, 40, 30), 3, 7), random_maps((1, 3, 40, 30), 3, 8)
    expected = energy_distances(samples, labels, [1, 2])
    with torch.autocast("cpu", torch.bfloat16):
        found = energy_distances(samples, labels, [1, 2])
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_distances_keep_their_blocks():
    samples, labels = random_maps((5, 4, 6), 2, 9), random_maps((3, 4, 6), 2, 10)
    labels[1] = IGNORE
    found = image_distances(samples, labels, [1])
    assert [tuple(block.shape) for block in found] == [(5, 5), (5, 2), (2, 2)]
    valid = np.ones((4, 6), bool)
    expected = naive.distances(samples.numpy(), labels[[0, 2]].numpy(), [1], valid)
    np.testing.assert_allclose(found.crossed.numpy(), expected, atol=1e-15)


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(InputError, match="same B images"):
        energy_distances(random_maps((3, 2, 4, 5), 2, 0), random_maps((3, 2, 4, 5), 2, 1), [1])
