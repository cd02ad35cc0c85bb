"""Masks that a person chose: what each choice means, that nothing is lost, and that each step can be undone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from plurimask.data import DataDescription
from plurimask.errors import InputError
from plurimask.viewer import saving
from plurimask.viewer.errors import Answer, Exists, NotFound
from plurimask.viewer.saving import Choice, Saving, chosen_map

SAMPLES = np.array([[[0, 1, 1, 2]], [[0, 1, 2, 2]], [[0, 0, 2, 2]]], np.uint8)
LIKELY = np.array([[0, 1, 2, 2]], np.uint8)
MEAN = np.array([[[60000, 30000, 1000, 0]], [[3000, 25000, 30000, 5535]], [[2535, 10535, 34535, 60000]]], np.uint16)
CHOICES: TypeAdapter[Choice] = TypeAdapter(Choice)


def about(has_background: bool = True, values: tuple[int, ...] = (0, 127, 300)) -> DataDescription:
    return DataDescription(
        layout="made up",
        class_names=("background" if has_background else "sky", "a", "b"),
        class_values=values,
        ignore_value=None,
        has_background=has_background,
        encoding="made up",
        channel_names=("x",),
        rater_names=("r",),
    )


def chosen(has_background: bool = True, **choice: object) -> list[int]:
    return chosen_map(CHOICES.validate_python(choice), SAMPLES, LIKELY, MEAN, [2], has_background)[0].tolist()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"kind": "sample", "sample": 1}, [0, 1, 2, 2]),
        ({"kind": "reading", "reading": 0}, [0, 0, 2, 2]),
        ({"kind": "mean"}, [0, 1, 2, 2]),
        ({"kind": "mean", "threshold": 0.0}, [1, 1, 2, 2]),
        ({"kind": "mean", "threshold": 0.5}, [0, 1, 2, 2]),
        ({"kind": "mean", "threshold": 0.99}, [0, 0, 0, 2]),
        ({"kind": "union"}, [0, 1, 2, 2]),
        ({"kind": "union", "samples": [2]}, [0, 0, 2, 2]),
        ({"kind": "intersection"}, [0, 0, 2, 2]),
        ({"kind": "intersection", "samples": [0, 1]}, [0, 1, 1, 2]),
    ],
)
def test_what_a_choice_means(choice: dict[str, object], expected: list[int]) -> None:
    assert chosen(**choice) == expected


def test_without_a_background_there_is_agreement_or_nothing() -> None:
    assert chosen(False, kind="intersection") == [0, 255, 255, 2]
    assert chosen(False, kind="mean") == [0, 1, 2, 2]
    for choice in ({"kind": "union"}, {"kind": "mean", "threshold": 0.5}):
        with pytest.raises(Answer, match="background"):
            chosen(False, **choice)


@pytest.mark.parametrize("choice", [{"kind": "sample", "sample": 3}, {"kind": "union", "samples": [0, 9]}])
def test_a_sample_that_is_not_there_is_named(choice: dict[str, object]) -> None:
    with pytest.raises(NotFound, match="0 to 2"):
        chosen(**choice)


@pytest.mark.parametrize(
    "choice",
    [
        {"kind": "mean", "threshold": 1.5},
        {"kind": "mean", "threshold": float("nan")},
        {"kind": "sample", "sample": -1},
        {"kind": "sample", "sample": 0, "path": "/etc"},
        {"kind": "union", "samples": []},
        {"kind": "latent", "x": 1e9, "y": 0},
        {"kind": "scales", "levels": [256]},
        {"kind": "else"},
        {},
    ],
)
def test_choices_that_mean_nothing_are_refused(choice: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CHOICES.validate_python(choice)


def labels(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def told(kind: str) -> dict[str, object]:
    return {"choice": {"kind": kind}, "seed": 3}


def test_a_mask_has_the_values_of_the_data_and_a_record(tmp_path: Path) -> None:
    desk = Saving(tmp_path / "out", about())
    answer = desk.save(4, "patient 7/slice ä", labels(0, 1, 2, 2), told("mean"), overwrite=False)
    assert answer == {"file": "patient 7/slice ä.png", "record": "patient 7/slice ä.json", "undo": 1}
    with Image.open(tmp_path / "out" / "patient 7" / "slice ä.png") as mask:
        assert np.asarray(mask).tolist() == [[0, 127, 300, 300]]
    record = json.loads((tmp_path / "out" / "patient 7" / "slice ä.json").read_text())
    assert (record["image"], record["choice"], record["seed"]) == ("patient 7/slice ä", {"kind": "mean"}, 3)
    saved = desk.saved(4)
    assert saved is not None and saved.file == "patient 7/slice ä.png"


def test_nothing_is_written_over_unless_somebody_says_so(tmp_path: Path) -> None:
    desk = Saving(tmp_path, about())
    desk.save(0, "a", labels(0, 1), told("mean"), overwrite=False)
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(Exists, match=r"a\.png is there already") as error:
        desk.save(0, "a", labels(1, 1), told("union"), overwrite=False)
    assert error.value.more == {"exists": True, "choice": {"kind": "mean"}}
    assert (tmp_path / "a.png").read_bytes() == before
    desk.save(0, "a", labels(1, 1), told("union"), overwrite=True)
    assert (tmp_path / "a.png").read_bytes() != before


def test_a_strangers_file_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("not json")
    with pytest.raises(Exists) as error:
        Saving(tmp_path, about()).save(0, "a", labels(0), told("mean"), overwrite=False)
    assert error.value.more["choice"] is None
    assert not (tmp_path / "a.png").exists()


def test_each_save_can_be_undone_the_last_first(tmp_path: Path) -> None:
    desk = Saving(tmp_path, about())
    (tmp_path / "a.png").write_bytes(b"a stranger's")
    desk.save(0, "a", labels(0, 1), told("mean"), overwrite=True)
    first = (tmp_path / "a.png").read_bytes()
    desk.save(0, "a", labels(1, 1), told("union"), overwrite=True)
    assert desk.undo(None) == {"image": 0, "restored": True, "left": 1}
    assert (tmp_path / "a.png").read_bytes() == first
    assert desk.saved(0).choice == {"kind": "mean"}
    assert desk.undo(1) == {"image": 0, "restored": True, "left": 0}
    assert (tmp_path / "a.png").read_bytes() == b"a stranger's"
    assert not (tmp_path / "a.json").exists()
    assert desk.saved(0) is None
    with pytest.raises(Exists, match="nothing to undo"):
        desk.undo(None)


@pytest.mark.parametrize("is_removed", [False, True])
def test_what_somebody_changed_since_is_left_as_it_is(tmp_path: Path, is_removed: bool) -> None:
    desk = Saving(tmp_path, about())
    desk.save(0, "a", labels(0, 1), told("mean"), overwrite=False)
    if is_removed:
        (tmp_path / "a.png").unlink()
    else:
        (tmp_path / "a.png").write_bytes(b"edited by hand")
    with pytest.raises(Exists, match="changed since"):
        desk.undo(None)
    assert is_removed or (tmp_path / "a.png").read_bytes() == b"edited by hand"


def test_undo_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "MAX_UNDO", 2)
    desk = Saving(tmp_path, about())
    for number in range(3):
        desk.save(number, f"i{number}", labels(0, 1), told("mean"), overwrite=False)
    assert [desk.undo(None)["image"] for _ in range(2)] == [2, 1]
    with pytest.raises(Exists):
        desk.undo(None)
    assert (tmp_path / "i0.png").exists()


@pytest.mark.parametrize("name", ["../a", "/etc/a", "link/a", "a/../../b", "b/../../../x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "link").symlink_to(elsewhere)
    with pytest.raises(InputError, match="rename the image"):
        Saving(out, about()).save(0, name, labels(0), told("mean"), overwrite=True)
    assert not any(elsewhere.iterdir()) and {path.name for path in tmp_path.iterdir()} == {"out", "elsewhere"}
