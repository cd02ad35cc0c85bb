"""Figures of many objects: the right points, matrices and counts, and nothing over anything else."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from object_figures import ObjectSamples, SeenObjects, object_independence, object_samples

from plurimask.figures.style import figure_bytes

HEIGHT, WIDTH = 24, 33
LONG = "hierarchical-probabilistic-unet"


def seen(frequencies: list[float], constant: int | None = None) -> SeenObjects:
    matrix = np.full((3, 3), -0.2)
    np.fill_diagonal(matrix, 1)
    if constant is not None:
        matrix[constant], matrix[:, constant] = math.nan, math.nan
    return SeenObjects(frequencies, matrix, [(100, 8.0), (1, 1.0), (10, 5.5)])


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


def words_do_not_overlap(figure: Figure) -> bool:
    """No two pieces of text share a place, and all are within the page."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += axes.get_legend().get_texts() if axes.get_legend() else []
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text().strip()]
    page = figure.bbox
    inside = all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    return inside and not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_points_matrices_and_counts_are_those_given() -> None:
    probabilities = [0.2, 0.5, 0.8, 0.4]
    methods = {"$one": seen([0.3, 0.5, 0.7, 0.4]), LONG: seen([1.0, 0.5, 0.0, 0.4], constant=1)}
    figure = object_independence(probabilities, methods, [(1, 1.0), (100, 60.4)])
    first, matrix, second, other, bar, chart = figure.axes
    assert np.asarray(first.collections[0].get_offsets()).tolist() == [[0.2, 0.3], [0.5, 0.5], [0.8, 0.7], [0.4, 0.4]]
    assert first.get_title("left") == "mean error 0.050" and second.get_title("left") == "mean error 0.400"
    assert matrix.get_title("left") == "mean |r| 0.200"
    assert other.get_title("left") == "mean |r| 0.200, 1 constant"
    assert np.ma.getmaskarray(other.images[0].get_array()).sum() == 5
    assert matrix.images[0].get_clim() == (-1, 1) and len(bar.images) == 0
    assert np.asarray(chart.lines[0].get_xydata()).tolist() == [[1, 1], [10, 5.5], [100, 8]]
    legend = chart.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["$one: 8", f"{LONG}: 8", "independent objects: 60"]
    assert [text.get_text() for text in figure.texts][:3] == ["$one", "probabilistic-unet", "hierarchical-"]
    assert is_drawn(figure)


def test_a_method_that_never_changes_an_object_has_no_correlation() -> None:
    still = SeenObjects([1.0, 1.0], np.full((3, 3), math.nan), [(1, 1.0), (50, 1.0)])
    figure = object_independence([0.4, 0.6], {"unet": still}, [])
    assert figure.axes[1].get_title("left") == "no correlation, 3 constant" and is_drawn(figure)


def test_nothing_counted_is_said() -> None:
    figure = object_independence([], {"unet": SeenObjects([], np.eye(2), [])}, [])
    assert figure.axes[-1].texts[0].get_text() == "no samples were counted" and is_drawn(figure)


@pytest.mark.parametrize("num_methods", [1, 2, 3, 12])
def test_words_have_room(num_methods: int) -> None:
    methods = {f"{LONG}-{number}": seen([0.1, 0.9], constant=2) for number in range(num_methods)}
    assert words_do_not_overlap(object_independence([0.2, 0.8], methods, [(1, 1.0), (1000, 700.0)]))


def test_methods_without_a_value_for_each_object_are_refused() -> None:
    with pytest.raises(ValueError, match="one: 2 frequencies of 3 objects"):
        object_independence([0.2, 0.4, 0.6], {"one": seen([0.1, 0.2])}, [])
    with pytest.raises(ValueError, match="no method"):
        object_independence([0.2], {}, [])


def shown() -> tuple[ObjectSamples, np.ndarray]:
    regions = np.zeros((2, HEIGHT, WIDTH), bool)
    regions[0, 3:9, 4:12], regions[1, 12:20, 18:29] = True, True
    image = np.random.default_rng(1).normal(size=(1, HEIGHT, WIDTH))
    samples = np.stack([regions[0], regions[1], regions.any(0), np.zeros_like(regions[0])]).astype(np.uint8)
    return ObjectSamples(image, regions, [0.25, 0.7]), samples


def test_samples_stand_beside_the_image_and_its_probabilities() -> None:
    about, samples = shown()
    figure = object_samples(about, {"$one": samples, "two": samples[:1]}, num_shown=3)
    assert len(figure.axes) == 2 + 3 + 1
    assert [text.get_text() for text in figure.axes[1].texts] == [".25", ".70"]
    places = [text.get_position() for text in figure.axes[1].texts]
    assert places == [(7.5, 5.5), (23.0, 15.5)]  # column and row of the middles
    assert [text.get_text() for text in figure.texts] == [
        *("image", "probability of each object"),
        *("$one, 3 samples", "two, 1 samples"),
    ]
    for axes, labels in zip(figure.axes[2:5], samples, strict=False):
        painted = np.asarray(axes.images[1].get_array())[..., 3] > 0
        np.testing.assert_array_equal(painted, labels > 0)
    assert is_drawn(figure) and words_do_not_overlap(figure)


def test_an_empty_sample_says_so() -> None:
    about, samples = shown()
    figure = object_samples(about, {"one": samples[3:]})
    assert [text.get_text() for text in figure.axes[2].texts] == ["empty"] and is_drawn(figure)


def test_nothing_to_draw_is_refused() -> None:
    about, samples = shown()
    with pytest.raises(ValueError, match="num_shown >= 1"):
        object_samples(about, {"one": samples}, num_shown=0)
    with pytest.raises(ValueError, match="one sample of each method"):
        object_samples(about, {"one": samples[:0]})
