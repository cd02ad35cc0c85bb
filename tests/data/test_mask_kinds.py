"""Palettes, colours, maps per class and numbered objects: what the masks of a whole data set hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_trees import HEIGHT, WIDTH, mask, save, write_images, write_json
from PIL import Image

from plurimask.data.example import DataSource
from plurimask.data.source import Place, open_data
from plurimask.errors import InputError

BLACK, WHITE, RED, GREEN, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)
LABELS = [mask(0, 1, 1), mask(1, 0), mask(0, 2, 1), mask(0, 0, 0, 2)]
NAMES = "abcd"


def palette_mask(path: Path, labels: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> None:
    """`labels` as indices of `colours`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("P", labels.shape[::-1])
    picture.putdata(labels.ravel().tolist())
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path)


def painted(labels: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    return np.array(colours, np.uint8)[labels]


def write(folder: Path, put: Callable[[Path, int, np.ndarray], object], labels: Sequence[np.ndarray] = LABELS) -> Path:
    write_images(folder, list(NAMES[: len(labels)]))
    for number, (name, one) in enumerate(zip(NAMES, labels, strict=False)):
        put(folder / "masks" / f"{name}.png", number, one)
    return folder


def labels_of(source: DataSource) -> list[np.ndarray]:
    examples = sorted((one for split in source.splits.values() for one in split), key=lambda one: one.name)
    return [one.labels[0].numpy() for one in examples]


def same(source: DataSource, expected: Sequence[np.ndarray] = LABELS) -> bool:
    return all((found == wanted).all() for found, wanted in zip(labels_of(source), expected, strict=True))


def refusal(path: Path | Place) -> str:
    with pytest.raises(InputError) as caught:
        open_data(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_palettes_that_agree_are_indices(tmp_path: Path) -> None:
    source = open_data(write(tmp_path, lambda path, _, one: palette_mask(path, one, [BLACK, RED, GREEN])))
    assert source.description.class_names == ("class 0", "class 1", "class 2") and same(source)


@pytest.mark.parametrize("num_swapped", [1, 2, 4])
def test_black_is_the_ground_whatever_its_index(tmp_path: Path, num_swapped: int) -> None:
    binary = [np.minimum(one, 1) for one in LABELS]

    def put(path: Path, number: int, one: np.ndarray) -> None:
        swapped = number < num_swapped
        palette_mask(path, 1 - one if swapped else one, [WHITE, BLACK] if swapped else [BLACK, WHITE])

    source = open_data(write(tmp_path, put, binary))
    assert source.description.class_names == ("background", "foreground") and same(source, binary)
    assert "colours count" in source.description.encoding


def test_palettes_of_colours_that_differ(tmp_path: Path) -> None:
    order = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 1, 2]]
    colours = [BLACK, GREEN, RED]

    def put(path: Path, number: int, one: np.ndarray) -> None:
        places = np.argsort(order[number])
        palette_mask(path, places[one].astype(np.uint8), [colours[index] for index in order[number]])

    source = open_data(write(tmp_path, put))
    assert source.description.class_names == ("background", "#00ff00", "#ff0000") and same(source)
    assert source.description.class_values == (0, 1, 2) and source.description.has_background


def test_gray_levels_and_palettes_of_gray_levels_in_one_set(tmp_path: Path) -> None:
    def put(path: Path, number: int, one: np.ndarray) -> None:
        if number % 2:
            save(path, one * 30)
        else:
            palette_mask(path, one, [BLACK, (30, 30, 30), (60, 60, 60)])

    write_json(tmp_path, labels={"background": 0, "cell": 30, "edge": 60})
    assert same(open_data(write(tmp_path, put)))


def test_colours_are_counted_and_a_run_knows_them_again(tmp_path: Path) -> None:
    write(tmp_path / "one", lambda path, _, one: save(path, painted(one, [BLACK, BLUE, RED])))
    source = open_data(tmp_path / "one")
    about = source.description
    assert about.class_names == ("background", "#0000ff", "#ff0000") and same(source)
    assert "labelmap.txt" in about.encoding
    fewer = [np.where(one == 1, 0, one) for one in LABELS]
    write(tmp_path / "two", lambda path, _, one: save(path, painted(one, [BLACK, BLUE, RED])), fewer)
    assert same(open_data(tmp_path / "two", expected=about), fewer)
    write(tmp_path / "three", lambda path, _, one: save(path, painted(one, [BLACK, BLUE, GREEN])))
    with pytest.raises(InputError, match=r"colour #00ff00, known are #000000 \(background\), #0000ff"):
        open_data(tmp_path / "three", expected=about)


def test_one_colour_on_black_is_binary(tmp_path: Path) -> None:
    binary = [np.minimum(one, 1) for one in LABELS]
    source = open_data(write(tmp_path, lambda path, _, one: save(path, painted(one, [BLACK, RED])), binary))
    assert source.description.class_names == ("background", "foreground") and same(source, binary)


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    many = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    write(tmp_path, lambda path, number, _: save(path, np.roll(many, number, axis=2)))
    assert "too many to be classes" in refusal(tmp_path)


@pytest.mark.parametrize("as_palette", [False, True])
def test_the_colour_table_of_cvat(tmp_path: Path, as_palette: bool) -> None:
    colours = [BLACK, (170, 0, 51), (250, 250, 55)]

    def put(path: Path, number: int, one: np.ndarray) -> None:
        if as_palette:
            palette_mask(path, one, colours)
        else:
            save(path, painted(one, colours))

    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\ncell:170,0,51::\nbackground:0,0,0::\nedge:250,250,55::\nspare:1,2,3::\n"
    )
    source = open_data(write(tmp_path, put))
    assert source.description.class_names == ("background", "cell", "edge", "spare") and same(source)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncell:170,0,51::\n")
    assert "#fafa37" in refusal(tmp_path)
    (tmp_path / "labelmap.txt").write_text("background 0 0 0\n")
    assert "labelmap.txt: the line 'background 0 0 0'" in refusal(tmp_path)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0\ncell:170,0,51::\nignore:250,250,55::\n")
    assert [int(one.max()) for one in labels_of(open_data(tmp_path))] == [1, 1, 255, 255]


def test_colours_in_dataset_json(tmp_path: Path) -> None:
    write_json(tmp_path, labels={"ground": "#00FF00", "cell": "#ff0000", "edge": "#0000ff"})
    source = open_data(write(tmp_path, lambda path, _, one: save(path, painted(one, [GREEN, RED, BLUE]))))
    assert source.description.class_names == ("ground", "cell", "edge") and same(source)
    assert not source.description.has_background


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"metadata": {"axes": "CYX"}}, {"imagej": True}])
@pytest.mark.parametrize("with_ground", [True, False])
def test_one_map_per_class(tmp_path: Path, options: dict[str, object], with_ground: bool) -> None:
    first = 0 if with_ground else 1

    def put(path: Path, _: int, one: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        maps = np.stack([one == index for index in range(first, 3)] + [one == 9]).astype(np.uint8) * 255
        tifffile.imwrite(path.with_suffix(".tif"), maps, photometric="minisblack", **options)

    source = open_data(write(tmp_path, put))
    about = source.description
    assert same(source) and f"the first of class {first}" in about.encoding and about.num_classes == 4
    write(tmp_path / "new", put, [np.maximum(one, 1) for one in LABELS])  # the ground does not occur
    assert same(open_data(tmp_path / "new", expected=about), [np.maximum(one, 1) for one in LABELS])


def test_maps_that_overlap(tmp_path: Path) -> None:
    def put(path: Path, _: int, one: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path.with_suffix(".tif"), np.stack([one, one]), metadata={"axes": "CYX"})

    assert "2 channels that differ" in refusal(write(tmp_path, put))


def objects(count: int, dtype: type = np.uint16, first: int = 1) -> np.ndarray:
    """A mask of 40 x 60 that numbers `count` squares."""
    numbered = np.zeros((40, 60), dtype)
    for number in range(count):
        row, column = divmod(number, 10)
        numbered[row * 6 + 1 : row * 6 + 5, column * 6 + 1 : column * 6 + 5] = first + number
    return numbered


def write_objects(folder: Path, masks: Sequence[np.ndarray]) -> Path:
    for number, one in enumerate(masks):
        save(folder / "images" / f"{number}.png", np.random.default_rng(number).integers(0, 255, (40, 60), np.uint8))
        (folder / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "masks" / f"{number}.tif", one)
    return folder


@pytest.mark.parametrize("counts", [(7, 5, 9), (40, 31, 22), (60, 12, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_instance_masks_are_recognised(tmp_path: Path, counts: tuple[int, ...], dtype: type) -> None:
    write_objects(tmp_path, [objects(count, dtype) for count in counts])
    message = refusal(tmp_path)
    assert f"instance masks: each mask numbers its objects, here 1 to {max(counts)}" in message
    assert '{"masks": "foreground"}' in message
    asked = open_data(Place(tmp_path, read_as="foreground"))
    write_json(tmp_path, masks="foreground")
    declared = open_data(tmp_path)
    wanted = [(objects(count) > 0).astype(np.uint8) for count in counts]
    for source in (asked, declared):
        assert same(source, wanted) and source.description.class_values == (0, 1)
        assert source.description.masks == "foreground"
    (tmp_path / "dataset.json").unlink()
    assert same(open_data(tmp_path, expected=asked.description), wanted)


def test_numbers_with_gaps_and_many_values(tmp_path: Path) -> None:
    gaps = [np.where(np.isin(objects(count), (2, 5)), 0, objects(count)) for count in (20, 33, 14)]
    assert "instance masks" in refusal(write_objects(tmp_path / "gaps", gaps))
    wide = [objects(12, np.uint32, first=100_000 * number + 7) for number in range(1, 4)]
    assert "foreground" in refusal(write_objects(tmp_path / "wide", wide))
    assert same(open_data(Place(tmp_path / "wide", read_as="foreground")), [(one > 0).astype(np.uint8) for one in wide])


def test_classes_are_no_objects(tmp_path: Path) -> None:
    several = [objects(count) % 3 for count in (8, 9, 10)]
    assert open_data(write_objects(tmp_path / "several", several)).description.num_classes == 3
    constant = [objects(6) for _ in range(3)]
    assert open_data(write_objects(tmp_path / "constant", constant)).description.num_classes == 7
    few = open_data(write_objects(tmp_path / "few", [objects(count) for count in (2, 3, 1)])).description
    assert few.num_classes == 4 and "numbers of objects" in few.encoding


def test_values_that_predictions_cannot_hold(tmp_path: Path) -> None:
    message = refusal(write_objects(tmp_path, [np.minimum(objects(4), 1).astype(np.uint32) * 100_000] * 3))
    assert "100000" in message and "65535" in message and "0.tif" in message
    write_objects(tmp_path, [np.minimum(objects(4), 1) * 65535] * 3)
    assert open_data(tmp_path).description.class_values == (0, 65535)


def test_gray_images_saved_in_colour_among_gray_ones(tmp_path: Path) -> None:
    write(tmp_path, lambda path, _, one: save(path, one))
    path = tmp_path / "images" / "b.png"
    gray_one = np.asarray(Image.open(path))
    save(path, np.dstack([gray_one] * 3))
    source = open_data(tmp_path)
    assert source.description.channel_names == ("intensity",) and "R = G = B" in source.notes[0]
    example = next(one for split in source.splits.values() for one in split if one.name == "b")
    assert example.image.shape == (1, HEIGHT, WIDTH) and (example.image[0].numpy() == gray_one).all()
    save(path, np.dstack([gray_one, gray_one, gray_one[::-1]]))
    assert "channels" in refusal(tmp_path)
