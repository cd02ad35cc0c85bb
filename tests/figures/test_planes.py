"""Volumes as pictures: which planes, which way up, and how large their pixels are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from plurimask.data.images.pixel_size import PixelSize
from plurimask.figures.planes import main_plane, plane_rows, planes_through
from plurimask.figures.rows import GridRow
from plurimask.figures.samples import measure_of, overview, readings_grid, samples_grid
from plurimask.figures.style import figure_bytes
from plurimask.prediction.readings import Reading, find_readings

SHAPE = (5, 12, 9)
"""Depth, height, width."""
VOXEL = PixelSize(0.5, 0.5, "mm", 1.6)


def make_row(num_raters: int | None = 2, voxel: PixelSize | None = VOXEL) -> GridRow:
    """An object in the voxels (3, 7, 2) and around, in fewer samples than there are."""
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(1, *SHAPE)
    samples = np.zeros((4, *SHAPE), np.uint8)
    samples[:2, 3, 6:9, 1:4] = 1
    samples[0, 2, 7, 2] = 1
    samples[1, 4, 7, 1:4] = 1
    samples[1, 1:5, 7, 2] = 1
    raters = None if num_raters is None else samples[:num_raters]
    mean = np.stack([1 - samples.mean(0), samples.mean(0)])
    return GridRow("scan", image, raters, samples, mean, mean[1] * mean[0], "GED 0.1", pixel_size=voxel)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_planes_hold_most_of_the_object() -> None:
    planes = planes_through([make_row().samples.sum(0) > 0], VOXEL)
    assert [(plane.axis, plane.position) for plane in planes] == [(0, 3), (1, 7), (2, 2)]
    assert [plane.name for plane in planes] == ["axial 4", "coronal 8", "sagittal 3"]
    assert [plane.repeats for plane in planes] == [(1, 1), (3, 1), (3, 1)]


def test_nothing_marked_is_seen_in_the_middle() -> None:
    planes = planes_through([np.zeros(SHAPE)])
    assert [plane.position for plane in planes] == [2, 6, 4]
    assert [plane.repeats for plane in planes] == [(1, 1)] * 3


def test_samples_that_mark_everything_do_not_lead_away_from_the_object_of_the_raters() -> None:
    row = make_row()
    samples = np.ones((9, *SHAPE), np.uint8)
    samples[:, :4, :, 1:] = 0  # most of what samples mark lies in the first column and the last slice
    samples[:, :, :, 0] = samples[:, 4] = 1
    planes = plane_rows(dataclasses.replace(row, samples=samples), [1])
    assert [plane.name for plane in planes][1:] == ["scan: coronal 8", "scan: sagittal 3"]


def test_low_pictures_have_no_names_over_each_other() -> None:
    flat = make_row(None)
    image, raters = flat.image[:, :1].repeat(12, -2), np.zeros((2, 1, 144, 9), np.uint8)
    row = GridRow("thin", image, raters, raters, np.ones((2, 1, 144, 9)), np.ones((1, 144, 9)), rater_names=("a", "b"))
    figure = samples_grid([row], ("background", "lesion"))
    told = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert told.count("a") == told.count("b") == 1  # in the axial plane alone
    assert told.count("empty") == 12  # of two raters and two samples in three planes


def test_pictures_are_turned_as_one_looks_at_them() -> None:
    depth, height, width = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    axial, coronal, sagittal = planes_through([np.zeros(SHAPE)])
    right, front, up = width, height, depth  # indices grow to the right, to anterior and to superior
    assert axial.of(front)[0, 0] > axial.of(front)[-1, 0] and axial.of(right)[0, 0] > axial.of(right)[0, -1]
    assert coronal.of(up)[0, 0] > coronal.of(up)[-1, 0] and coronal.of(right)[0, 0] > coronal.of(right)[0, -1]
    assert sagittal.of(up)[0, 0] > sagittal.of(up)[-1, 0] and sagittal.of(front)[0, 0] > sagittal.of(front)[0, -1]


def test_the_size_of_a_pixel_is_that_of_the_picture() -> None:
    rows = plane_rows(make_row(), [1])
    assert [row.image.shape for row in rows] == [(1, 12, 9), (1, 15, 9), (1, 15, 12)]
    assert [row.samples.shape for row in rows] == [(4, 12, 9), (4, 15, 9), (4, 15, 12)]
    sizes = [row.pixel_size for row in rows]
    assert sizes[0] == PixelSize(0.5, 0.5, "mm")
    assert sizes[1] is not None and sizes[1][:2] == pytest.approx((1.6 / 3, 0.5))
    assert [row.caption for row in rows] == ["GED 0.1", "", ""]
    np.testing.assert_array_equal(rows[0].samples[0], make_row().samples[0, 3, ::-1, ::-1])


def test_a_picture_is_its_own_plane() -> None:
    flat = plane_rows(make_row(), [1])[0]
    assert plane_rows(flat, [1]) == [flat] and main_plane(flat, [1]) is flat


def test_one_picture_of_a_volume_is_axial_unless_that_is_small() -> None:
    assert main_plane(make_row(), [1]).name == "scan: axial 4"
    tall = make_row()
    turned = GridRow(
        "tall",
        tall.image.transpose(0, 2, 1, 3),
        None,
        tall.samples.transpose(0, 2, 1, 3),
        tall.mean.transpose(0, 2, 1, 3),
        tall.entropy.transpose(1, 0, 2),
    )
    assert main_plane(turned, [1]).name.startswith("tall: coronal")


def test_figures_show_three_planes() -> None:
    row = make_row()
    for draw in (samples_grid, readings_grid):
        figure = draw([row], ("background", "lesion"))
        assert [word for word in words(figure) if word.startswith("scan: ")] == [
            "scan: axial 4",
            "scan: coronal 8",
            "scan: sagittal 3",
        ]
        assert figure_bytes(figure, 40).startswith(b"\x89PNG")


@pytest.mark.parametrize("voxel", [VOXEL, None])
def test_an_overview_tells_volumes(voxel: PixelSize | None) -> None:
    row = make_row(None, voxel)
    readings = find_readings(row.samples, [1], 2)
    figure = overview(row, readings, ("background", "lesion"))
    told = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    unit, scale = measure_of(row)
    assert (unit, scale) == (("ml", pytest.approx(0.4e-3)) if voxel else ("voxels", 1.0))
    assert any(label.endswith(unit) for label in told)
    assert isinstance(readings[0], Reading) and figure_bytes(figure, 40)
