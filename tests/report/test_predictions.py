"""The page of predicted images: the most uncertain first, small, and one file."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from plurimask.figures.page import Classes
from plurimask.figures.thumbnails import thumbnails
from plurimask.prediction.files import Written
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.readings import Reading
from plurimask.report.predictions import IndexEntry, IndexPage, build_index, index_entry, thumbnail_side

BINARY = Classes(("background", "lesion"), True)
PAGE = IndexPage("my <run>", "unet", 7, BINARY)


def entry(name: str, dice: float, nats: float) -> IndexEntry:
    return IndexEntry(name, (b"one", b"two"), ("100 %",), dice, nats, 1)


def written(height: int = 40, width: int = 70) -> Written:
    random = np.random.default_rng(0)
    samples = np.zeros((4, height, width), np.uint8)
    samples[1:, 10:20, 30:50] = 1
    nothing = np.zeros((2, height, width), np.float32)
    window = slice(0, height), slice(0, width)
    image = random.normal(0, 0.01, (1, height, width))
    predicted = Predicted("a", image, samples, nothing, nothing[0], window, (height, width), nothing[0], nothing)
    readings = [
        Reading((1, 2, 3), 2, 0.75, 0.0, ((0, 0), (200, 200))),
        Reading((0,), 0, 0.25, 0.0, ((0, 0), (0, 0))),
    ]
    return Written(predicted, readings, {"expected_dice": 0.5, "mean_entropy": 0.1, "num_objects": 1})


def test_the_most_uncertain_come_first() -> None:
    entries = [
        entry("sure", 1.0, 0.1),
        entry("single", math.nan, 0.9),
        entry("sure, with more entropy", 1.0, 0.3),
        entry("unsure", 0.2, 0.0),
    ]
    page = build_index(entries, PAGE)
    names = re.findall(r'data-name="([^"]*)"', page)
    assert names == ["unsure", "single", "sure, with more entropy", "sure"]


def test_names_are_text_and_lead_to_their_folders() -> None:
    page = build_index([entry('a b/"c" <i>#1?', 0.5, 0.1)], PAGE)
    assert 'href="a%20b/%22c%22%20%3Ci%3E%231%3F/"' in page
    assert "<i>#" not in page and "my <run>" not in page and "my &lt;run&gt;" in page


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = build_index([index_entry(written(), BINARY, 160)], PAGE)
    assert set(re.findall(r'src="(\w+:?)', page)) == {"data:"} and "http" not in page
    assert "75 %, 200 pixels" in page and "25 %, empty" in page and page.count("<figure>") == 3


@pytest.mark.parametrize(("height", "width"), [(40, 70), (900, 500), (8, 3)])
def test_thumbnails_have_one_size_and_show_the_outlines(height: int, width: int) -> None:
    labels = np.zeros((height, width), np.uint8)
    labels[height // 4 : height // 2, width // 4 :] = 1
    pictures = thumbnails(np.random.default_rng(0).normal(size=(1, height, width)), [labels, 0 * labels], BINARY, 120)
    seen, outlined, empty = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), np.float64) for one in pictures)
    assert seen.shape == outlined.shape == empty.shape and max(seen.shape) == 120
    assert seen.shape[0] / seen.shape[1] == pytest.approx(height / width, rel=0.05)
    assert np.abs(seen - empty).mean() < 1 < np.abs(seen - outlined).mean()
    rows = np.abs(seen - outlined).mean((1, 2))
    assert rows[: len(rows) // 5].mean() < rows[len(rows) // 4 : len(rows) // 2].mean() / 2


@pytest.mark.parametrize("scale", [1, 9])
def test_a_small_part_is_enlarged_and_framed(scale: int) -> None:
    labels = np.zeros((60 * scale, 90 * scale), np.uint8)
    labels[20 * scale : 26 * scale, 60 * scale : 68 * scale] = 1
    image = np.zeros((1, *labels.shape))
    image[0, ::2] = 0.5
    image[:, labels == 1] = 1
    pictures = thumbnails(image, [labels, 0 * labels], BINARY, 90, np.stack([labels, labels]))
    seen, raters, outlined, empty = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), float) for one in pictures)
    assert seen.shape == raters.shape == outlined.shape == empty.shape == (60, 90, 3)
    bright = np.argwhere(seen.min(-1) > 200)
    assert np.ptp(bright, axis=0).tolist() == pytest.approx([14, 22], abs=2)  # a quarter of the image, the least part
    blue, orange = outlined[..., 2] - outlined[..., 0] > 40, raters[..., 0] - raters[..., 2] > 40
    for marked in (blue, orange):  # four times as large as in the image, and in the middle
        assert np.ptp(np.argwhere(marked), axis=0).tolist() == pytest.approx([23, 31], abs=3)
    assert (empty[25:35, 40:50] > 200).all()  # the object itself, as bright as in the whole


def test_entries_are_small_whatever_the_image() -> None:
    sizes = [sum(map(len, index_entry(written(*size), BINARY, 72).pictures)) for size in ((40, 70), (1200, 2100))]
    assert max(sizes) < 3 * 4096
    assert [thumbnail_side(count) for count in (1, 300, 301, 1001, 10**6)] == [160, 160, 112, 72, 72]
