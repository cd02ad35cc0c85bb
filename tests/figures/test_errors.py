"""Figures of errors beside uncertainty, and of referral: drawn for every kind of data, with the figures they state."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from plurimask.figures.errors import (
    ErrorRow,
    disagreement,
    error_maps,
    kept_mean,
    referral_curve,
    referral_gain,
    referral_score,
)
from plurimask.figures.style import figure_bytes

HEIGHT, WIDTH = 22, 34
NAN = math.nan


def make_row(num_classes: int, num_raters: int, channels: int = 1) -> ErrorRow:
    random = np.random.default_rng(num_classes)
    mean = random.dirichlet(np.ones(num_classes), (HEIGHT, WIDTH)).transpose(2, 0, 1)
    raters = random.integers(0, num_classes, (num_raters, HEIGHT, WIDTH)).astype(np.uint8)
    raters[:, :3] = 255
    entropy = -(mean * np.log(mean)).sum(0)
    image = random.normal(size=(channels, HEIGHT, WIDTH))
    return ErrorRow("one_$name_<b>", image, raters, mean, entropy, entropy * 0, mean * 0)


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


@pytest.mark.parametrize(("num_classes", "has_background"), [(2, True), (2, False), (3, True), (11, False)])
@pytest.mark.parametrize("num_raters", [1, 4])
def test_error_maps_of_all_kinds(num_classes: int, has_background: bool, num_raters: int) -> None:
    rows = [make_row(num_classes, num_raters), make_row(num_classes, num_raters, channels=3)]
    names = [f"class $ {number}" for number in range(num_classes)]
    figure = error_maps(rows, names, has_background)
    assert is_drawn(figure)
    titles = [text.get_text() for text in figure.texts]
    assert "mutual information" in titles and "raters who disagree" in titles
    assert ("rater" in titles) == (num_raters == 1)


@pytest.mark.parametrize("value", [0, 255])
def test_raters_who_saw_nothing_or_gave_nothing(value: int) -> None:
    row = make_row(2, 3)
    row.raters[:] = value
    figure = error_maps([row], ["background", "lesion"])
    assert is_drawn(figure)
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said[0] == ("no map" if value == 255 else "empty")


def test_error_maps_need_a_row() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        error_maps([], ["background", "lesion"])


def test_disagreement_is_a_share_of_those_who_judged() -> None:
    raters = np.array([[[0, 1, 255]], [[1, 1, 255]], [[1, 255, 255]]], np.uint8)
    np.testing.assert_allclose(disagreement(raters, np.array([[1, 0, 0]])), [[1 / 3, 1, NAN]])


def test_kept_mean_is_the_expectation_over_the_order_of_equals() -> None:
    dice, score = np.array([0.9, 0.1, 0.4, 0.8, 0.3]), np.array([2.0, 1.0, 1.0, 3.0, 1.0])
    orders = [order for order in itertools.permutations(range(5)) if np.all(np.diff(score[list(order)]) >= 0)]
    assert len(orders) == 6
    curves = [[dice[list(order[kept:])].mean() for kept in range(5)] for order in orders]
    np.testing.assert_allclose(kept_mean(dice, score), np.mean(curves, axis=0), atol=1e-14)


def test_gain_is_1_for_the_truth_0_for_a_constant_and_negative_for_its_opposite() -> None:
    dice = np.random.default_rng(0).uniform(size=30)
    assert referral_gain(dice, dice**3) == pytest.approx(1)
    assert referral_gain(dice, np.ones(30)) == pytest.approx(0, abs=1e-12)
    assert referral_gain(dice, -dice) < 0
    assert math.isnan(referral_gain(np.ones(4), np.arange(4))) and math.isnan(referral_gain([], []))


def test_referral_curve_leaves_out_what_does_not_exist() -> None:
    figure = referral_curve([0.2, NAN, 0.8, 0.5], [1, 2, 3, NAN], "a $score")
    ideal, own, random = (np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines())
    np.testing.assert_allclose(own, [0.5, 0.8])
    np.testing.assert_allclose(ideal, own)
    np.testing.assert_allclose(random, [0.5, 0.5])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["ideal: by true Dice", "a $score: 100 % of the area", "at random"]
    assert is_drawn(figure) and figure.get_figwidth() == 3.5


@pytest.mark.parametrize("dice", [[], [0.5], [NAN, NAN], [0.5, 0.5]])
def test_referral_curve_of_little(dice: list[float]) -> None:
    assert is_drawn(referral_curve(dice, dice, "score"))


def test_images_are_ordered_by_expected_dice_where_it_tells_them_apart() -> None:
    rows = [{"dice": 0.5, "expected_dice": value, "mean_entropy": 0.25} for value in (0.25, 0.75)]
    undefined = {"dice": NAN, "expected_dice": NAN, "mean_entropy": NAN}
    assert referral_score([*rows, undefined])[1] == "expected Dice"
    for value in (1.0, NAN):
        single = [{**row, "expected_dice": value} for row in rows]
        score, name, words = referral_score([*single, undefined])
        assert score[:2] == [-0.25, -0.25] and name == "mean entropy" and "single prediction" in words
    assert referral_score([undefined])[1] == "mean entropy"
