"""The report of volumes: planes that hold most of the object, in three and in one, and figures of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from volume_world import PIXEL_SIZE, ball_source

from plurimask.figures.cells import image_cells
from plurimask.figures.errors import ErrorRow
from plurimask.figures.page import Classes
from plurimask.prediction.predict import Sampling
from plurimask.prediction.slices import underneath
from plurimask.report.content import collect_report
from plurimask.report.figures import ONE_PLANE, report_figures
from plurimask.report.flat import flattening
from plurimask.report.page import build_report
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.train import train_run

SETTINGS: dict[str, Any] = {"max_steps": 2, "batch_size": 3, "num_validations": 1, "validation_images": 2}
SHAPE = (6, 22, 18)
CASES: dict[str, dict[str, Any]] = {
    "probabilistic-unet": {"channels": (6, 8)},
    "hierarchical-probabilistic-unet": {"channels": (6, 8, 8), "latent_dims": (1, 1)},
}


WAYS: dict[str, dict[str, Any]] = {
    "slices across the depth": {"slices": 0},
    "crops of 4 x 16 x 16": {"crop": (4, 16, 16)},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", CASES)
def test_the_report_of_a_run_shows_volumes(method: str, way: str, tmp_path: Path) -> None:
    source = ball_source(3, 3)
    train_run(Plan(method, "small", {**SETTINGS, **CASES[method], **WAYS[way]}), source, tmp_path / "run")
    run = load_run(tmp_path / "run")
    content = collect_report(run, source, sampling=Sampling(3))
    assert content.method is type(underneath(run.method))
    assert all(row.image.ndim == 4 for row in content.spread)
    figures = report_figures(content)
    assert {"planes", "spread", "readings", "errors", "class-uncertainty"} <= figures.keys()
    drawn = {"probabilistic-unet": "latents", "hierarchical-probabilistic-unet": "scales"}[method]
    assert figures[drawn].text.startswith(ONE_PLANE)
    titles = [text.get_text() for text in figures["planes"].figure.texts]
    assert sum(": axial" in title for title in titles) == sum(": sagittal" in title for title in titles) == 3
    page = build_report(content)
    for words in ("volume_crps", way, "Depth x height x width", "6x22x18 (1 images)"):
        assert words in page, words
    assert "2.5 x 0.7 x 0.6 mm" in page


def test_cells_of_a_volume_are_of_the_slice_with_most_and_tell_of_the_whole() -> None:
    samples = np.zeros((3, *SHAPE), np.uint8)
    samples[:, 4, 5:9, 5:9] = 1
    samples[0] = 0
    samples[0, 1, 2, 2] = 1  # marks something, but nothing in the slice that is shown
    mean = np.stack([1 - samples.mean(0), samples.mean(0)])
    image = np.arange(np.prod(SHAPE), dtype=float).reshape(1, *SHAPE)
    raters = np.zeros((2, *SHAPE), np.uint8)
    raters[0] = samples[1]
    row = ErrorRow(
        "scan",
        image,
        raters,
        samples,
        mean,
        mean[1],
        "GED 0.5",
        mutual_information=mean[1],
        variance=mean,
        pixel_size=PIXEL_SIZE,
    )
    made = image_cells(row, Classes(("background", "ball"), True))
    assert made.whole.caption == "axial 5"
    assert [cell.caption for cell in made.raters] == ["rater 1", "rater 2 (empty)"]
    assert [one.reading.share for one in made.readings] == [2 / 3, 1 / 3]
    assert [[number for number, _ in one.samples] for one in made.readings] == [[1, 2], [0]]


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_maps_of_a_volume_become_the_picture_of_one_plane(axis: int | None) -> None:
    raters = torch.zeros(2, *SHAPE, dtype=torch.uint8)
    raters[0, 3, 7:9, 4] = 1
    raters[1, 3, 7, 4] = 1
    flat = flattening(raters, [1], None, axis)
    assert flat.plane is not None and flat.plane.position == (3, 7, 4)[axis or 0]
    maps = torch.arange(int(np.prod(SHAPE))).view(1, *SHAPE)
    expected = maps.select((axis or 0) + 1, flat.plane.position).flip(-1, -2).numpy()
    np.testing.assert_array_equal(flat.shown(flat.seen(maps)), expected)
    assert flat.seen(maps).ndim == (4 if axis is None else 3)


def test_pictures_stay_as_they_are() -> None:
    flat, maps = flattening(torch.ones(2, 5, 4, dtype=torch.uint8), [1], None), torch.rand(1, 5, 4)
    assert flat.seen(maps) is maps
    np.testing.assert_array_equal(flat.shown(maps), maps.numpy())
