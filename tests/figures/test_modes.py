"""Figures of flipped classes: the right samples, shares and distances."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from plurimask.figures.colours import rgb
from plurimask.figures.modes import MAX_MODES, ModeStrip, flip_frequencies, flipped_names, mode_frequencies, mode_strip
from plurimask.figures.style import figure_bytes
from plurimask.flips import Flip, apply_flips, mode_table

HEIGHT, WIDTH = 40, 62
NAMES = ("sky", "$road", "car", "tree", "$road_2", "car_2")
FLIPS = (Flip(1, 4, 0.25), Flip(2, 5, 0.5))


def make_strip(modes: list[int]) -> ModeStrip:
    random = np.random.default_rng(3)
    annotator = np.repeat(np.arange(4, dtype=np.uint8), 10)[:, None].repeat(WIDTH, 1)
    annotator[:, -2:] = 255
    happens, probability = mode_table(FLIPS)
    maps = apply_flips(torch.from_numpy(annotator), FLIPS, happens[modes]).numpy()
    names = flipped_names(happens.tolist(), ("$road", "car"))
    image = random.normal(size=(3, HEIGHT, WIDTH))
    return ModeStrip(image, annotator, maps, np.array(modes), names, probability.tolist(), NAMES, FLIPS)


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


def legend(figure: Figure) -> list[str]:
    return [text.get_text().strip() for found in figure.legends for text in found.get_texts()]


def test_modes_are_named_by_what_flips() -> None:
    assert flipped_names(mode_table(FLIPS)[0].tolist(), ("a", "b")) == ["none", "a", "b", "a, b"]


def test_a_strip_shows_the_most_frequent_mode_first_with_its_share() -> None:
    figure = mode_strip(make_strip([0, 2, 2, 2, 3, 3, -1, 2]))
    assert [text.get_text() for text in figure.texts] == [
        "8 samples show 4 different modes",
        *("image", "annotator"),
        *("flipped: car", "50.0% of samples, true 37.5%"),
        *("flipped: $road, car", "25.0% of samples, true 12.5%"),
        *("mixed: no single mode", "12.5% of samples"),
        *("flipped: none", "12.5% of samples, true 37.5%"),
    ]
    assert legend(figure) == ["$road", "$road_2", "car", "car_2", "sky", "tree", "not judged"]
    assert len(figure.axes) == 6 and is_drawn(figure)


def test_a_twin_differs_from_its_class_by_brightness_alone() -> None:
    axes = mode_strip(make_strip([0, 2])).axes
    plain, flipped = (np.asarray(one.images[0].get_array())[20:30, :-2] for one in (axes[2], axes[3]))
    spread = [part.mean(-1).std() for part in (plain, flipped)]
    assert spread[1] > 4 * spread[0] > 0
    other = [np.asarray(one.images[0].get_array())[10:20] for one in (axes[2], axes[3])]
    assert (other[0] == other[1]).all()  # the road, which did not flip


def test_classes_that_can_flip_stand_out() -> None:
    picture = np.asarray(mode_strip(make_strip([0])).axes[1].images[0].get_array())
    vivid, pale = (picture[row : row + 10, :-2].mean((0, 1)) for row in (20, 30))
    assert np.abs(vivid - rgb("#009E73")).max() < 0.2 and np.ptp(pale) < 0.4


def test_a_strip_of_many_modes_says_how_many_are_left_out() -> None:
    names = ["a long name, another one, a third one, more"] * 12
    strip = replace(
        make_strip([0, 1, 2, 3] * 3), mode_of_sample=np.arange(12), mode_names=names, probability=[0.1] * 12
    )
    figure = mode_strip(strip)
    assert figure.texts[0].get_text() == "12 samples show 12 different modes, here the 8 most frequent"
    assert len(figure.axes) == 2 + MAX_MODES and is_drawn(figure)


def test_flip_frequencies_beside_the_true_ones() -> None:
    figure = flip_frequencies([0.25, 0.5], {"one": [0.5, math.nan], "two": [0.0, 1.0]}, ["$road", "car"])
    axes = figure.axes[0]
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines[1:2]] == [[0.0, 1.0]]
    assert [segment[0][0] for segment in axes.collections[0].get_segments()] == [0.25, 0.5]
    assert legend(figure) == ["true", "one", "two"] and is_drawn(figure)
    assert is_drawn(flip_frequencies([0.5], {}, ["car"]))


def test_mode_frequencies_are_sorted_and_their_distance_is_total_variation() -> None:
    true = [0.375, 0.125, 0.375, 0.125]
    figure = mode_frequencies(true, {"one": [0.5, 0.0, 0.25, 0.25], "none": [math.nan] * 4}, ["$road", "car"])
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == [0.375, 0.375, 0.125, 0.125]
    assert np.asarray(figure.axes[0].lines[0].get_ydata()).tolist() == [0.5, 0.25, 0.0, 0.25]
    assert legend(figure) == ["true", "one (distance 0.250)"]
    flipped = np.asarray(figure.axes[1].lines[1].get_xydata()).astype(int).tolist()
    assert sorted(flipped) == [[1, 1], [2, 0], [3, 0], [3, 1]]  # modes 0, 2, 1, 3: rank and class
    assert is_drawn(figure)


def test_of_very_many_modes_the_most_probable_are_drawn() -> None:
    true = mode_table([Flip(k, 20 + k, 0.3) for k in range(7)])[1].tolist()
    figure = mode_frequencies(true, {"one": true}, [f"class {k}" for k in range(7)])
    assert figure.axes[0].get_title("left") == "frequency of each mode: 64 of 128" and is_drawn(figure)
    assert legend(figure)[1] == "one (distance 0.000)"


def test_values_must_fit_the_classes() -> None:
    with pytest.raises(ValueError, match=r"one: 1 values for 2 classes: give 2"):
        flip_frequencies([0.1, 0.2], {"one": [0.1]}, ["a", "b"])
    with pytest.raises(ValueError, match=r"true: 2 values for 2\^2 modes of 2 classes: give 4"):
        mode_frequencies([0.1, 0.2], {}, ["a", "b"])
