"""Folders as they come from other people: each is read right, or refused with what to do, or told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_trees import gray, mask, save

from plurimask.data import DataSource, Place, open_data
from plurimask.errors import InputError
from plurimask.evaluation.check import check_data

NUMBERS = range(6)
LEFT, RIGHT = mask(0, 0, 255), mask(255, 0, 0)


def images(folder: Path, suffix: str = "") -> Path:
    for number in NUMBERS:
        save(folder / "images" / f"i{number}{suffix}.png", gray(number))
    return folder


def labels_of(source: DataSource) -> dict[str, np.ndarray]:
    return {one.name: one.labels.numpy() for examples in source.splits.values() for one in examples}


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_data(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "expert{rater}_i{number}.png",
        "i{number}_expert{rater}.png",
        "i{number}/expert{rater}.png",
        "expert{rater}/i{number}.png",
    ],
)
def test_raters_wherever_their_names_stand(tmp_path: Path, name: str) -> None:
    images(tmp_path)
    for number in NUMBERS:
        for rater, marks in ((1, LEFT), (2, RIGHT)):
            save(tmp_path / "masks" / name.format(rater=rater, number=number), marks)
    source = open_data(tmp_path)
    assert source.description.rater_names == ("expert1", "expert2")
    labels = labels_of(source)
    assert len(labels) == len(NUMBERS)
    assert all((each == (np.stack([LEFT, RIGHT]) != 0)).all() for each in labels.values())


@pytest.mark.parametrize("name", ["mask_i{}.png", "i{}-gt.PNG", "i{} label.png", "my_seg_i{}.png"])
def test_one_rater_whatever_the_masks_are_called(tmp_path: Path, name: str) -> None:
    images(tmp_path)
    for number in NUMBERS:
        save(tmp_path / "masks" / name.format(number), mask(0, number % 2))
    source = open_data(tmp_path)
    assert source.description.rater_names == ("rater 1",) and "paired by" in source.notes[0]
    assert {name: each.max() for name, each in labels_of(source).items()} == {f"i{n}": n % 2 for n in NUMBERS}


def test_masks_of_objects_in_a_folder_per_image_are_no_raters(tmp_path: Path) -> None:
    images(tmp_path)
    for number in NUMBERS:
        for thing in range(1 + number):
            save(tmp_path / "masks" / f"i{number}" / f"{thing}.png", LEFT)
    assert "a mask without an image" in refusal(tmp_path)


def test_numbers_that_count_something_else_pair_nothing(tmp_path: Path) -> None:
    images(tmp_path)
    for number in NUMBERS:
        for reader in (1, 2):
            save(tmp_path / "masks" / f"reader{reader}_s{number + 40}.png", LEFT)
    assert "a mask without an image" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["labels", "ground_truth", "gt", "Masks", "annotations"])
def test_another_name_for_masks_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    images(tmp_path)
    for number in NUMBERS:
        save(tmp_path / name / f"i{number}.png", LEFT)
    message = refusal(tmp_path)
    assert f"if {name}/ holds the masks, call it masks/" in message and "--masks" in message


def test_files_beside_the_folders_are_told(tmp_path: Path) -> None:
    images(tmp_path)
    for number in NUMBERS:
        save(tmp_path / "masks" / f"i{number}.png", LEFT)
    for name in ("train.txt", "patients.xlsx", ".DS_Store", "images/Thumbs.db", "masks/._i0.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "dataset.json").write_text("{}")
    (note,) = open_data(tmp_path).notes
    assert note.startswith("3 files were not read")
    assert all(name in note for name in (".txt (train.txt)", ".xlsx (patients.xlsx)", "1 .db"))


def nested(folder: Path) -> None:
    for number in NUMBERS:
        for scan in ("s1", "s2"):
            save(folder / "images" / f"p{number}" / f"{scan}.png", gray(number))
            save(folder / "masks" / f"p{number}" / f"{scan}.png", LEFT)


def test_patients_in_folders_are_told_of(tmp_path: Path) -> None:
    nested(tmp_path)
    assert any("--group '^[^/]+'" in note for note in open_data(tmp_path).notes)
    source = open_data(tmp_path, group="^[^/]+")
    assert not source.notes
    train, val = ({name.partition("/")[0] for name in source.splits[split].names} for split in ("train", "val"))
    assert train and val and not train & val


def test_raters_with_a_value_each_are_told_of(tmp_path: Path) -> None:
    images(tmp_path)
    for number in NUMBERS:
        save(tmp_path / "masks" / "anna" / f"i{number}.png", mask(0, 1))
        save(tmp_path / "masks" / "ben" / f"i{number}.png", mask(0, 0, 2))
    source = open_data(tmp_path)
    assert source.description.num_classes == 3
    assert source.notes == (
        "each rater marks with one value (anna with 1, ben with 2): they are read as classes; if all of them mean the "
        "foreground, give --foreground",
    )
    save(tmp_path / "masks" / "ben" / "i3.png", mask(0, 1, 2))
    assert not open_data(tmp_path).notes
    assert open_data(Place(tmp_path, read_as="foreground")).description.num_classes == 2


@pytest.mark.parametrize(("factor", "told"), [(1, False), (256, True)])
def test_images_of_different_bits_are_told_of(tmp_path: Path, factor: int, told: bool) -> None:
    images(tmp_path)
    for number in NUMBERS:
        save(tmp_path / "masks" / f"i{number}.png", LEFT)
    for number in (2, 4):
        save(tmp_path / "images" / f"i{number}.png", gray(number).astype(np.uint16) * factor)
    warnings = [each for each in check_data(open_data(tmp_path)).warnings if "largest value" in each]
    assert bool(warnings) == told


def smoothed(folder: Path) -> None:
    for number in NUMBERS:
        save(folder / "masks" / f"i{number}.png", mask(0, 0, 128, 255, 255))


def lossy(folder: Path) -> None:
    for number in NUMBERS:
        save(folder / "masks" / f"i{number}.JPG", LEFT)


@pytest.mark.parametrize(("masks", "words"), [(smoothed, "threshold them"), (lossy, "JPEG changes the values")])
def test_masks_that_are_no_classes(tmp_path: Path, masks: Callable[[Path], None], words: str) -> None:
    masks(images(tmp_path))
    assert words in refusal(tmp_path)
