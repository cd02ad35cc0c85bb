"""`plurimask import`: any tree becomes the plain layout, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import gray, mask, save

from plurimask.commands.main import main
from plurimask.data import open_data


def study(folder: Path) -> Path:
    for patient in ("p1", "p2", "p3"):
        save(folder / patient / "t1" / "7.png", gray(3))
        save(folder / patient / "anna" / "7_seg.png", mask(0, 1, 2, 3))
    save(folder / "p1" / "ben" / "7_seg.png", mask(0, 2))
    return folder


def test_a_tree_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = ["--masks", "anna=*/anna/*_seg.png", "ben=*/ben/*_seg.png"]
    words = ["import", str(study(tmp_path / "tree")), "--images", "*/t1/*.png", *masks, "--foreground"]
    assert main([*words, "--out", str(tmp_path / "[data]")]) == 0
    assert f"Next: plurimask check '{tmp_path}/[data]'" in capsys.readouterr().err
    source = open_data(tmp_path / "[data]")
    assert source.description.rater_names == ("anna", "ben") and source.description.masks == "foreground"
    examples = {one.name: one for split in source.splits.values() for one in split}
    assert sorted(examples) == ["p1/7", "p2/7", "p3/7"]
    assert (examples["p1/7"].labels.numpy() == np.stack([mask(0, 1, 2, 3), mask(0, 2)]).clip(max=1)).all()
    assert (examples["p2/7"].labels[1] == 255).all()
    assert main([*words, "--out", str(tmp_path / "[data]")]) == 2


@pytest.mark.parametrize("masks", ["anna=", "anna=*/anna/*.gif", "*/*/*_seg.png", "anna=*/anna/7_seg.png"])
def test_what_does_not_fit_writes_nothing(tmp_path: Path, masks: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", str(study(tmp_path / "tree")), "--images", "*/t1/*.png", "--masks", masks]
    assert main([*words, "--out", str(tmp_path / "data")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1 and not (tmp_path / "data").exists()
