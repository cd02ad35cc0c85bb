"""A path is recognised as a data set; where it is not, the error says what was looked for and found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import gray, mask, save, write_folder

from plurimask.data.source import open_data
from plurimask.errors import InputError

NAMES = {f"p{index // 2}_z{index}": (0, 255) for index in range(10)}


def test_the_drawn_split_keeps_groups_together(tmp_path: Path) -> None:
    write_folder(tmp_path, NAMES)
    source = open_data(tmp_path, group="^(p[0-9]+)_", seed=1)
    assert source.drawn and list(source.splits) == ["train", "val"]
    train, val = source.splits["train"], source.splits["val"]
    assert len(train) == 8 and len(val) == 2 and len(set(val.groups)) == 1 and not set(train.groups) & set(val.groups)
    assert val[1].name == val.names[1] and val.groups[1] == val.names[1].split("_")[0]
    assert open_data(tmp_path, group="^(p[0-9]+)_", seed=1).splits["val"].names == val.names
    assert open_data(tmp_path).splits["val"].groups == open_data(tmp_path).splits["val"].names
    with pytest.raises(InputError, match="finds nothing"):
        open_data(tmp_path, group="patient")


def test_groups_with_split_folders(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", NAMES)
    source = open_data(tmp_path, group="^p[0-9]+")
    assert source.drawn and {split: len(part) for split, part in source.splits.items()} == {"train": 8, "val": 2}
    assert not set(source.splits["train"].groups) & set(source.splits["val"].groups)
    write_folder(tmp_path / "val", NAMES)
    source = open_data(tmp_path, group="^p[0-9]+")
    assert not source.drawn and source.splits["train"].groups[:3] == ("p0", "p0", "p1")
    assert source.splits["train"][2].name == "p1_z2"


def test_a_stored_split_comes_back(tmp_path: Path) -> None:
    write_folder(tmp_path, NAMES)
    stored = {"train": ["p3_z7", "p0_z0"], "val": ["p1_z3"]}
    source = open_data(tmp_path, stored_split=stored)
    assert {split: list(examples.names) for split, examples in source.splits.items()} == stored and source.drawn
    foreign = open_data(tmp_path, stored_split={"train": ["other"]})
    assert list(foreign.splits) == ["all"] and list(foreign.splits["all"].names) == list(NAMES) and not foreign.drawn


def test_a_run_reads_further_data_in_its_own_sense(tmp_path: Path) -> None:
    trained = open_data(write_folder(tmp_path / "one", {"a": (0, 1, 2), "b": (0, 3)})).description
    write_folder(tmp_path / "two" / "test", {"c": (0, 1)})
    assert open_data(tmp_path / "two").description.class_names == ("background", "foreground")
    assert open_data(tmp_path / "two", expected=trained).description.class_names == trained.class_names


def test_one_image_only(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": (0, 1)})
    with pytest.raises(InputError, match=r"one image only"):
        open_data(tmp_path)


def test_nothing_matches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder"):
        open_data(tmp_path / "absent")
    with pytest.raises(InputError, match=r"looked for .*images/.*npz.*found nothing"):
        open_data(tmp_path)
    for index in range(9):
        save(tmp_path / f"scan{index}.png", gray())
    with pytest.raises(InputError, match=r"found scan0\.png, .*scan5\.png and 3 more"):
        open_data(tmp_path)
    with pytest.raises(InputError, match=r"a single file.*give the folder"):
        open_data(tmp_path / "scan0.png")
    save(tmp_path / "train" / "labels" / "a.png", mask(0))
    with pytest.raises(InputError, match=r"train/ holds labels/"):
        open_data(tmp_path)


def test_ambiguous_folders(tmp_path: Path) -> None:
    write_folder(tmp_path / "val", {"a": (0, 1)})
    write_folder(tmp_path, {"b": (0, 1)})
    with pytest.raises(InputError, match=r"masks/ lies beside split folders \(val\)"):
        open_data(tmp_path)
    write_folder(tmp_path / "validation", {"a": (0, 1)})
    with pytest.raises(InputError, match=r"val .*validation are the same split"):
        open_data(tmp_path)


def test_several_npz_files_without_splits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", images=np.zeros((2, 3, 4)), masks=np.zeros((2, 3, 4), dtype=np.uint8))
    with pytest.raises(InputError, match=r"found a\.npz, b\.npz"):
        open_data(tmp_path)
