"""The folder layout: what it may look like, and what is refused with which words."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from data_trees import HEIGHT, WIDTH, gray, mask, save, write_folder, write_images, write_json

from plurimask.data.layouts import folder as folder_layout
from plurimask.data.layouts.cache import ArrayCache
from plurimask.data.layouts.files import FileSet
from plurimask.data.source import open_data
from plurimask.errors import InputError


def refused(path: Path, *words: object) -> None:
    """Opening `path` fails with one line that holds all of `words`."""
    with pytest.raises(InputError) as caught:
        open_data(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message


def test_one_rater_with_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"b": (0, 255), "a": (0,), "deep/er": (0, 255)})
    write_folder(tmp_path / "validation", {"c": (0, 255)})
    (tmp_path / "train" / "images" / ".b.png").write_text("hidden")
    (tmp_path / "train" / "images" / "notes.txt").write_text("no image")
    source = open_data(str(tmp_path))
    assert list(source.splits) == ["train", "val"] and not source.drawn
    assert source.splits["train"].names == ("a", "b", "deep/er") == source.splits["train"].groups
    about = source.description
    assert about.layout == "folder" and about.class_values == (0, 255) and about.counted_classes == (1,)
    assert about.channel_names == ("intensity",) and about.rater_names == ("rater 1",)
    example = source.splits["train"][1]
    assert example.name == "b" and example.image.dtype == torch.float32 and example.labels.dtype == torch.uint8
    assert (example.image.numpy() == gray(0)[None]).all() and example.labels.shape == (1, HEIGHT, WIDTH)
    assert (example.labels.numpy() == (mask(0, 255) > 0)[None]).all()


def test_a_split_without_masks(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": (0, 1)})
    write_images(tmp_path / "test", ["b"])
    write_folder(tmp_path / "val", {"c": (0, 1)})
    source = open_data(tmp_path)
    assert list(source.splits) == ["train", "val"] and "test: none of its 1 images has a mask" in source.notes[0]
    write_images(tmp_path / "val", ["d"])
    (tmp_path / "val" / "masks" / "c.png").unlink()
    refused(tmp_path, "val/masks", "no masks found", "found nothing")


def test_only_one_split_is_fine(tmp_path: Path) -> None:
    write_folder(tmp_path / "val", {"a": (0, 1)})
    assert list(open_data(tmp_path).splits) == ["val"]


def test_raters_in_folders_and_the_absent_ones(tmp_path: Path) -> None:
    write_images(tmp_path / "train", ["a", "sub/b"])
    write_images(tmp_path / "val", ["c"])
    save(tmp_path / "train" / "masks" / "reader 10" / "a.tif", mask(0, 1))
    save(tmp_path / "train" / "masks" / "reader 2" / "sub" / "b.bmp", mask(0))
    save(tmp_path / "val" / "masks" / "reader 3" / "c.png", mask(1))
    source = open_data(tmp_path)
    assert source.description.rater_names == ("reader 2", "reader 3", "reader 10")
    labels = source.splits["train"][0].labels
    assert labels.shape == (3, HEIGHT, WIDTH)
    assert (labels[:2] == 255).all() and (labels[2].numpy() == mask(0, 1)).all()
    assert source.splits["train"][1].labels.flatten(1).amax(1).tolist() == [0, 255, 255]
    assert source.splits["val"][0].labels.flatten(1).amax(1).tolist() == [255, 1, 255]


def test_whether_masks_are_binary_is_decided_for_all_together(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": (0, 1), "b": (0, 255)})
    write_folder(tmp_path / "val", {"c": (0,)})
    source = open_data(tmp_path)
    assert source.description.class_values == (0, 255)
    assert [int(source.splits["train"][index].labels.max()) for index in range(2)] == [1, 1]
    save(tmp_path / "val" / "masks" / "c.png", mask(0, 1, 255))
    source = open_data(tmp_path)
    assert source.description.class_values == (0, 1) and source.description.ignore_value == 255
    assert [int(source.splits["train"][index].labels.max()) for index in range(2)] == [1, 255]


def test_channels_in_folders(tmp_path: Path) -> None:
    write_json(tmp_path, channel_names={"0": "gfp", "1": "phase"}, labels={"background": 0, "worm": 3})
    for seed, name in enumerate(["a", "b"]):
        save(tmp_path / "train" / "phase" / f"{name}.png", gray(seed))
        save(tmp_path / "train" / "gfp" / f"{name}.tif", gray(seed + 9).astype(np.uint16) * 200)
        save(tmp_path / "train" / "masks" / f"{name}.png", mask(0, 3))
    source = open_data(tmp_path)
    assert source.description.channel_names == ("gfp", "phase")
    assert source.description.class_names == ("background", "worm") and source.description.class_values == (0, 3)
    assert source.drawn and len(source.splits["train"]) == len(source.splits["val"]) == 1
    example = next(one for split in source.splits.values() for one in split if one.name == "b")
    image = example.image.numpy()
    assert (image[0] == gray(10).astype(float) * 200).all() and (image[1] == gray(1)).all()

    save(tmp_path / "train" / "phase" / "a.png", gray(0, height=HEIGHT + 1))
    refused(tmp_path, "phase/a.png", f"{HEIGHT + 1}x{WIDTH}", f"{HEIGHT}x{WIDTH}", "same size")
    save(tmp_path / "train" / "phase" / "a.png", np.dstack([gray()] * 3))
    refused(tmp_path, "phase/a.png", "3 channels", "gray")
    (tmp_path / "train" / "phase" / "a.png").unlink()
    refused(tmp_path, "'a'", "no channel 'phase'", "add phase/a.png")


def test_colour_in_one_file(tmp_path: Path) -> None:
    write_json(tmp_path, channel_names={"0": "R", "1": "G", "2": "B"})
    for name in "abc":
        save(tmp_path / "images" / f"{name}.png", np.dstack([gray(1), gray(2), gray(3)]))
        save(tmp_path / "masks" / f"{name}.png", mask(0, 1))
    source = open_data(tmp_path)
    assert source.drawn and source.splits["val"][0].image.shape == (3, HEIGHT, WIDTH)
    write_json(tmp_path, channel_names={"0": "R", "1": "G"})
    refused(tmp_path, "names 2 channels", "have 3")
    save(tmp_path / "images" / "b.png", gray())
    refused(tmp_path, "images/a.png has 3", "images/b.png has 1", "same channels")


def test_missing_channel_folder(tmp_path: Path) -> None:
    write_json(tmp_path, channel_names={"0": "gfp", "1": "phase"})
    save(tmp_path / "gfp" / "a.png", gray())
    save(tmp_path / "masks" / "a.png", mask(0))
    refused(tmp_path, "'phase'", "missing", "gfp/")


def test_sizes_must_fit(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": (0, 1), "b": (0, 1)})
    save(tmp_path / "masks" / "b.png", mask(0, 1, height=5, width=7))
    refused(tmp_path, "masks/b.png", "5x7", "images/b.png", f"{HEIGHT}x{WIDTH}")


def test_images_and_masks_must_pair(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": (0, 1), "b": (0, 1), "d": (0, 1)})
    (tmp_path / "masks" / "b.png").unlink()
    source = open_data(tmp_path)
    assert sum(map(len, source.splits.values())) == 2
    assert source.notes == ("1 of 3 images have no mask and were left out: b",)
    save(tmp_path / "masks" / "b.png", mask(0))
    save(tmp_path / "masks" / "c.png", mask(0))
    refused(tmp_path, "masks/c.png", "without an image", "remove")
    (tmp_path / "masks" / "c.png").unlink()
    save(tmp_path / "masks" / "a.tif", mask(0))
    refused(tmp_path, "a.png", "a.tif", "same name")


def test_masks_beside_rater_folders(tmp_path: Path) -> None:
    write_images(tmp_path, ["a", "b"])
    for name in "ab":
        save(tmp_path / "masks" / "anna" / f"{name}.png", mask(0, 1))
    save(tmp_path / "masks" / "a.png", mask(0, 1))
    refused(tmp_path, "masks/a.png", "raters' folders")


def test_raters_in_one_split_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": (0, 1)})
    write_images(tmp_path / "val", ["b"])
    save(tmp_path / "val" / "masks" / "anna" / "b.png", mask(0, 1))
    refused(tmp_path, "train/masks", "val/masks", "rater's folder")


def test_values_outside_the_labels(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": (0, 1), "b": (0, 2)})
    write_json(tmp_path, labels={"background": 0, "cell": 1})
    refused(tmp_path, "masks/b.png", "value 2", "1 (cell)", "dataset.json")


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images" / "scan.mha").write_text("volume")
    refused(tmp_path, "images", "no images found", "scan.mha")
    write_images(tmp_path, ["a", "b"])
    refused(tmp_path, "masks", "no masks found", "nothing")
    (tmp_path / "images").rename(tmp_path / "pictures")
    refused(tmp_path, "looked for images/", "pictures/", "channel_names")


def test_damaged_mask_and_image(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": (0, 1), "b": (0, 1)})
    path = tmp_path / "masks" / "b.png"
    path.write_bytes(path.read_bytes()[:-30])
    refused(tmp_path, "masks/b.png", "damaged")
    save(path, mask(0, 1))
    (tmp_path / "images" / "a.png").write_bytes(b"nothing")
    refused(tmp_path, "images/a.png", "damaged")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not readable as JSON"),
        ("[1]", "expected an object"),
        ('{"channel_names": {"1": "a"}}', "number them from 0"),
        ('{"channel_names": ["a"]}', "expected"),
        ('{"channel_names": {"0": "a", "1": "a"}}', "twice"),
        ('{"labels": {"background": 0, "whole": [1, 2]}}', "regions"),
        ('{"labels": {"0": "background", "1": "cell"}}', "name first"),
        ('{"labels": {"background": 0, "cell": 0}}', "share the value 0"),
        ('{"labels": {"background": 0, "cell": 1.5}}', "1.5"),
        ('{"labels": {"background": 0, "ignore": 1}}', "1 classes"),
        ('{"labels": 3}', "expected"),
    ],
)
def test_malformed_dataset_json(tmp_path: Path, content: str, words: str) -> None:
    write_folder(tmp_path, {"a": (0, 1), "b": (0, 1)})
    (tmp_path / "dataset.json").write_text(content)
    refused(tmp_path, "dataset.json", words)


def test_ignore_in_any_case_and_order_by_value(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": (0, 9), "b": (4, 2)})
    write_json(tmp_path, labels={"edge": 9, "Ignore": 4, "cell": 2, "background": 0}, file_ending=".png")
    about = open_data(tmp_path).description
    assert about.class_names == ("background", "cell", "edge") and about.class_values == (0, 2, 9)
    assert about.ignore_value == 4 and about.has_background and re.search("edge = 9", about.encoding)


def test_files_are_decoded_once_within_the_budget(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": (0, 1)})
    examples = open_data(tmp_path).splits["train"]
    assert isinstance(examples, FileSet)
    first = examples[0]
    first.image.zero_()
    first.labels.fill_(9)
    for path in (tmp_path / "train").rglob("*.png"):
        path.unlink()
    assert (examples[0].image.numpy()[0] == gray(0)).all() and (examples[0].labels.numpy()[0] == mask(0, 1)).all()
    assert examples.cache.used == 2 * HEIGHT * WIDTH
    copied = pickle.loads(pickle.dumps(examples))
    assert copied.cache.used == 0 and copied.names == examples.names
    assert copy.copy(examples).cache is examples.cache

    reads: list[Path] = []

    def read(path: Path) -> np.ndarray:
        reads.append(path)
        return np.zeros(60, dtype=np.uint8)

    cache = ArrayCache(budget=100)
    for name in ("one", "two", "one", "two"):
        cache.get(Path(name), read)
    assert [path.name for path in reads] == ["one", "two", "two"] and cache.used == 60


def test_masks_beside_each_other_are_paired_by_their_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them for a rater would be tried against all images: the square of thousands."""
    write_folder(tmp_path, {f"image-{number}": (0, 1) for number in range(9)})
    monkeypatch.setattr(folder_layout, "pair", None)
    source = open_data(tmp_path)
    assert sum(len(examples) for examples in source.splits.values()) == 9
