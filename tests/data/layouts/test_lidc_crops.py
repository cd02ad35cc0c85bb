"""The published LIDC crops, in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_trees import HEIGHT, WIDTH, gray, mask, save

from plurimask.data.source import open_data
from plurimask.errors import InputError


def write_crops(folder: Path, patients: list[str], first: int = 0) -> Path:
    for number, patient in enumerate(patients):
        for crop in range(2):
            name = f"{patient}/z-{number}.5_c{crop}"
            save(folder / "images" / f"{name}.png", gray(number * 2 + crop))
            for rater in range(4):
                values = (0, 255) if rater <= number else (0,)
                save(folder / "gt" / f"{name}_l{rater + first}.png", mask(*values))
    return folder


@pytest.mark.parametrize("first", [0, 1])
def test_splits_raters_and_patients(tmp_path: Path, first: int) -> None:
    write_crops(tmp_path / "train", ["LIDC-1", "LIDC-2", "LIDC-3"], first)
    write_crops(tmp_path / "val", ["LIDC-4"], first)
    write_crops(tmp_path / "test", ["LIDC-5"], first)
    source = open_data(tmp_path)
    assert source.description.layout == "LIDC crops" and list(source.splits) == ["train", "val", "test"]
    assert source.description.rater_names == tuple(f"l{index + first}" for index in range(4))
    assert source.description.class_values == (0, 255) and source.description.has_background
    train = source.splits["train"]
    assert train.names[2] == "LIDC-2/z-1.5_c0" and train.groups[2] == "LIDC-2" and len(train) == 6
    example = train[2]
    assert example.image.shape == (1, HEIGHT, WIDTH) and (example.image.numpy()[0] == gray(2)).all()
    assert example.labels.flatten(1).amax(1).tolist() == [1, 1, 0, 0]


def test_one_split_alone_is_split_by_patient(tmp_path: Path) -> None:
    source = open_data(write_crops(tmp_path, ["a", "b", "c"]))
    assert source.drawn and len(source.splits["val"]) == 2 and len(set(source.splits["val"].groups)) == 1


def test_an_absent_rater_is_no_empty_mask(tmp_path: Path) -> None:
    write_crops(tmp_path / "val", ["a", "b"])
    (tmp_path / "val" / "gt" / "a" / "z-0.5_c0_l3.png").unlink()
    labels = open_data(tmp_path).splits["val"][0].labels
    assert labels.flatten(1).amax(1).tolist() == [1, 0, 0, 255]


def test_pairs_and_names(tmp_path: Path) -> None:
    write_crops(tmp_path / "train", ["a", "b"])
    extra = save(tmp_path / "train" / "gt" / "a" / "z-9_c0_l0.png", mask(0))
    with pytest.raises(InputError, match=r"z-9_c0_l0\.png.*without an image"):
        open_data(tmp_path)
    extra.rename(extra.with_name("z-9_c0.png"))
    with pytest.raises(InputError, match=r"z-9_c0\.png.*_l0 to _l3"):
        open_data(tmp_path)
    extra.with_name("z-9_c0.png").unlink()
    save(tmp_path / "train" / "images" / "c" / "z-1_c0.png", gray())
    with pytest.raises(InputError, match=r"c/z-1_c0\.png.*without a mask"):
        open_data(tmp_path)
