"""Any tree of files by --images and --masks, from training to prediction; the run remembers the patterns."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from data_trees import gray, mask, save, write_folder

from plurimask.commands.main import main
from plurimask.runs.record import read_record

TINY = "--channels 6 8 --batch-size 3 --max-steps 2 --num-validations 1 --validation-samples 2".split()  # noqa: SIM905
PATTERNS = ["--images", "*/t1/*.png", "--masks", "anna=*/anna/*_seg.png", "ben=*/ben/*_seg.png", "--foreground"]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose masks number their objects, of seven patients; the folder that one is in has a space in its name."""
    here = tmp_path / "a study"
    for number in range(7):
        patient = here / "our data" / f"p{number}"
        save(patient / "t1" / "7.png", gray(number, 15, 22))
        save(patient / "anna" / "7_seg.png", mask(0, 0, 1, 2, 3, height=15, width=22))
        save(patient / "ben" / "7_seg.png", mask(0, 2, height=15, width=22))
    monkeypatch.chdir(here)
    return here


def test_the_next_line_works_as_it_stands(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "our data", *PATTERNS, "--method", "unet", *TINY, "--out", "my run"]) == 0
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("Next: "))
    for command in line.removeprefix("Next: ").split("   or   "):
        program, *words = shlex.split(command)
        assert program == "plurimask" and main(words) == 0
    record = read_record(Path("my run"))
    assert record.data.patterns is not None and record.data.patterns.masks["ben"] == "*/ben/*_seg.png"
    assert record.data.masks == "foreground" and record.data.rater_names == ("anna", "ben")
    assert record.split is not None and min(map(min, record.split.values())) == "p0/7"


def test_a_run_without_data_reads_the_folder_that_one_is_in(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("our data")
    assert main(["train", *PATTERNS, "--method", "unet", *TINY, "--out", "../run"]) == 0
    assert "Next: plurimask evaluate ../run .   or" in capsys.readouterr().err
    assert main(["evaluate", "../run", ".", "--samples", "2"]) == 0
    stored = capsys.readouterr().out
    assert main(["evaluate", "../run", *PATTERNS, "--samples", "2"]) == 0
    assert capsys.readouterr().out == stored
    assert main(["compare", *PATTERNS, "--runs", "../run", "--samples", "2", "--out", "../compared"]) == 0
    assert main(["predict", "../run", "--images", "*/t1/*.png", "--samples", "2", "--out", "../masks"]) == 0
    predicted = sorted(path.parent.relative_to("../masks") for path in Path("../masks").rglob("mask.png"))
    assert predicted == [Path(f"p{number}/7") for number in range(7)]
    assert main(["predict", "../run", ".", "--samples", "2", "--out", "../all"]) == 0
    assert "every image in . is taken; in training they were --images '*/t1/*.png'" in capsys.readouterr().err
    assert len(list(Path("../all").rglob("mask.png"))) == 21


def test_a_run_by_patterns_takes_a_plain_folder_too(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "our data", *PATTERNS, "--method", "unet", *TINY, "--out", "run"]) == 0
    write_folder(Path("plain"), {f"i{number}": (0, 1) for number in range(3)})
    assert main(["evaluate", "run", "plain", "--split", "all"]) == 2
    assert "the patterns are those that the run was trained with" in capsys.readouterr().err
    assert main(["evaluate", "run", "plain", "--split", "all", "--images", "none", "--samples", "2"]) == 0
    assert "3 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("check", "DATA is missing"),
        ("evaluate run", "DATA is missing"),
        ("check --images */t1/*.png", "no pattern for masks"),
        ("check our --masks a=*/anna/*.png", "none for the images"),
        ("check our --images none --masks a=*/anna/*.png", "none for the images"),
        ("check --images */t1/*.png --masks a=*/anna/*.png our", "takes all words up to the next option"),
        ("check --images a.png --masks a=*/anna/*.png", "in quotes"),
        ("predict run --out p", "PATH is missing"),
        ("predict run our --images */t2/*.png --out p", "matches no image"),
    ],
)
def test_what_is_missing_is_said(study: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("our data").rename("our")
    if "predict run our" in words:
        assert main(["train", "our", *PATTERNS, "--method", "unet", *TINY, "--out", "run"]) == 0
        capsys.readouterr()
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_instance_masks_are_read_as_foreground_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, {f"i{number}": (0, 1, 1, 2, 3 + number) for number in range(6)})
    assert main(["check", str(tmp_path)]) == 0
    assert "9: class 0, " in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--foreground"]) == 0
    assert "2: background, foreground" in capsys.readouterr().out


def test_foreground_is_refused_where_it_has_no_meaning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "instances").mkdir()
    (tmp_path / "classes").mkdir()
    assert main(["check", str(tmp_path), "--foreground"]) == 2
    assert "cannot be read as foreground" in capsys.readouterr().err
