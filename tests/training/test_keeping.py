"""Which weights are kept, on sequences whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from one_rater import OneRater

from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.methods import build_method
from plurimask.training.batches import TrainingData
from plurimask.training.config import TrainingConfig
from plurimask.training.keeping import Keeping
from plurimask.training.validation import validate

NUM_IMAGES, NUM_VALIDATIONS, TRIALS = 14, 10, 200


def kept_and_lowest(truth: Callable[[float], float], noise: float, seed: int) -> tuple[float, float]:
    """Where the kept weights are from, and those of the lowest mean; images differ, and each validation is noisy."""
    draws = np.random.default_rng(seed)
    of_images = draws.normal(0, 0.3, NUM_IMAGES)
    keeping, kept, means = Keeping(), 0.0, []
    places = [number / NUM_VALIDATIONS for number in range(1, NUM_VALIDATIONS + 1)]
    for progress in places:
        geds = truth(progress) + of_images + draws.normal(0, noise, NUM_IMAGES)
        means.append(float(geds.mean()))
        if keeping.decide(geds.tolist(), progress):
            kept = progress
    return kept, places[int(np.argmin(means))]


def test_luck_does_not_keep_an_early_step() -> None:
    """A GED that falls slowly in much noise: the lowest one is early in many trials, the kept one in hardly any."""
    found = [kept_and_lowest(lambda progress: 0.9 - 0.1 * progress, 0.4, seed) for seed in range(TRIALS)]
    kept, lowest = (np.array(column) for column in zip(*found, strict=True))
    assert (lowest <= 0.5).mean() > 0.15
    assert (kept <= 0.5).mean() < 0.02
    assert kept.mean() > lowest.mean() + 0.1


def test_weights_before_a_clear_rise_are_kept() -> None:
    """Training images are learnt by heart from 60 % on: what is kept is hardly worse than the best there was."""

    def truth(progress: float) -> float:
        return 0.9 - 0.5 * progress if progress <= 0.6 else 0.6 + 1.5 * (progress - 0.6)

    kept = [kept_and_lowest(truth, 0.15, seed)[0] for seed in range(TRIALS)]
    assert np.mean([truth(progress) for progress in kept]) < 0.6 + 0.05
    assert max(kept) < 1.0


def test_an_early_one_that_is_clearly_better_stays() -> None:
    kept = [kept_and_lowest(lambda progress: 0.5 + progress, 0.15, seed)[0] for seed in range(TRIALS)]
    assert np.mean(kept) < 0.25  # of 0.1 to 1.0


def test_a_slow_rise_is_not_followed_step_by_step() -> None:
    """Each step up is within the noise of the last one, but not of the lowest."""
    keeping, rise, images = Keeping(), 0.02, np.linspace(-0.05, 0.05, 9)
    kept = [keeping.decide((0.5 + rise * step + (images if step % 2 else -images)).tolist(), 0.6) for step in range(9)]
    assert kept[:2] == [True, True]
    assert not any(kept[4:])


def test_ties_go_to_the_later_step() -> None:
    keeping = Keeping()
    assert [keeping.decide([0.25, 0.5], progress) for progress in (0.6, 0.8, 1.0)] == [True, True, True]
    assert keeping.progress == 0.6  # what is compared with stays


def test_what_is_known_of_one_image_only_or_of_none_keeps_the_later_step() -> None:
    keeping = Keeping()
    assert keeping.decide([0.25], 0.6)
    assert keeping.decide([0.9], 0.8)
    assert keeping.decide([float("nan")], 1.0)


def test_images_without_a_ged_do_not_count() -> None:
    keeping, none = Keeping(), float("nan")
    keeping.decide([0.5, none, 0.5, 0.5], 0.6)
    assert not keeping.decide([0.6, 0.1, 0.61, none], 0.8)


def test_it_is_the_same_after_a_checkpoint() -> None:
    one, other = Keeping(), Keeping()
    one.decide([0.5, 0.75, 0.25], 0.3)
    other.restore(one.state())
    assert other == one
    assert one.decide([0.75, 1.0, 0.5], 0.7) is other.decide([0.75, 1.0, 0.5], 0.7) is False


@pytest.mark.parametrize("progress", [0.2, 0.7])
def test_the_first_is_kept(progress: float) -> None:
    assert Keeping().decide([2.0, 3.0], progress)


def test_single_raters_are_judged_by_dice() -> None:
    source = lesion_source(num_train=1, num_val=3, seed=2, size=36)
    method, config = build_method("m-heads", channels=(4, 5), num_heads=3), TrainingConfig(validation_samples=4)
    several, alone = source.splits["val"], OneRater(source.splits["val"])
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,))
    for examples, column in ((several, "val_ged"), (alone, "val_dice")):
        validation = validate(method, TrainingData(examples, examples, preprocessing, (1,)), config)
        mean = validation.figures[column]
        assert sum(validation.judged) / 3 == pytest.approx(mean if column == "val_ged" else 1 - mean)
