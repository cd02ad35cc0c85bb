"""What is known of files from an earlier scan: used while they have not changed, and never trusted."""

from __future__ import annotations

import os
import time
import zlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plurimask.commands.main import main
from plurimask.data import known, open_data
from plurimask.data.known import FileStates, KnownFiles, cache_folder
from plurimask.data.layouts import scan
from plurimask.data.unlabelled import open_images
from plurimask.data.worlds.lesions import lesion_source, write_folder
from plurimask.errors import InputError

NUM_FILES = 25  # five images with four readers each


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PLURIMASK_INDEX", "1")
    monkeypatch.setattr(known, "SLOW_SECONDS", 0.0)
    return tmp_path / "cache" / "plurimask" / "known"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_folder(lesion_source(num_train=3, num_val=2, seed=3, size=36), folder)
    ago = time.time() - 60
    for path in folder.rglob("*.png"):
        os.utime(path, (ago, ago))
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images whose files were read in a scan."""
    seen: list[Path] = []
    once = scan.channel_shape

    def counted(paths: list[Path]) -> tuple[int, ...]:
        seen.extend(paths)
        return once(paths)

    monkeypatch.setattr(scan, "channel_shape", counted)
    return seen


def test_files_are_read_once(data: Path, reads: list[Path], cache: Path) -> None:
    first = open_data(data)
    assert len(reads) == 5 and not any("known" in note for note in first.notes)
    assert [path.suffix for path in cache.iterdir()] == [".z"]
    reads.clear()
    second = open_data(data)
    assert reads == []
    assert second.description == first.description
    assert any(f"of {NUM_FILES} files are known from a scan of 20" in note for note in second.notes)
    assert any("0 were read" in note for note in second.notes)


def test_what_has_changed_is_read_again(data: Path, reads: list[Path]) -> None:
    open_data(data)
    reads.clear()
    image = sorted((data / "train" / "images").iterdir())[1]
    mask = next((data / "val" / "masks").rglob("*.png"))
    for path in (image, mask):
        os.utime(path, (1, 1))
    new = sorted((data / "train" / "images").iterdir())[0]
    new.rename(new.with_name("new.png"))
    for reader in (data / "train" / "masks").iterdir():
        (reader / new.name).rename(reader / "new.png")
    source = open_data(data)
    assert sorted(path.name for path in reads) == sorted([image.name, f"{mask.stem}.png", "new.png"])
    assert any("10 files are known" in note and "15 were read" in note for note in source.notes)


def test_a_mask_that_fits_no_more_is_found(data: Path) -> None:
    from PIL import Image

    open_data(data)
    mask = next((data / "val" / "masks").rglob("*.png"))
    Image.new("L", (20, 20)).save(mask)
    with pytest.raises(InputError, match=mask.name):
        open_data(data)


@pytest.mark.parametrize("damage", ["cut", "text", "other", "values", "bomb"])
def test_a_damaged_cache_is_ignored_and_made_anew(data: Path, reads: list[Path], cache: Path, damage: str) -> None:
    open_data(data)
    file = next(cache.iterdir())
    content = file.read_bytes()
    text = zlib.decompress(content)
    file.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "text": b"no cache",
            "other": zlib.compress(b"[1, 2]"),
            "values": zlib.compress(text.replace(b'"numbers": [', b'"numbers": [99, ')),
            "bomb": zlib.compress(bytes(2**29), 1),
        }[damage]
    )
    reads.clear()
    assert not any("known" in note for note in open_data(data).notes)
    assert len(reads) == 5
    assert zlib.decompress(file.read_bytes()).startswith(b'{"identity"')


def test_it_can_be_switched_off(data: Path, reads: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLURIMASK_INDEX", "0")
    for _ in range(2):
        open_data(data)
    assert len(reads) == 10 and not cache.exists()


def test_young_files_and_quick_scans_are_not_remembered(
    data: Path, cache: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "SLOW_SECONDS", 1e6)
    open_data(data)
    assert not cache.exists()
    monkeypatch.setattr(known, "SLOW_SECONDS", 0.0)
    for path in data.rglob("*.png"):
        os.utime(path)  # it may change once more within the clock's step
    for _ in range(2):
        open_data(data)
    assert len(reads) == 15


def test_a_cache_that_cannot_be_written_is_none(data: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    for _ in range(2):
        assert not any("known" in note for note in open_data(data).notes)


def test_the_oldest_go(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MAX_FILES", 3)
    file = tmp_path / "file"
    file.write_text("1")
    os.utime(file, (1, 1))
    for number in range(5):
        one = KnownFiles("numbers", tmp_path, str(number))
        assert one.get([file]) is None
        one.put([file], number)
        one.save()
        os.utime(one.path or file, (number, number))
    assert len(list(cache.iterdir())) == 3
    assert [KnownFiles("numbers", tmp_path, str(number)).get([file]) for number in range(5)] == [None, None, 2, 3, 4]


def test_images_for_prediction_are_known_too(data: Path) -> None:
    for said in (False, True):
        images = open_images(data / "val" / "images", ("intensity",))
        assert any("known" in note for note in images.notes) == said


def test_check_says_the_same_from_what_is_known(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = []
    for _ in range(2):
        assert main(["check", str(data)]) == 0
        reports.append([line for line in capsys.readouterr().out.splitlines() if line and "known from" not in line])
    assert reports[0] == reports[1]


def test_a_second_check_looks_at_each_file_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looks() -> Counter[str]:
        seen: Counter[str] = Counter()
        once = os.stat

        def counted(path: str, *arguments: Any, **options: Any) -> os.stat_result:
            seen[str(path)] += 1
            return once(path, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(known, "os", SimpleNamespace(**{**vars(os), "stat": counted}))
            assert main(["check", str(data)]) == 0
        return Counter({name: count for name, count in seen.items() if name.endswith(".png")})

    looks()
    assert looks() == Counter({str(path): 1 for path in data.rglob("*.png")})


def test_a_file_that_changes_between_two_looks_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("1")
    os.utime(file, (1, 1))
    states = FileStates()
    first = KnownFiles("numbers", tmp_path, states=states)
    assert first.get([file]) is None
    first.put([file], 1)
    os.utime(file, (2, 2))
    first.put([file], 2)  # read after the change, under the state of before
    first.save()
    assert KnownFiles("numbers", tmp_path).get([file]) is None
    os.utime(file, (1, 1))
    assert KnownFiles("numbers", tmp_path).get([file]) == 2


@pytest.mark.parametrize("given", ["relative", ""])
def test_where_it_lies(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "plurimask" / "known"
