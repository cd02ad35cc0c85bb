"""Figures: drawn for every kind of data, without display, with colours that mean what they should."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from plurimask.figures.charts import (
    agreement,
    ged_per_image,
    reliability_diagram,
    sparsification_curves,
    training_curve,
)
from plurimask.figures.colours import boundary_share, class_colours, colour_labels, display_image, thinned
from plurimask.figures.page import Classes
from plurimask.figures.rows import GridRow
from plurimask.figures.samples import overview, probability_over, readings_grid, samples_grid
from plurimask.figures.style import figure_bytes, save_figure
from plurimask.metrics import CalibrationBins, ErrorHistogram, ErrorHistograms, sparsification
from plurimask.prediction.readings import Reading

HEIGHT, WIDTH = 34, 46
BINARY = ("background", "a $lesion")
STREET = tuple(f"class {number}" for number in range(11))


def make_row(num_classes: int, num_raters: int | None, num_samples: int = 7, channels: int = 1) -> GridRow:
    random = np.random.default_rng(num_classes + channels)
    maps = random.integers(0, num_classes, (num_samples, HEIGHT, WIDTH)).astype(np.uint8)
    raters = None
    if num_raters is not None:
        raters = random.integers(0, num_classes, (num_raters, HEIGHT, WIDTH)).astype(np.uint8)
        raters[:, :3] = 255
    mean = np.stack([(maps == index).mean(0) for index in range(num_classes)])
    entropy = -(mean * np.log(np.clip(mean, 1e-9, 1))).sum(0)
    return GridRow(
        "one_$name_<b>", random.normal(size=(channels, HEIGHT, WIDTH)), raters, maps, mean, entropy, "GED $1"
    )


def readings_of(row: GridRow, *groups: tuple[int, ...]) -> list[Reading]:
    """Readings of these members, the first of each shown."""
    areas = [[int((row.samples[k] == 1).sum()) for k in one] for one in groups]
    return [
        Reading(one, one[0], len(one) / len(row.samples), 0.0, ((0, 0), (min(own), max(own))))
        for one, own in zip(groups, areas, strict=True)
    ]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def is_drawn(figure: Figure) -> bool:
    return figure_bytes(figure, 60).startswith(b"\x89PNG")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_an_image_becomes_colours_from_0_to_1(channels: int) -> None:
    picture = display_image(torch.randn(channels, HEIGHT, WIDTH) * 900 + 40)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.min() >= 0 and picture.max() <= 1 and picture.max() - picture.min() > 0.9


def test_a_constant_image_is_grey_and_a_flat_shape_is_refused() -> None:
    assert (display_image(np.full((1, 4, 5), 7.0)) == 0.5).all()
    with pytest.raises(ValueError, match="expected \\(channels"):
        display_image(np.zeros((4, 5)))


def test_a_dim_channel_of_three_is_stretched_by_itself() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (3, HEIGHT, WIDTH)) * np.array([1000, 900, 5])[:, None, None]
    assert display_image(image)[..., 2].max() == 1


def test_background_is_transparent_and_what_nobody_judged_grey() -> None:
    labels = torch.tensor([[0, 1, 2], [255, 255, 0]], dtype=torch.uint8)
    colours = colour_labels(labels, 3)
    assert colours.shape == (2, 3, 4)
    assert colours[..., 3].tolist() == [[0, 1, 1], [1, 1, 0]]
    assert (colours[1, 0, :3] == colours[1, 0, 0]).all()
    assert (colour_labels(labels, 3, has_background=False)[0, 0, :3] == colours[0, 1, :3]).all()


def test_classes_have_different_colours() -> None:
    assert len(np.unique(class_colours(254).round(3), axis=0)) == 254
    assert class_colours(5, has_background=False).shape == (5, 3)


def test_boundaries_are_where_neighbours_differ() -> None:
    maps = np.zeros((2, 3, 4), np.uint8)
    maps[0, :, 2:] = 1
    assert boundary_share(maps).tolist() == [[0, 0.5, 0, 0]] * 3


def test_large_maps_are_thinned() -> None:
    assert thinned(np.zeros((2, 900, 2001)), 800).shape == (2, 300, 667)


@pytest.mark.parametrize(
    ("names", "raters", "channels", "has_background"),
    [(BINARY, 4, 1, True), (BINARY, None, 3, True), (STREET, 1, 3, False), (STREET, 6, 2, True), (BINARY, 2, 1, False)],
)
def test_grids_and_overviews_of_all_kinds(
    names: tuple[str, ...], raters: int | None, channels: int, has_background: bool
) -> None:
    rows = [make_row(len(names), raters, channels=channels), make_row(len(names), raters, channels=channels)]
    assert is_drawn(samples_grid(rows, names, has_background))
    assert is_drawn(readings_grid(rows, names, has_background))
    assert is_drawn(overview(rows[0], readings_of(rows[0], (0, 2, 6)), names, has_background))


def test_headings_say_how_many_of_how_many_are_shown() -> None:
    assert {"4 of 5 raters", "6 of 7 samples"} <= set(words(samples_grid([make_row(2, 5)], BINARY)))
    assert {"rater", "2 samples"} <= set(words(samples_grid([make_row(2, 1, 2)], BINARY)))


def test_absent_raters_and_empty_maps_are_told_apart() -> None:
    row = make_row(2, 3)
    assert row.raters is not None
    row.raters[0], row.raters[1] = 255, 0
    said = [text.get_text() for axes in samples_grid([row], BINARY).axes for text in axes.texts]
    assert said == ["no map", "empty"]


def test_small_things_are_enlarged_and_framed() -> None:
    row = make_row(2, 2)
    assert row.raters is not None
    for maps in (row.raters, row.samples):
        maps[:] = 0
        maps[:, 3:6, 40:45] = 1
    axes = samples_grid([row], BINARY).axes
    assert len(axes[0].patches) == 1 and axes[0].get_xlim() == (-0.5, WIDTH - 0.5)
    (left, right), (bottom, top) = axes[1].get_xlim(), axes[1].get_ylim()
    assert -0.5 <= left < 40 and 45 < right <= WIDTH - 0.5 and -0.5 <= top < 3 and bottom > 6
    assert (right - left) / WIDTH == pytest.approx((bottom - top) / HEIGHT, abs=1 / HEIGHT)  # whole pixels


def test_a_grid_needs_a_row() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        samples_grid([], BINARY)


def test_the_overview_shows_readings_with_their_shares() -> None:
    row = make_row(2, None)
    row.samples[1:3] = 0
    figure = overview(row, readings_of(row, (1, 2), (0, 3, 4, 5, 6)), BINARY)
    assert {"image", "probability", "reading 1: 29 %", "reading 2: 71 %"} <= set(words(figure))
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["empty"]
    areas = [int((row.samples[number] == 1).sum()) for number in (0, 3, 4, 5, 6)]
    assert f"{min(areas)} to {max(areas)} pixels" in [axes.get_xlabel() for axes in figure.axes]
    assert "one reading of 7 samples" in words(overview(row, readings_of(row, tuple(range(7))), BINARY))


def test_a_reading_is_not_called_empty_since_its_picture_is_coarse() -> None:
    row = make_row(2, None)
    readings = [one._replace(areas=((0, 0), (6, 6))) for one in readings_of(row, tuple(range(7)))]
    row.samples[:] = 0
    figure = overview(row, readings, BINARY)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["nothing here"]
    assert "6 pixels" in [axes.get_xlabel() for axes in figure.axes]


def test_readings_of_several_images_have_their_shares_in_the_corner() -> None:
    rows = [make_row(2, 3), make_row(2, None)]
    rows[0].samples[:] = 0
    rows[0].samples[:2, 3:20, 5:30] = 1
    rows[1].samples[:] = rows[1].samples[0]
    figure = readings_grid(rows, BINARY)
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said == ["empty", "71 %", "29 %", "100 %"]
    assert {"raters", "readings"} <= set(words(figure))


def test_the_probability_lies_over_the_image_where_there_is_any() -> None:
    classes = Classes(BINARY, True)
    mean = np.stack([1 - np.eye(3), np.eye(3)])
    paint = probability_over(mean, classes)
    assert (paint[..., 3] > 0).tolist() == np.eye(3, dtype=bool).tolist()
    street = probability_over(np.full((11, 4, 5), np.nan), Classes(STREET, False))
    assert np.isfinite(street).all()


def test_training_curve_of_losses_and_validations() -> None:
    rows = [
        {"step": 10.0 * k, "minutes": k / 7, "learning_rate": 1.0, "loss": 9.0 / k, "kl": 1.0} for k in range(1, 90)
    ]
    rows += [{"step": 300.0, "minutes": 5.0, "val_ged": 0.5}, {"step": 890.0, "minutes": 12.0, "val_ged": 0.25}]
    figure = training_curve(rows, oracle=0.125)
    legend = figure.axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["kept: 0.250 at step 890", "raters themselves: 0.125"]
    assert figure.axes[0].get_yscale() == "log" and is_drawn(figure)


def test_the_kept_validation_is_marked_even_if_another_is_lower() -> None:
    geds = [(10.0, 0.5, 1.0), (20.0, 0.25, 1.0), (30.0, 0.375, 1.0), (40.0, 0.75, 0.0)]
    rows = [{"step": step, "minutes": 1.0, "val_ged": ged, "val_kept": kept} for step, ged, kept in geds]
    legend = training_curve(rows).axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["kept: 0.375 at step 30"]


@pytest.mark.parametrize("rows", [[], [{"step": 1.0, "loss": -2.0}], [{"step": 1.0, "val_ged": 0.0}]])
def test_training_curve_of_little(rows: list[dict[str, float]]) -> None:
    assert is_drawn(training_curve(rows))


@pytest.mark.parametrize("num_classes", [1, 3, 11, 14])
def test_reliability_diagram_shows_the_error(num_classes: int) -> None:
    pixels = torch.zeros(num_classes, 15, dtype=torch.float64)
    pixels[:, 2:9] = 50
    bins = CalibrationBins(pixels, pixels * 0.5, pixels * 0.375)
    figure = reliability_diagram(bins, STREET[:num_classes] if num_classes < 12 else ())
    assert figure.axes[0].get_title("left") == "calibration error 0.1250"
    assert is_drawn(figure)


def test_reliability_diagram_without_pixels() -> None:
    nothing = torch.zeros(1, 15, dtype=torch.float64)
    assert is_drawn(reliability_diagram(CalibrationBins(nothing, nothing, nothing)))


def test_sparsification_draws_every_uncertainty_that_says_something() -> None:
    counts = torch.zeros(3, 2, 1024, dtype=torch.float64)
    counts[0, :, 700:703] = torch.tensor([[50.0, 30.0, 10.0], [0.0, 2.0, 8.0]])
    counts[1, :, 600:602] = torch.tensor([[60.0, 30.0], [5.0, 5.0]])
    counts[2, :, 0] = torch.tensor([90.0, 10.0])  # zero everywhere
    errors = ErrorHistograms.from_stacked(counts)
    figure = sparsification_curves(errors)
    oracle, entropy, information, random = (np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines())
    curve = sparsification(errors.entropy)
    np.testing.assert_allclose(oracle, curve.oracle)
    np.testing.assert_allclose(entropy, curve.error)
    np.testing.assert_allclose(information, sparsification(errors.mutual_information).error)
    np.testing.assert_allclose(random, 0.1)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["oracle: wrong first", f"entropy ({curve.ause():.3f})"]
    assert texts[2].startswith("mutual information") and texts[3] == "at random"
    assert is_drawn(figure)
    nothing = ErrorHistograms(*(ErrorHistogram(one.right, 0 * one.wrong) for one in errors))
    assert [text.get_text() for text in sparsification_curves(nothing).axes[0].texts] == ["no label is wrong"]


def test_ged_per_image_leaves_out_what_does_not_exist() -> None:
    figure = ged_per_image([0.5, math.nan, 0.25], [0.1, 0.2, math.nan])
    offsets = figure.axes[0].collections[1].get_offsets()
    assert np.asarray(offsets).tolist() == [[1, 0.25], [2, 0.5]]
    assert is_drawn(figure) and is_drawn(ged_per_image([math.nan])) and is_drawn(ged_per_image([0.1], [math.nan]))


def test_agreement_is_of_images_with_several_raters() -> None:
    figure = agreement([0.1, math.nan, 0.5, 0.8], [0.2, 0.3, 0.4, 0.9])
    assert len(np.asarray(figure.axes[0].collections[0].get_offsets())) == 3
    assert is_drawn(figure)


def test_files_are_the_same_whenever_written_and_other_formats_are_refused(tmp_path: Path) -> None:
    row = make_row(2, 2)
    for name in ("one.png", "two.png"):
        save_figure(overview(row, readings_of(row, (0, 1)), BINARY), tmp_path / name, 50)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    save_figure(ged_per_image([0.3]), tmp_path / "one.pdf")
    with pytest.raises(ValueError, match="png, pdf, svg"):
        save_figure(ged_per_image([0.3]), tmp_path / "one.bmp")


def test_figures_leave_nothing_with_pyplot() -> None:
    from matplotlib import pyplot

    row = make_row(2, 2)
    assert is_drawn(overview(row, readings_of(row, (0,)), BINARY)) and is_drawn(ged_per_image([0.5]))
    assert pyplot.get_fignums() == []


def test_sparsification_ends_where_no_error_is_left() -> None:
    counts = torch.zeros(3, 2, 1024, dtype=torch.float64)
    counts[:, 0, 500], counts[:, 1, 700] = 83, 17  # the first 17 % removed are all that is wrong
    errors = ErrorHistograms.from_stacked(counts)
    assert sparsification_curves(errors).axes[0].get_xlim() == (0, pytest.approx(0.3))
    flat = ErrorHistograms.from_stacked(counts.flip(1))  # only errors are left in the end
    assert sparsification_curves(flat).axes[0].get_xlim() == (0, 1)
