"""Where files lie and how they are named: splits, pairs, nnU-Net, patterns; nothing is left out in silence."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from data_trees import HEIGHT, WIDTH, gray, mask, save, write_folder, write_images, write_json

from plurimask.data.example import Patterns
from plurimask.data.layouts.globs import import_layout, read_globs
from plurimask.data.source import Place, open_data
from plurimask.data.unlabelled import open_images
from plurimask.errors import InputError

BINARY = dict.fromkeys("abcde", (0, 255))


def refusal(path: Path | Place) -> str:
    with pytest.raises(InputError) as caught:
        open_data(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def put(path: Path, values: np.ndarray | None = None) -> None:
    save(path, mask(0, 1) if values is None else values)


# splits


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val"), ["train", "val"]),
        (("training", "validation", "testing"), ["train", "val", "test"]),
        (("Train", "VALID", "Test"), ["train", "val", "test"]),
        (("training", "dev"), ["train", "val"]),
    ],
)
@pytest.mark.parametrize("place", ["outside", "inside", "rater/split", "split/rater"])
def test_splits_in_every_spelling_and_place(
    tmp_path: Path, folders: tuple[str, ...], splits: list[str], place: str
) -> None:
    for number, folder in enumerate(folders):
        for name in "abc"[: number + 1]:
            inside, named = place != "outside", f"{folder[0]}{name}.png"
            put(tmp_path / "images" / folder / named if inside else tmp_path / folder / "images" / named, gray(number))
            masks = {
                "outside": [f"{folder}/masks"],
                "inside": [f"masks/{folder}"],
                "rater/split": [f"masks/anna/{folder}", f"masks/ben/{folder}"],
                "split/rater": [f"masks/{folder}/anna", f"masks/{folder}/ben"],
            }[place]
            for each in masks:
                put(tmp_path / each / named)
    source = open_data(tmp_path)
    assert list(source.splits) == splits and not source.drawn and not source.notes
    assert [len(part) for part in source.splits.values()] == list(range(1, len(splits) + 1))
    assert source.splits["train"].names == (f"{folders[0][0]}a",)
    assert source.description.rater_names == (("rater 1",) if "rater" not in place else ("anna", "ben"))


def test_one_split_under_two_names(tmp_path: Path) -> None:
    for folder in ("train", "val", "valid"):
        put(tmp_path / "images" / folder / "a.png")
        put(tmp_path / "masks" / folder / "a.png")
    assert "one split twice" in refusal(tmp_path)


def test_a_folder_that_is_no_split_beside_splits(tmp_path: Path) -> None:
    for folder in ("train", "val", "fold3"):
        write_folder(tmp_path / folder, BINARY)
    message = refusal(tmp_path)
    assert "fold3: holds images/" in message and "rename it" in message
    (tmp_path / "fold3").rename(tmp_path / "train" / "more")
    (tmp_path / "figures").mkdir()
    source = open_data(tmp_path)
    assert source.notes == ("not read: more/", "not read: figures/")
    for folder in ("train", "val", "extra"):
        put(tmp_path / "inside" / "images" / folder / "a.png")
        put(tmp_path / "inside" / "masks" / folder / "a.png")
    assert "'extra/a'" in refusal(tmp_path / "inside")


def test_masks_outside_of_the_splits_of_the_images(tmp_path: Path) -> None:
    for folder in ("train", "val"):
        put(tmp_path / "images" / folder / "a.png")
        put(tmp_path / "masks" / folder / "a.png")
    put(tmp_path / "masks" / "b.png")
    assert "masks/b.png" in refusal(tmp_path)


def test_test_images_without_masks_are_left_out_and_said(tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        for name in "ab":
            put(tmp_path / "images" / folder / f"{name}.png", gray())
            if folder != "test":
                put(tmp_path / "masks" / folder / f"{name}.png")
    source = open_data(tmp_path)
    assert list(source.splits) == ["train", "val"] and "none of its 2 images has a mask" in source.notes[0]


def test_a_validation_split_is_drawn_from_train_by_group(tmp_path: Path) -> None:
    names = {f"p{number // 2}_{number}": (0, 1) for number in range(10)}
    write_folder(tmp_path / "train", names)
    write_folder(tmp_path / "test", {"p0_0": (0, 1)})
    source = open_data(tmp_path, group="^p[0-9]", seed=3)
    assert list(source.splits) == ["train", "val", "test"] and source.drawn
    assert len(source.splits["val"]) == 2 and len(set(source.splits["val"].groups)) == 1
    assert "no split val: 2 of the 10 images of train were drawn" in source.notes[0]
    stored = {split: list(part.names) for split, part in source.splits.items()}
    again = open_data(tmp_path, stored_split=stored)
    assert {split: list(part.names) for split, part in again.splits.items()} == stored
    assert not open_data(tmp_path, stored_split={}).drawn


# what cannot be read


def test_a_folder_that_cannot_be_read_is_no_absent_rater(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, ["a", "b"])
    for rater in ("anna", "ben"):
        for name in "ab":
            put(tmp_path / "masks" / rater / f"{name}.png")
    scandir = os.scandir

    def refuse(path: str | Path = ".") -> object:
        if Path(path).name == "ben":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = refusal(tmp_path)
    assert str(tmp_path / "masks" / "ben") in message and "permission denied" in message
    with pytest.raises(InputError, match="permission denied"):
        open_images(tmp_path / "masks", ["intensity"])


def test_a_rater_whose_folder_holds_no_mask_is_named(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path / "images" / f"{name}.png", gray())
        put(tmp_path / "masks" / "anna" / f"{name}.png")
    (tmp_path / "masks" / "ben").mkdir()
    source = open_data(tmp_path)
    assert source.description.rater_names == ("anna",) and "masks/ben holds no mask" in source.notes[0]


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    write_folder(tmp_path, BINARY)
    (tmp_path / "images" / "again").symlink_to(tmp_path / "images")
    assert sum(map(len, open_data(tmp_path).splits.values())) == 5


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, BINARY)
    for name in ("f.webp", "g.npy", "h.npy", "i.mha", "notes"):
        (tmp_path / "images" / name).write_bytes(b"content")
    note = open_data(tmp_path).notes[0]
    assert note.startswith("5 files were not read: 2 .npy, ") and "1 .mha" in note
    assert "1 without ending" in note and "save other volumes as .nii.gz" in note
    images = open_images(tmp_path / "images", ["intensity"])
    assert len(images) == 5 and images.notes == (note,)


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_volumes_are_told_so(tmp_path: Path, ending: str) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"a{ending}").write_bytes(b"volume")
    assert f"volumes ({ending}) are not read, save them as .nii.gz" in refusal(tmp_path)
    with pytest.raises(InputError, match=r"save them as \.nii\.gz"):
        open_images(tmp_path, ["intensity"])


# names


@pytest.mark.parametrize(
    ("image", "masks", "raters"),
    [
        ("{}", ["{}_mask"], ("rater 1",)),
        ("{}", ["{}-gt"], ("rater 1",)),
        ("{}", ["{}.mask"], ("rater 1",)),
        ("{}", ["{}_seg0", "{}_seg1", "{}_seg2"], ("seg0", "seg1", "seg2")),
        ("{}", ["{}_mask_anna", "{}_mask_ben"], ("anna", "ben")),
        ("image_{}", ["mask_{}"], ("rater 1",)),
        ("img{}", ["seg{}"], ("rater 1",)),
        ("{}_training", ["{}_manual1"], ("rater 1",)),
        ("{}_sat", ["{}_mask"], ("rater 1",)),
        ("case/{}_img", ["case/{}_seg0", "case/{}_seg1"], ("seg0", "seg1")),
        ("{}", ["anna/{}_mask", "ben/{}_m"], ("anna", "ben")),
        ("image_{}", ["anna/mask_{}", "ben/image_{}"], ("anna", "ben")),
    ],
)
def test_names_that_differ_by_what_they_say_of_the_file(
    tmp_path: Path, image: str, masks: list[str], raters: tuple[str, ...]
) -> None:
    cores = ["1", "10", "11", "2"]
    for seed, core in enumerate(cores):
        put(tmp_path / "images" / f"{image.format(core)}.png", gray(seed))
        for number, each in enumerate(masks):
            put(tmp_path / "masks" / f"{each.format(core)}.png", (gray(seed) > 60 * number + 40).astype(np.uint8))
    source = open_data(tmp_path)
    assert source.description.rater_names == raters and "common part of their names" in source.notes[0]
    examples = [one for split in source.splits.values() for one in split]
    assert sorted(one.name for one in examples) == sorted(image.format(core) for core in cores)
    for one in examples:
        for number, labels in enumerate(one.labels):
            assert (labels.numpy() == (one.image[0].numpy() > 60 * number + 40)).all()


def test_names_that_do_not_pair(tmp_path: Path) -> None:
    for name in ("x1", "x2", "x3"):
        put(tmp_path / "images" / f"{name}.png", gray())
        put(tmp_path / "masks" / f"{name}_mask.png")
    put(tmp_path / "masks" / "y7_mask.png")
    assert "without an image" in refusal(tmp_path)


def test_ome_tif_is_one_ending(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / "images" / f"{name}.ome.tif", gray())
        put(tmp_path / "masks" / f"{name}.png")
    assert sorted(name for part in open_data(tmp_path).splits.values() for name in part.names) == ["a", "b"]


def test_names_in_unicode_latin_1_and_brackets(tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFC", "Präparat ñ"), "plain [bold]x[/bold] {y} *z"]
    latin = os.fsdecode("Müller".encode("latin-1"))
    for form, folder in (("NFD", "images"), ("NFC", "masks")):
        for name in names:
            put(tmp_path / folder / f"{unicodedata.normalize(form, name)}.png")
        put(tmp_path / folder / f"{latin}.png")
    source = open_data(tmp_path)
    assert sorted(name for part in source.splits.values() for name in part.names) == sorted([*names, "Müller"])
    assert not source.notes
    assert sorted(open_images(tmp_path / "images", ["intensity"]).names) == sorted([*names, "Müller"])
    put(tmp_path / "images" / "Müller.png")
    assert "same name" in refusal(tmp_path)


@pytest.mark.parametrize("names", [("a", "a/mask.png"), ("a", "uncertainty.csv")])
def test_names_whose_predictions_would_collide(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        put(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="rename it"):
        open_images(tmp_path, ["intensity"])


# nnU-Net


def test_nnunet(tmp_path: Path) -> None:
    write_json(
        tmp_path, channel_names={"0": "t1", "1": "t2"}, labels={"background": 0, "tumour": 2}, file_ending=".png"
    )
    for number in range(5):
        for channel in range(2):
            put(tmp_path / "imagesTr" / f"c_{number:03d}_{channel:04d}.png", gray(2 * number + channel))
        put(tmp_path / "labelsTr" / f"c_{number:03d}.png", mask(0, 2))
    put(tmp_path / "imagesTs" / "c_900_0000.png", gray())
    put(tmp_path / "imagesTs" / "c_900_0001.png", gray(1))
    source = open_data(tmp_path)
    assert source.description.layout == "nnU-Net" and source.description.class_names == ("background", "tumour")
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 4, "val": 1} and source.drawn
    assert "imagesTs/: 1 images without labelsTs/ were left out" in source.notes
    example = next(one for split in source.splits.values() for one in split if one.name == "c_003")
    assert (example.image.numpy() == np.stack([gray(6), gray(7)])).all()
    images = open_images(tmp_path / "imagesTs", ["t1", "t2"])
    assert images.names == ("c_900",) and (images[0].numpy() == np.stack([gray(0), gray(1)])).all()
    put(tmp_path / "labelsTs" / "c_900.png", mask(0, 2))
    assert list(open_data(tmp_path).splits) == ["train", "val", "test"]
    (tmp_path / "imagesTr" / "c_002_0001.png").unlink()
    assert "'c_002' has no channel 0001" in refusal(tmp_path)


def test_nnunet_volumes_and_wrong_names(tmp_path: Path) -> None:
    for folder, name in (("imagesTr", "a_0000"), ("labelsTr", "a")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.mha").write_bytes(b"volume")
    assert "volumes (.mha) are not read" in refusal(tmp_path)
    put(tmp_path / "imagesTr" / "b.png")
    assert "_0000" in refusal(tmp_path)


# patterns


def scans(folder: Path) -> Path:
    for patient in ("p1", "p2", "p[3]"):
        for number in range(2):
            put(folder / "scans" / patient / "t1" / f"{number}.png", gray(number))
            put(folder / "scans" / patient / "t1" / f"{number}_anna.png", mask(0, 1))
            if (patient, number) != ("p1", 1):
                put(folder / "scans" / patient / "ben" / f"seg{number}.tif", mask(1, 0))
    return folder


def test_patterns_for_any_tree(tmp_path: Path) -> None:
    masks = {"anna": "scans/*/t1/*_anna.png", "ben": "scans/*/ben/seg*.tif"}
    with pytest.raises(InputError, match="without an image"):  # * is "0_anna", too, for the image
        open_data(Place(scans(tmp_path), images="scans/*/t1/*_anna.png", masks={"x": "scans/*/ben/*.tif"}))
    place = Place(tmp_path, images="scans/*/t1/?.png", masks=masks)
    source = open_data(place, group="^[^/]+")
    assert source.drawn and source.description.rater_names == ("anna", "ben")
    examples = {one.name: one for split in source.splits.values() for one in split}
    assert sorted(examples) == sorted(f"{patient}/{number}" for patient in ("p1", "p2", "p[3]") for number in range(2))
    assert (examples["p[3]/1"].image[0].numpy() == gray(1)).all()
    assert (examples["p2/0"].labels.numpy() == np.stack([mask(0, 1), mask(1, 0)])).all()
    assert (examples["p1/1"].labels[1] == 255).all()
    absolute = open_data(Place(tmp_path, images=f"{tmp_path}/scans/*/t1/?.png", masks=masks))
    assert sorted(name for part in absolute.splits.values() for name in part.names) == sorted(examples)


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        ("scans/*/t2/*.png", {"anna": "scans/*/t1/*_anna.png"}, "matches no image"),
        ("scans/p1/t1/0.png", {"anna": "scans/*/t1/*_anna.png"}, "no wildcard"),
        ("scans/*/t1/?.png", {}, "no pattern for masks"),
        ("scans/**/?.png", {"anna": "scans/*/t1/*_anna.png"}, "without an image"),
    ],
)
def test_patterns_that_do_not_fit(tmp_path: Path, images: str, masks: dict[str, str], words: str) -> None:
    assert words in refusal(Place(scans(tmp_path), images=images, masks=masks))


def test_any_tree_becomes_the_plain_layout(tmp_path: Path) -> None:
    masks = {"anna": "scans/*/t1/*_anna.png", "ben": "scans/*/ben/seg*.tif"}
    write_json(scans(tmp_path / "tree"), labels={"ground": 0, "cell": 1})
    place = Place(tmp_path / "tree", images="scans/*/t1/?.png", masks=masks)
    layout = read_globs(Patterns(images="scans/*/t1/?.png", masks=masks), place.path)
    assert import_layout(layout, tmp_path / "plain", place.path) == 6
    imported, direct = open_data(tmp_path / "plain"), open_data(place)
    assert imported.description.class_names == ("ground", "cell") == direct.description.class_names
    assert imported.description.rater_names == direct.description.rater_names
    for split, examples in direct.splits.items():
        for one, other in zip(examples, imported.splits[split], strict=True):
            assert one.name == other.name and one.image.equal(other.image) and one.labels.equal(other.labels)
    with pytest.raises(InputError, match="not empty"):
        import_layout(layout, tmp_path / "plain", place.path)


def test_images_without_masks_among_patterns(tmp_path: Path) -> None:
    write_folder(tmp_path, BINARY)
    (tmp_path / "masks" / "c.png").unlink()
    source = open_data(Place(tmp_path, images="images/*.png", masks={"anna": "masks/*.png"}))
    assert source.notes == ("1 of 5 images have no mask and were left out: c",)
    assert {one.image.shape for one in source.splits["train"]} == {(1, HEIGHT, WIDTH)}
