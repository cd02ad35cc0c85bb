"""Single pictures of an image, and the scale bars on them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from plurimask.data.images.pixel_size import PixelSize
from plurimask.figures.cells import (
    SIDE,
    SMALL,
    TILE,
    Cell,
    ImageCells,
    Scales,
    image_cells,
    information_peak,
    uncertainty_cells,
)
from plurimask.figures.colours import SAMPLE_COLOUR, rater_colours, rgb
from plurimask.figures.errors import ErrorRow
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


def samples_of(made: ImageCells) -> list[Cell]:
    """All samples that are shown, in the order drawn."""
    return [cell for _, cell in sorted(one for reading in made.readings for one in reading.samples)]


def pixels(picture: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(picture)) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def near(picture: bytes, colour: str, distance: float = 60) -> np.ndarray:
    """Where a picture has nearly a colour."""
    return np.abs(pixels(picture) - 255 * np.array(rgb(colour))).max(-1) < distance


def boxes(*areas: tuple[slice, slice]) -> np.ndarray:
    maps = np.zeros((len(areas), HEIGHT, WIDTH), np.uint8)
    for one, area in zip(maps, areas, strict=True):
        one[area] = 1
    return maps


def test_raters_are_named_and_all_of_many_are_shown_together() -> None:
    made = image_cells(make_row(10), BINARY)
    assert captions(made.raters) == [*(f"Anna {number}" for number in range(8)), "all 10 raters"]
    assert made.num_raters == 10 and len(samples_of(made)) == 5
    assert captions(tuple(samples_of(made))) == [f"sample {number}" for number in range(1, 6)]
    few = image_cells(make_row(2, num_classes=5), STREET)
    assert captions(few.raters) == ["Anna 0", "Anna 1"]
    assert few.contours.caption == "most likely" and few.key == ()
    assert pixels(few.whole.picture).shape == (SIDE * HEIGHT // WIDTH, SIDE, 3)
    assert pixels(few.raters[0].picture).shape == (TILE * HEIGHT // WIDTH, TILE, 3)
    assert pixels(few.readings[0].picture).shape == (SMALL * HEIGHT // WIDTH, SMALL, 3)


def test_an_absent_rater_is_left_out_and_an_empty_map_called_so() -> None:
    row = make_row(3)
    assert row.raters is not None
    row.raters[0], row.raters[2] = 255, 0
    made = image_cells(row, BINARY)
    assert captions(made.raters) == ["Anna 1", "Anna 2 (empty)"]
    assert made.key == (("samples", SAMPLE_COLOUR), ("Anna 1", rater_colours(3)[1]))
    nobody = image_cells(replace(row, raters=None, rater_names=()), BINARY)
    assert nobody.raters == () and nobody.num_raters == 0 and nobody.key == (("samples", SAMPLE_COLOUR),)
    nameless = image_cells(replace(row, rater_names=()), BINARY)
    assert captions(nameless.raters) == ["rater 2", "rater 3 (empty)"]


def test_equal_samples_are_one_reading_with_one_picture() -> None:
    row = make_row(1)
    row.samples[:] = row.samples[:1]
    (reading,) = image_cells(row, BINARY).readings
    assert reading.reading.share == 1 and len(reading.samples) == 1


def test_of_many_samples_some_are_shown_and_of_each_reading_its_medoid() -> None:
    left, right = (slice(5, 15), slice(4, 14)), (slice(5, 15), slice(30, 40))
    row = replace(make_row(1), samples=boxes(*[left] * 18, *[right] * 3))
    made = image_cells(row, BINARY)
    assert [one.reading.share for one in made.readings] == [18 / 21, 3 / 21]
    assert [number for number, _ in made.readings[0].samples] == list(range(16))
    assert [number for number, _ in made.readings[1].samples] == [18]


def test_small_things_are_enlarged_with_a_scale_of_their_own() -> None:
    row = replace(make_row(2), pixel_size=PixelSize(0.5, 0.5, "µm"))
    assert row.raters is not None
    for maps in (row.raters, row.samples):
        maps[:] = 0
        maps[:, 10:13, 20:24] = 1
    made = image_cells(row, BINARY)
    assert made.whole.ruler == ruler(row.pixel_size, WIDTH) and made.whole.ruler.words == "5 µm"
    assert made.contours.ruler is not None and made.contours.ruler.words == "1 µm"
    assert (pixels(made.whole.picture).min(-1) > 240).sum() > 100  # the white frame
    assert near(made.raters[0].picture, rater_colours(2)[0], 80).mean() > 0.01
    assert image_cells(make_row(2), BINARY).contours.ruler is None


def test_outlines_are_of_all_samples_and_of_each_rater_in_a_colour() -> None:
    # Three of four samples mark the left box, one the right; the raters boxes below each, in the colours of the viewer.
    left, right = (slice(3, 10), slice(3, 20)), (slice(3, 10), slice(28, 45))
    below, other = (slice(18, 26), slice(3, 20)), (slice(18, 26), slice(28, 45))
    row = replace(
        make_row(2),
        image=np.zeros((1, HEIGHT, WIDTH)),
        samples=boxes(left, left, left, right),
        raters=boxes(below, other),
    )
    made = image_cells(row, BINARY)
    picture, scale = made.contours.picture, SIDE / WIDTH
    assert made.contours.caption == "all outlines"
    grey = pixels(picture)[2, 2]
    shift = np.abs(pixels(picture) - grey).max(-1)
    middle = round(15 * scale)  # between the boxes of the samples and those of the raters
    strong, weak = shift[:middle, : SIDE // 2], shift[:middle, SIDE // 2 :]
    assert strong.max() > 1.2 * weak.max() > 40  # the more samples, the stronger
    for colour, half in zip(rater_colours(2), (slice(0, SIDE // 2), slice(SIDE // 2, SIDE)), strict=True):
        found = near(picture, colour, 70)[middle:]
        assert found[:, half].sum() > 2 * (8 + 17) * scale and found.sum() == found[:, half].sum()
    assert strong[round(6 * scale), round(10 * scale)] < 12  # inside of an outline the image is as it is


def test_what_is_marked_has_its_colour() -> None:
    row = replace(make_row(1), image=np.zeros((1, HEIGHT, WIDTH)))
    row.samples[:] = 0
    row.samples[1:, 5:25, 8:40] = 1
    empty, marked = samples_of(image_cells(row, BINARY))[:2]
    edge = 2 * ((25 - 5) + (40 - 8)) * (TILE / WIDTH) * 2
    assert 0.5 * edge < near(marked.picture, SAMPLE_COLOUR, 80).sum() < 4 * edge
    assert near(empty.picture, SAMPLE_COLOUR, 80).sum() < 0.05 * edge


@pytest.mark.parametrize("classes", [BINARY, STREET])
def test_uncertainty_is_shown_beside_what_raters_call_otherwise(classes: Classes) -> None:
    own = make_row(2, num_classes=len(classes.names))
    assert own.raters is not None
    likely = own.mean.argmax(0)
    own.raters[:] = likely
    own.raters[:, :15] = (likely[:15] + 1) % len(classes.names)
    information = np.zeros((HEIGHT, WIDTH))
    information[:, 24:] = 0.25
    row = ErrorRow(
        own.name,
        own.image,
        own.raters,
        own.samples,
        own.mean,
        own.entropy,
        mutual_information=information,
        variance=own.mean * 0,
    )
    assert (
        information_peak([row]) == 0.25 and information_peak([replace(row, mutual_information=information * 0)]) == 0.01
    )
    cells = uncertainty_cells(row, classes, Scales(0.5, 0.25))
    names = ["most likely", "probability", "raters who disagree", "entropy", "mutual information"]
    assert captions(cells) == [name for name in names if name != "probability" or classes.is_binary]
    wrong, shown = (pixels(cell.picture) for cell in (cells[-3], cells[-1]))
    reddish = wrong[..., 0] - wrong[..., 2]
    assert (
        reddish[: TILE * HEIGHT // WIDTH // 2 - 4].min() > 100 and reddish[TILE * HEIGHT // WIDTH // 2 + 4 :].max() < 40
    )
    assert shown[:, : TILE // 2 - 8].max() < 40 and shown[:, TILE // 2 + 8 :].min(1).mean() > 150


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
