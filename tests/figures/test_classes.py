"""The figure of class uncertainty: for every kind of data, with colours that say who disagrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask.figures.colours import stripes
from plurimask.figures.errors import ErrorRow, class_uncertainty, misclassified
from plurimask.figures.style import figure_bytes

HEIGHT, WIDTH = 22, 34


def make_row(num_classes: int, num_raters: int, channels: int = 1, height: int = HEIGHT) -> ErrorRow:
    random = np.random.default_rng(num_classes)
    draws = random.dirichlet(np.ones(num_classes), (5, height, WIDTH)).transpose(0, 3, 1, 2)
    mean = draws.mean(0)
    raters = random.integers(0, num_classes, (num_raters, height, WIDTH)).astype(np.uint8)
    raters[:, :3] = 255
    entropy = -(mean * np.log(mean)).sum(0)
    image = random.normal(size=(channels, height, WIDTH))
    return ErrorRow("one_$name_<b>", image, raters, mean, entropy, entropy * 0, draws.var(0))


def titles(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def shown_map(figure: Figure, number: int) -> NDArray[Any]:
    """What is drawn last in a panel."""
    return np.asarray(figure.axes[number].get_images()[-1].get_array())


@pytest.mark.parametrize(("num_classes", "has_background"), [(2, True), (2, False), (3, True), (11, False)])
@pytest.mark.parametrize("num_raters", [1, 4])
def test_it_is_drawn_for_all_kinds(num_classes: int, has_background: bool, num_raters: int) -> None:
    rows = [make_row(num_classes, num_raters), make_row(num_classes, num_raters, channels=3, height=57)]
    names = [f"class $ {number}" for number in range(num_classes)]
    figure = class_uncertainty(rows, names, has_background)
    assert figure_bytes(figure, 60).startswith(b"\x89PNG")
    both = ["uncertainty of both classes"]
    several = ["mean uncertainty", "uncertainty of class $ 0"]
    assert titles(figure)[: 4 if num_classes > 2 else 3] == [
        "prediction",
        "misclassified",
        *(both if num_classes == 2 else several),
    ]
    bars = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert bars.count("of the raters") == (num_raters > 1)
    assert bars.count("std. dev.") == (1 if num_classes == 2 else 2)


def test_maps_are_standard_deviations_of_the_class_asked_for() -> None:
    row = make_row(3, 2)
    figure = class_uncertainty([row], ["ground", "a class with a name too long to read", "tree"], class_index=1)
    assert titles(figure)[3] == "uncertainty of a class with..."
    deviation = np.sqrt(row.variance)
    np.testing.assert_allclose(shown_map(figure, 2), deviation.mean(0))
    np.testing.assert_allclose(shown_map(figure, 3), deviation[1])
    two = make_row(2, 1)
    only = class_uncertainty([two], ["ground", "tree"])
    np.testing.assert_allclose(shown_map(only, 2), np.sqrt(two.variance[0]))
    np.testing.assert_allclose(two.variance[0], two.variance[1])


def test_red_is_as_opaque_as_raters_disagree() -> None:
    raters = np.array([[[0, 1, 255, 2]], [[1, 1, 255, 2]], [[1, 255, 255, 2]]], np.uint8)
    colours = misclassified(raters, np.array([[1, 0, 0, 2]], np.uint8))
    np.testing.assert_allclose(colours[0, [0, 1, 3], 3], [1 / 3, 1, 0])
    np.testing.assert_allclose(colours[0, 0, :3], colours[0, 1, :3])
    assert colours[0, 1, 0] > 0.8 and colours[0, 1, 1:3].max() < 0.2
    np.testing.assert_allclose(colours[0, 2], stripes((1, 4))[0, 2])


def test_a_method_whose_draws_are_equal_has_flat_maps() -> None:
    row = make_row(3, 1)
    row.variance[:] = 0
    row.raters[:] = 255
    assert figure_bytes(class_uncertainty([row], ["a", "b", "c"]), 60).startswith(b"\x89PNG")


@pytest.mark.parametrize("class_index", [-1, 3])
def test_mistakes_are_named(class_index: int) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        class_uncertainty([], ["a", "b", "c"])
    with pytest.raises(ValueError, match=f"class_index {class_index} must be an index of the 3 classes"):
        class_uncertainty([make_row(3, 1)], ["a", "b", "c"], class_index=class_index)
