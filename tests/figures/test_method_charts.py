"""Charts of several methods: true to their values, and a method looks the same in all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from plurimask.figures.charts import pruning_curve
from plurimask.figures.methods import (
    COLUMN,
    ged_against_samples,
    method_marks,
    reliability_of_methods,
    score_boxplots,
    sparsification_of_methods,
)
from plurimask.figures.style import figure_bytes
from plurimask.metrics import CalibrationBins, ErrorHistogram, sparsification

TEN = tuple(f"method-{number}" for number in range(10))


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def make_bins(probability: float, frequency: float) -> CalibrationBins:
    pixels = torch.zeros(2, 15, dtype=torch.float64)
    pixels[:, int(15 * probability)] = 40
    return CalibrationBins(pixels, pixels * probability, pixels * frequency)


def test_methods_differ_in_colour_and_in_marker() -> None:
    marks = method_marks(TEN)
    assert len({mark.colour for mark in marks.values()}) == len({mark.marker for mark in marks.values()}) == 10
    assert len(set(method_marks(map(str, range(35))).values())) == 35


def test_ged_against_samples_draws_what_is_finite_in_order() -> None:
    curves = {"a": [], "b_$x": [(16, 0.25), (1, 0.5), (4, math.nan)], "c": [(1, 0.75), (64, 0.125)]}
    figure = ged_against_samples(curves, [(1, 0.5), (16, 0.03125)])
    lines = figure.axes[0].lines
    assert [np.asarray(line.get_xdata()).tolist() for line in lines] == [[1, 16], [1, 64], [1, 16]]
    assert np.asarray(lines[0].get_ydata()).tolist() == [0.5, 0.25]
    assert legend(figure) == ["b_$x: 0.250 at 16", "c: 0.125 at 64", "raters themselves: 0.031 at 16"]
    marks = method_marks(curves)
    assert [line.get_color() for line in lines[:2]] == [marks["b_$x"].colour, marks["c"].colour]  # not those of "a"
    assert lines[2].get_linestyle() == "--" and figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_xticks().tolist() == [1, 16, 64] and figure.get_figwidth() == COLUMN
    assert is_drawn(figure)


def test_ged_of_many_methods_and_of_none() -> None:
    curve = [(number, 1 / number) for number in range(1, 40)]
    figure = ged_against_samples(dict.fromkeys(TEN, curve))
    assert len(legend(figure)) == 10 and figure.axes[0].get_xticks().tolist() == [1, 2, 4, 8, 16, 32]
    assert is_drawn(figure)
    assert words(ged_against_samples({"a": [(1, math.nan)]}, None)) == ["there is no GED"]


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_boxplots_have_the_best_mean_on_top(lower_is_better: bool) -> None:
    values = {"none": [math.nan], "low": [0.1, 0.3, math.nan], "high": [0.5, 0.7, 0.9], "middle": [0.4]}
    figure = score_boxplots(values, "Dice", lower_is_better, reference=0.8)
    order = ["low", "middle", "high"] if lower_is_better else ["high", "middle", "low"]
    means = {"low": "0.200", "middle": "0.400", "high": "0.700"}
    said = [word for name in order for word in (name, f"mean {means[name]}")]
    assert words(figure) == [*said, "none", "no values"]
    assert legend(figure) == ["raters themselves: 0.800"]
    marks = method_marks(values)
    assert [to_hex(box.get_edgecolor()) for box in figure.axes[0].patches] == [marks[n].colour.lower() for n in order]
    assert is_drawn(figure)


def test_a_box_spans_the_middle_half_and_its_diamond_is_the_mean() -> None:
    values = [*np.linspace(0, 1, 101), 4.0]
    axes = score_boxplots({"one": values}, "GED").axes[0]
    (box,), (outliers, mean) = axes.patches, axes.lines
    low, high = np.percentile(values, [25, 75])
    assert box.get_bbox().x0 == pytest.approx(low) and box.get_bbox().x1 == pytest.approx(high)
    assert np.asarray(outliers.get_xdata()).tolist() == [4.0]
    assert np.asarray(mean.get_xdata()).item() == pytest.approx(np.mean(values))
    assert words(score_boxplots({"one": [math.nan], "two": []}, "GED")) == ["no image has a value"]


def test_reliability_pools_the_classes_and_says_the_error() -> None:
    nothing = torch.zeros(2, 15, dtype=torch.float64)
    bins = {"sure": make_bins(0.75, 0.5), "empty": CalibrationBins(nothing, nothing, nothing)}
    figure = reliability_of_methods(bins)
    assert legend(figure) == ["perfect", "sure (0.2500)", "empty (no pixels)"]
    line = figure.axes[0].lines[1]
    assert np.asarray(line.get_xydata()).tolist() == [[0.75, 0.5]]
    assert is_drawn(figure) and is_drawn(reliability_of_methods(dict.fromkeys(TEN, make_bins(0.2, 0.2))))


def make_errors(right: list[float], wrong: list[float]) -> ErrorHistogram:
    counts = torch.zeros(2, 1024, dtype=torch.float64)
    counts[:, 500 : 500 + len(right)] = torch.tensor([right, wrong], dtype=torch.float64)
    return ErrorHistogram(*counts)


def test_sparsification_has_each_method_s_own_oracle() -> None:
    silent = ErrorHistogram(*torch.zeros(2, 1024, dtype=torch.float64))
    silent.right[0], silent.wrong[0] = 90, 10
    errors = {
        "good": make_errors([50, 30, 10], [0, 2, 8]),
        "flawless": make_errors([9, 9], [0, 0]),
        "equal_$x": silent,
    }
    figure = sparsification_of_methods(errors)
    curve = sparsification(errors["good"])
    oracle, own, _, flat = figure.axes[0].lines
    np.testing.assert_allclose(np.asarray(own.get_ydata()), curve.error)
    np.testing.assert_allclose(np.asarray(oracle.get_ydata()), curve.oracle)
    np.testing.assert_allclose(np.asarray(flat.get_ydata()), 0.1)
    assert oracle.get_linestyle() == "--" and oracle.get_color() == own.get_color()
    assert flat.get_color() == method_marks(errors)["equal_$x"].colour  # not that of the one without errors
    assert legend(figure) == [f"good ({curve.ause():.3f})", "equal_$x (zero everywhere)", "oracle: wrong first"]
    assert is_drawn(figure) and figure.get_figwidth() == COLUMN
    assert is_drawn(sparsification_of_methods(dict.fromkeys(TEN, errors["good"])))
    assert words(sparsification_of_methods({"flawless": errors["flawless"]})) == ["no label is wrong"]


def test_pruning_is_drawn_for_each_run() -> None:
    points = [(0.0, 0.8), (0.5, 0.79), (0.95, 0.3)]
    figure = pruning_curve({"one": points, "two": points[:2]}, "IoU")
    one, two = figure.axes[0].lines
    assert np.asarray(one.get_xydata()).tolist() == [[*point] for point in points]
    assert len(np.asarray(two.get_xydata())) == 2 and one.get_color() != two.get_color()
    assert legend(figure) == ["one", "two"] and figure.axes[0].get_ylabel() == "IoU" and is_drawn(figure)
    assert legend(pruning_curve({"one": points})) == []
