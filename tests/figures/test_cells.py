"""Single pictures of an image, and the scale bars on them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from plurimask.data.images.pixel_size import PixelSize
from plurimask.figures.cells import SIDE, Cell, image_cells
from plurimask.figures.page import Classes
from plurimask.figures.rows import GridRow
from plurimask.figures.ruler import ruler

HEIGHT, WIDTH = 30, 48
BINARY, STREET = Classes(("ground", "cell"), True), Classes(("sky", "road", "car", "tree", "pole"), False)


def make_row(num_raters: int, num_samples: int = 5, num_classes: int = 2) -> GridRow:
    random = np.random.default_rng(num_raters)
    maps = random.integers(0, num_classes, (num_samples + num_raters, HEIGHT, WIDTH)).astype(np.uint8)
    mean = random.dirichlet(np.ones(num_classes), (HEIGHT, WIDTH)).transpose(2, 0, 1)
    names = tuple(f"Anna {number}" for number in range(num_raters))
    image = random.normal(size=(2, HEIGHT, WIDTH))
    own, raters = maps[:num_samples], maps[num_samples:]
    return GridRow("one", image, raters, own, mean, mean.std(0), "GED 1", rater_names=names)


def captions(cells: tuple[Cell, ...]) -> list[str]:
    return [cell.caption for cell in cells]


def pixels(cell: Cell) -> np.ndarray:
    with Image.open(io.BytesIO(cell.picture)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_raters_are_named_and_all_of_many_are_shown_together() -> None:
    made = image_cells(make_row(6), BINARY, 0.69)
    assert captions(made.cells)[:6] == ["image", "Anna 0", "Anna 1", "Anna 2", "Anna 3", "all 6 raters"]
    assert captions(made.cells)[6:8] == ["probability", "entropy"]
    assert captions(made.samples) == [f"sample {number}" for number in range(1, 6)] and made.num_samples == 5
    few = image_cells(make_row(2, num_classes=5), STREET, 1.6)
    assert captions(few.cells)[:5] == ["image", "Anna 0", "Anna 1", "most likely", "entropy"]
    assert pixels(few.cells[0]).shape == (SIDE * HEIGHT // WIDTH, SIDE, 3)


def test_an_absent_rater_is_left_out_and_an_empty_map_called_so() -> None:
    row = make_row(3)
    assert row.raters is not None
    row.raters[0], row.raters[2] = 255, 0
    assert captions(image_cells(row, BINARY, 0.69).cells)[1:3] == ["Anna 1", "Anna 2 (empty)"]
    assert captions(image_cells(replace(row, raters=None, rater_names=()), BINARY, 0.69).cells)[:2] == [
        "image",
        "probability",
    ]
    nameless = image_cells(replace(row, rater_names=()), BINARY, 0.69)
    assert captions(nameless.cells)[1:3] == ["rater 2", "rater 3 (empty)"]


def test_equal_samples_are_one_reading() -> None:
    row = make_row(1)
    row.samples[:] = row.samples[:1]
    made = image_cells(row, BINARY, 0.69)
    assert made.samples == () and captions(made.cells)[-1] == "one reading of 5 samples"


def test_small_things_are_enlarged_with_a_scale_of_their_own() -> None:
    row = replace(make_row(2), pixel_size=PixelSize(0.5, 0.5, "µm"))
    assert row.raters is not None
    for maps in (row.raters, row.samples):
        maps[:] = 0
        maps[:, 10:13, 20:24] = 1
    cells = image_cells(row, BINARY, 0.69).cells
    bars = [cell.ruler for cell in cells]
    assert bars[0] == ruler(row.pixel_size, WIDTH) and bars[0] is not None and bars[0].words == "5 µm"
    assert bars[1] is not None and bars[1].words == "1 µm" and set(bars[2:]) == {None}
    whole, part = pixels(cells[0]), pixels(cells[1])
    assert (whole.min(-1) > 240).sum() > 100  # the white frame
    orange = (part[..., 0] > 180) & (part[..., 2] < 100)
    assert orange.sum() > 0.01 * orange.size


def test_what_is_marked_has_its_colour() -> None:
    row = make_row(1)
    row.samples[:] = 0
    row.samples[1:, 5:25, 8:40] = 1
    made = image_cells(row, BINARY, 0.69)
    blue = pixels(made.samples[1]).astype(int)
    assert captions(made.samples)[:2] == ["sample 1 (empty)", "sample 2"]
    is_blue = (blue[..., 2] - blue[..., 0] > 80) & (blue[..., 2] > 150)
    edge = 2 * ((25 - 5) + (40 - 8)) * (SIDE / WIDTH) * 2
    assert 0.5 * edge < is_blue.sum() < 4 * edge


@pytest.mark.parametrize(
    ("width", "unit", "columns", "words", "share"),
    [
        (0.5, "µm", 100, "10 µm", 0.2),
        (1.0, "mm", 100, "20 mm", 0.2),
        (0.1, "µm", 51, "1 µm", 1 / 5.1),
        (65.0, "nm", 1024, "10 µm", 10_000 / 66_560),
        (0.02, "cm", 500, "2 cm", 0.2),
        (3.0, "m", 1000, "500 m", 1 / 6),
        (0.001, "mm", 20, "0.005 mm", 0.25),
    ],
)
def test_a_scale_bar_is_a_round_length(width: float, unit: str, columns: int, words: str, share: float) -> None:
    found = ruler(PixelSize(9.0, width, unit), columns)
    assert found is not None and found.words == words and found.share == pytest.approx(share)
    assert 0.1 < found.share <= 0.3 + 1e-9


def test_there_is_no_scale_bar_without_a_measured_size() -> None:
    assert ruler(None, 100) is None and ruler(PixelSize(1 / 72, 1 / 72, "in"), 100) is None
