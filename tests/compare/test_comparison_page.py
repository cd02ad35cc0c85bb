"""The page of a comparison: every image, every method, nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from plurimask.compare.page import ComparisonContent, MethodReadings, ShownReadings, build_comparison_page
from plurimask.compare.table import table_columns, telling_columns, terminal_table
from plurimask.data.worlds.lesions import LesionWorld
from plurimask.figures.colours import rgb
from plurimask.figures.gallery import (
    CELL,
    GalleryPrediction,
    GalleryRow,
    cell_size,
    gallery_item,
    gallery_strip,
    image_titles,
    samples_strip,
    small_overlay,
)
from plurimask.figures.page import Classes

HEIGHT, WIDTH = 34, 46
BINARY = Classes(("background", "<b>lesion"), True)
STREET = Classes(tuple(f"<i>class {number}" for number in range(24)), False)


def make_row(name: str, methods: list[str], classes: Classes, channels: int = 1, raters: int | None = 3) -> GalleryRow:
    random = np.random.default_rng(len(name))
    maps = random.integers(0, len(classes.names), (9, HEIGHT, WIDTH)).astype(np.uint8)
    predictions = {
        method: GalleryPrediction(
            maps[-1], random.uniform(0, 0.6, (HEIGHT, WIDTH)), {"ged": 0.5 / k, "dice": math.nan}, maps[:k]
        )
        for k, method in enumerate(methods, 1)
    }
    image = random.normal(size=(channels, HEIGHT, WIDTH)) * 800
    return GalleryRow(name, image, None if raters is None else maps[:raters], predictions)


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) / 255


def cells(picture: bytes, count: int) -> list[np.ndarray]:
    return np.split(pixels(picture), count, axis=1)


def assert_is_whole(page: str) -> None:
    """Nothing is loaded from elsewhere, and every picture is inside."""
    assert not re.search(r"""(src|href|url|@import|srcset)\s*[=(]\s*["']?\s*(https?:|//|file:)""", page)
    for kind, content in re.findall(r"""["']data:image/(\w+);base64,([^"']*)["']""", page):
        assert base64.b64decode(content, validate=True)[:4] == (b"\x89PNG" if kind == "png" else b"RIFF")
    assert page.count("src=") == page.count('src="data:image/')
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(re.findall(r'id="([^"]*)"', page))


@pytest.mark.parametrize(
    ("classes", "channels", "raters", "methods"),
    [(BINARY, 1, 4, ["a"]), (BINARY, 2, None, ["a", "b"]), (STREET, 3, 1, ["a", "b", "c"]), (STREET, 5, 2, [])],
)
def test_a_strip_has_a_cell_for_each_column(
    classes: Classes, channels: int, raters: int | None, methods: list[str]
) -> None:
    picture = gallery_strip(make_row("one", methods, classes, channels, raters), classes)
    count = len(image_titles("abcde"[:channels])) + 1 + 2 * len(methods)
    assert count == (1 if channels == 3 else channels) + 1 + 2 * len(methods)
    assert pixels(picture).shape == (CELL[1] + 2, (CELL[0] + 2) * count, 3)


def test_five_hundred_images_of_six_methods_stay_below_15_megabytes() -> None:
    world, sizes = LesionWorld(4, 0, size=128), []
    for number in range(4):
        example, mean = world[number], np.clip(world.truth(number).mean(), 1e-6, 1 - 1e-6)
        entropy = -mean * np.log(mean) - (1 - mean) * np.log(1 - mean)
        labels = example.labels.numpy()
        prediction = GalleryPrediction((mean > 0.5).astype(np.uint8), entropy, {}, np.concatenate([labels, labels])[:8])
        row = GalleryRow("one", example.image.numpy(), labels, dict.fromkeys("abcdef", prediction))
        item = gallery_item(row, BINARY)
        sizes.append(len(item.picture) + sum(len(strip) for _, strip in item.samples.values()))
    assert np.mean(sizes) * 4 / 3 * 565 < 14e6  # a third more as text; the rest of the page needs some


def test_cells_show_raters_and_map_in_their_colours_and_entropy_on_one_scale() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 10:40] = 1
    raters = np.stack([mask, np.full_like(mask, 255)])  # the second gave no map
    sure, unsure = np.zeros(mask.shape), np.full(mask.shape, math.log(2))
    row = GalleryRow(
        "one",
        np.zeros((1, HEIGHT, WIDTH)),
        raters,
        {"a": GalleryPrediction(mask, sure, {}), "b": GalleryPrediction(np.zeros_like(mask), unsure, {})},
    )
    shown = [cell[50, 50] for cell in cells(gallery_strip(row, BINARY), 6)]
    assert np.ptp(shown[0]) < 0.05
    assert shown[1][0] > shown[1][2] + 0.1 and shown[2][2] > shown[2][0] + 0.1  # orange; blue
    assert np.ptp(shown[4]) < 0.05
    assert shown[3].max() < 0.1 and shown[5].min() > 0.6


def test_samples_lie_over_the_cells_of_the_strip() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 10:40] = 1
    row = GalleryRow(
        "one", np.zeros((1, HEIGHT, WIDTH)), None, {"a": GalleryPrediction(mask, 0.0 * mask, {}, mask[None])}
    )
    item = gallery_item(row, BINARY, (60, 40))
    count, picture = item.samples["a"]
    assert count == 1
    seen = np.asarray(Image.open(io.BytesIO(picture)))
    drawn = cells(item.picture, 4)[2]
    assert seen.shape == (42, 62, 4) and drawn.shape == (42, 62, 3)
    blue = drawn[..., 2] - drawn[..., 0] > 0.1
    assert (blue == (seen[..., 3] > 0)).mean() > 0.95  # one of the pictures is compressed with loss
    assert set(np.unique(seen[..., 3])) == {0, 89, 255}  # clear, faint inside, and the outline


def test_a_strip_of_samples_has_one_after_the_other_and_is_clear_where_nothing_is_marked() -> None:
    maps = np.zeros((3, HEIGHT, WIDTH), np.uint8)
    maps[1] = 1
    seen = np.asarray(Image.open(io.BytesIO(samples_strip(maps, BINARY, (46, 34), (50, 60)))))
    assert seen.shape == (62, 3 * 52, 4)
    first, second, third = (one[..., 3] for one in np.split(seen, 3, axis=1))
    assert first.max() == third.max() == 0 and (second > 0).sum() == 46 * 34


def test_maps_are_thinned_and_not_blended() -> None:
    fine = np.zeros((400, 600), np.uint8)
    fine[::2] = 4
    fine[:, ::3] = 255
    paint = small_overlay(fine, STREET, "#000000", (96, 64))
    assert paint.shape == (64, 96, 4)
    found = {tuple(colour) for colour in paint[..., :3].reshape(-1, 3).round(3).tolist()}
    expected = {tuple(np.round(rgb(colour), 3).tolist()) for colour in ("#E69F00", "#0072B2")}
    assert found == expected | {(0.62,) * 3, (0.42,) * 3}  # two classes, and the stripes of what was not judged


def test_maps_may_be_thinned() -> None:
    row = make_row("one", ["a"], BINARY)
    small = GalleryPrediction(row.predictions["a"].likely[::2, ::2], row.predictions["a"].entropy[::2, ::2], {})
    assert gallery_strip(GalleryRow("one", row.image, row.raters, {"a": small}), BINARY)


def test_cells_for_a_size_of_images() -> None:
    assert cell_size(256, 512) == (144, 72) and cell_size(128, 128) == (96, 96) and cell_size(1000, 20) == (24, 96)


def make_content(methods: list[str], classes: Classes, channels: int = 1) -> ComparisonContent:
    rows = [make_row(f"image-{number}<b>&'\"", methods, classes, channels) for number in range(3)]
    return ComparisonContent(
        title="A <comparison> & more",
        facts=[("Data", "<i>lesions")],
        rows=[{"method": method, "ged": 0.5 / k, "iou": 0.25, "ece": math.nan} for k, method in enumerate(methods, 1)],
        oracle=0.1,
        readings=[
            ShownReadings(
                "<b>one", b"RIFF1", b"RIFF2", [MethodReadings(method, "", [(b"RIFF3", "62 %")]) for method in methods]
            )
        ],
        charts=[("GED <of> each", "Its <text>.", Figure(figsize=(2, 2)))],
        samples=[("Samples <of> one", "", Figure(figsize=(3, 2)))],
        gallery=[gallery_item(row, classes) for row in rows],
        image_titles=image_titles([f"<channel {number}>" for number in range(channels)]),
        num_samples=16,
        classes=classes,
    )


@pytest.mark.parametrize(("classes", "channels", "num_methods"), [(BINARY, 1, 1), (STREET, 3, 7), (BINARY, 2, 2)])
def test_pages_of_all_kinds_are_whole_and_escaped(classes: Classes, channels: int, num_methods: int) -> None:
    methods = [f"method<{number}>" for number in range(num_methods)]
    page = build_comparison_page(make_content(methods, classes, channels))
    assert_is_whole(page)
    # Strips of three images, and samples of each method on them; an image, its raters and a reading of each method.
    assert page.count("data:image/webp") == 3 * (1 + num_methods) + 2 + num_methods
    assert page.count("data:image/png") == 2
    for raw in ("<comparison>", "<i>", "<of>", "<text>", "<channel", "<method", "method<0", "-0<b>"):
        assert raw not in page, raw
    assert "image-0&lt;b&gt;&amp;&#39;&#34;" in page and ("&lt;channel 0&gt;" in page) == (channels == 2)
    assert ("&lt;i&gt;class 23" in page) == (classes is STREET)


def test_every_image_is_there_with_values_to_sort_by() -> None:
    page = build_comparison_page(make_content(["a", "b"], BINARY))
    values = [json.loads(html.unescape(text)) for text in re.findall(r'data-values="([^"]*)"', page)]
    assert values == [[0.5, None, 0.25, None]] * 3  # JSON knows no NaN
    assert re.findall(r'<option value="(-?\d+)">([^<]*)', page) == [
        ("-2", "as evaluated"),
        ("-1", "name"),
        ("0", "GED of a"),
        ("1", "Dice of a"),
        ("2", "GED of b"),
        ("3", "Dice of b"),
    ]
    assert page.count("GED 0.250, Dice -") == 3
    assert re.findall(r'data-count="(\d+)"', page) == ["1", "2"] * 3
    assert "the first 2 of 16" in page


def test_the_best_value_of_a_column_is_marked() -> None:
    rows = [
        {"name": "x", "method": "a", "ged": 0.30001, "dice": 0.5, "parameters": 7, "nll": math.nan},
        {"name": "y", "method": "b", "ged": 0.30002, "dice": 0.75, "parameters": 1200, "nll": None},
        {"name": "z", "method": "c", "ged": 0.4, "dice": None, "parameters": None, "nll": 1.0},
    ]
    columns = table_columns(rows)
    assert [column.key for column in columns] == ["method", "ged", "dice", "nll", "parameters", "name"]
    page = build_comparison_page(ComparisonContent("title", [], rows))
    best = re.findall(r'class="best">([^<]*)<', page)
    # Alike as printed; a single value is not the best of several. First in the short table, then in the whole one.
    assert best == ["0.3000", "0.3000", "0.7500", "0.3000", "0.3000", "0.7500"]
    assert "Every image" not in page and ">1,200<" in page


ROWS = [
    {"method": "unet", "ged": 0.75, "ged_ratio": 3.0, "dice": 0.5, "ece": 0.1, "nll": 1.5, "seconds_per_image": 0.5},
    {
        "method": "hierarchical-probabilistic-unet",
        "note": "undertrained",
        "ged": 0.375,
        "ged_ratio": 1.5,
        "dice": 0.25,
        "ece": 0.05,
        "nll": 12.5,
        "seconds_per_image": 123.456,
    },
]


def test_five_columns_tell_most_and_others_take_the_place_of_those_without_numbers() -> None:
    keys = [column.key for column in telling_columns(ROWS)]
    assert keys == ["ged", "ged_ratio", "dice", "nll", "seconds_per_image"]
    alone = [{**row, "ged_ratio": None, "nll": math.nan} for row in ROWS]
    assert [column.key for column in telling_columns(alone)] == ["ged", "dice", "seconds_per_image", "ece"]


def test_bars_are_shares_of_the_largest_value_and_the_raters_have_their_mark() -> None:
    page = build_comparison_page(ComparisonContent("title", [], ROWS, oracle=0.25))
    found = re.findall(
        r'<td data-title="([^"]*)".*?<i style="width: ([\d.]*)%">(?:</i><b style="left: ([\d.]*)%)?', page
    )
    assert found[:3] == [
        ("GED", "100.0", "33.3"),
        ("GED over that of the raters", "100.0", "33.3"),
        ("Dice", "50.0", ""),
    ]
    assert [width for _, width, _ in found[5:]] == ["50.0", "50.0", "25.0", "100.0", "100.0"]
    assert page.count('class="stamp">undertrained<') == 1
    beyond = build_comparison_page(ComparisonContent("title", [], ROWS, oracle=0.8))
    assert (
        beyond.count("<b style=") == 2
    )  # of the ratio; what lies beyond the longest bar is not drawn at a wrong place


def test_the_table_of_a_terminal_fits_80_letters() -> None:
    lines = terminal_table([*ROWS, {"method": "a-run-" * 9, "note": "undertrained", "ged": 0.5}]).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["method", "GED", "/", "raters", "Dice", "NLL", "s/image"]
    assert lines[2].split() == [
        "hierarchical-probabilistic-unet",
        "*",
        "0.3750",
        "1.50",
        "0.2500",
        "12.5000",
        "123.456",
    ]
    assert lines[3].startswith("a-run-a-run-") and "... *" in lines[3] and lines[3].split()[-1] == "-"
    assert lines[-1] == "* undertrained: fewer steps than the method needs"


def test_the_page_has_a_width_of_its_own_for_phones_and_no_small_letters() -> None:
    page = build_comparison_page(make_content(["a", "b"], BINARY))
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)rem", page)]
    assert min(sizes) * 16 >= 12
    assert "@media (max-width: 700px)" in page and 'content="width=device-width' in page
