"""Names from files lead nowhere, and are shown as they are."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attack import run
from data_trees import gray, mask, save
from stock import FEW, TINY, plain

from plurimask.compare.measure import restore
from plurimask.errors import InputError, one_line
from plurimask.runs.lock import LOCK_FILE


@pytest.mark.parametrize("names", [("../secret", "../secret2"), ("..", "."), ("", "a"), ("SECRET/a", "SECRET/b")])
def test_channel_names_stay_within_the_data(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in ("secret", "secret2", "SECRET/a", "SECRET/b"):
        save(tmp_path / name / "i0.png", gray(0))
        save(tmp_path / name / "i1.png", gray(1))
    data = tmp_path / "data"
    for number in range(2):
        save(data / "masks" / f"i{number}.png", mask(0, 1))
    named = [str(tmp_path / name) if name.isupper() else name for name in names]
    (data / "dataset.json").write_text(json.dumps({"channel_names": dict(zip("01", named, strict=True))}))
    code, printed = run(["check", str(data)])
    assert code == 2 and "dataset.json" in printed


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/../b", "", "n" * 5000, "x\ny"])
def test_names_of_images_stay_within_the_output(trained: Path, tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack([gray(1), gray(2)]), names=np.array([name, "b"]))
    code, printed = run(["predict", str(trained), str(tmp_path / "a.npz"), "--out", str(tmp_path / "out")])
    assert code == 2 and "a plain name" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_names_with_square_brackets_and_formulas(trained: Path, tmp_path: Path) -> None:
    """What a terminal's markup or a spreadsheet would take for its own."""
    images, out = tmp_path / "[bold]", tmp_path / "out[/x]"
    for name in ("=1+1", "[i2]", "+x"):
        save(images / f"{name}.png", gray(3))
    code, printed = run(["predict", str(trained), str(images), "--out", str(out), "--samples", "2"])
    assert code == 0 and str(out) in printed
    with (out / "uncertainty.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["'+x", "'=1+1", "[i2]"]
    assert all(float(row["num_objects"]) >= 0 for row in rows)
    code, printed = run(["evaluate", str(tmp_path / "[no run]"), str(images)])
    assert code == 2 and "[no run]" in printed


def test_a_comparison_of_runs_with_odd_names(data: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "[red]")
    words = ["compare", str(data), "--runs", str(tmp_path / "[red]"), str(trained), "--samples", "2"]
    code, printed = run([*words, "--out", str(tmp_path / "out")])
    assert code == 0 and "evaluating [red]" in printed and "\n[red] " in printed
    with (tmp_path / "out" / "evaluations" / "[red].npz").open("r+b") as stream:
        stream.truncate(300)
    code, printed = run([*words, "--out", str(tmp_path / "out")])
    assert code == 0 and "evaluating [red]" in printed and "evaluating run" not in printed


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", b"x" * 500])
def test_a_damaged_evaluation_is_measured_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert restore("a", "key", tmp_path) is None
    np.savez(tmp_path / "a.npz", plain=np.frombuffer(json.dumps({"key": "key", "rows": 3}).encode(), np.uint8))
    assert restore("a", "key", tmp_path) is None


def test_what_no_terminal_should_be_sent_is_escaped() -> None:
    assert one_line("a\x1b[31mb\nc\u202ed\udce4") == "a\\x1b[31mb c\\u202ed\\udce4"
    assert str(InputError("é ü 中 [x]")) == "é ü 中 [x]"


@pytest.mark.parametrize("name", ["", ".x", "os.path:", ":x", "a b:c", "antigravity!:x", "x" * 5000 + ":y"])
def test_names_of_methods_that_are_no_import_paths(name: str) -> None:
    code, printed = run(["train", "data", "--method", name, "--out", "out"])
    assert code == 2 and len(printed) < 2100


def test_a_module_that_ends_the_process_when_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ends_at_once.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    code, printed = run(["train", "data", "--method", "ends_at_once:Method", "--out", "out"])
    assert code == 2 and "cannot be imported (SystemExit" in printed


@pytest.mark.parametrize("pattern", ["*" * 40 + ".png", "**/" * 20 + "*.png", "a*" * 30])
def test_patterns_that_match_in_too_many_ways(tmp_path: Path, pattern: str) -> None:
    save(tmp_path / ("a" * 60 + ".tif"), gray(0))
    code, printed = run(
        ["import", str(tmp_path), "--images", pattern, "--masks", "x=*", "--out", str(tmp_path / "out")]
    )
    assert code == 2 and "too many wildcards" in printed


@pytest.mark.parametrize("option", ["DATA", "--out", "--config"])
def test_an_empty_word_is_no_path(option: str) -> None:
    """Such as a variable of the shell that is not set: not the folder where one is."""
    words = {"DATA": "data", "--out": "out", option: ""}
    line = ["train", words.pop("DATA"), "--method", "unet", *[word for pair in words.items() for word in pair]]
    code, printed = run(line)
    assert code == 2 and "an empty word" in printed


def test_a_terminal_that_cannot_show_a_name(tmp_path: Path) -> None:
    """The names of classes are printed; a terminal without such letters has them as escapes."""
    data = plain(tmp_path / "data")
    (data / "dataset.json").write_text('{"labels": {"background": 0, "\\u65e5\\u672c": 1}}')
    command = [sys.executable, "-m", "plurimask", "check", str(data)]
    ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False)
    assert ended.returncode == 0 and b"\\u65e5" in ended.stdout


def test_a_lock_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    """It would empty whatever it leads to."""
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK_FILE).symlink_to("../precious")
    words = ["train", str(plain(tmp_path / "data")), "--method", "unet", "--out", str(tmp_path / "run"), *TINY, *FEW]
    code, printed = run(words)
    assert code == 2 and LOCK_FILE in printed
    assert (tmp_path / "precious").read_text() == "kept"
