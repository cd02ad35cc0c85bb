"""`plurimask view`: what it refuses, and what it says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi", reason="the viewer is not installed: pip install 'plurimask[view]'")

from plurimask.commands import view
from plurimask.commands.main import main
from plurimask.viewer import serve
from plurimask.viewer.desk import Desk


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Desk]:
    """The desks of servers that were started; none waits."""
    desks: list[Desk] = []

    class Ended(serve.Server):
        def wait(self) -> None:
            desks.append(self.desk)

    monkeypatch.setattr(serve, "Server", Ended)
    monkeypatch.setattr(view, "OPENING_SECONDS", 60)
    return desks


@pytest.fixture
def paths(runs: Callable[[str], Path], lesion_folder: Path, tmp_path: Path) -> dict[str, str]:
    """What words on a command line stand for."""
    (tmp_path / "file").write_text("")
    images = lesion_folder / "val" / "images"
    found = {"RUN": runs("probabilistic-unet"), "DATA": lesion_folder, "DATA/val/images": images}
    return {name: str(path) for name, path in (found | {"FILE": tmp_path / "file"}).items()}


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What it prints, with these options; it ends well."""
    assert main(["view", *words]) == 0
    return capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["view", *words]) == 2
    return capsys.readouterr().err


def test_where_it_is_missing_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(view, "find_spec", lambda name: None if name == "uvicorn" else SimpleNamespace())
    assert refused(capsys, "RUN") == "plurimask: the viewer is not installed: pip install 'plurimask[view]'\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "val"], "DATA is missing"),
        (["nothing/here"], "no such file or folder"),
        (["--port", "70000"], "--port 70000"),
        (["--samples", "0"], "--samples 0"),
        (["--out", "FILE"], "a file; give the name of a folder"),
        (["DATA", "--split", "none"], "unknown split"),
        (["DATA/val/images", "--split", "val"], "not recognised as a data set"),
        (["DATA", "--beside", "DATA"], "no run there"),
        (["DATA", "--host", "192.0.2.1"], "--host 192.0.2.1: cannot be listened at"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_it_starts(
    paths: dict[str, str], shown: list[Desk], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    told = refused(capsys, paths["RUN"], *(paths.get(word, word) for word in words), "--no-browser")
    assert message in told and told.count("\n") == 1 and not shown


def test_it_says_the_address_and_opens_the_browser_with_another(
    runs: Callable[[str], Path],
    lesion_folder: Path,
    tmp_path: Path,
    shown: list[Desk],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(view, "_open", opened.append)
    words = [str(runs("probabilistic-unet")), str(lesion_folder), "--beside", str(runs("m-heads"))]
    words += ["--split", "train", "--samples", "3", "--seed", "9", "--out", str(tmp_path / "out")]
    printed = said(capsys, *words)
    address = next(word for word in printed.split() if word.startswith("http://127.0.0.1:"))
    assert len(opened) == 1 and opened[0].split("?")[0] == address.split("?")[0] and opened[0] != address
    (desk,) = shown
    assert (len(desk.runs), len(desk.gallery.data_names)) == (2, 12)
    assert (desk.sampling.num_samples, desk.sampling.seed) == (3, 9)
    assert "--host" not in printed
    said(capsys, *words, "--no-browser")
    assert len(opened) == 1


def test_a_model_of_the_package_is_shown_with_its_examples(
    paths: dict[str, str],
    shown: list[Desk],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    shipped = tmp_path / "shipped"
    shutil.copytree(paths["RUN"], shipped / "lesions")
    shutil.copytree(paths["DATA"], shipped / "lesions" / "examples", ignore=shutil.ignore_patterns("train"))
    monkeypatch.setattr("plurimask.pretrained._HERE", shipped)
    said(capsys, "pretrained:lesions", "--no-browser")
    (desk,) = shown
    assert (desk.runs[0].name, len(desk.gallery.data_names), desk.gallery.is_labelled) == ("lesions", 5, True)
    assert "Known: lesions" in refused(capsys, "pretrained:brains", "--no-browser")


def test_another_host_is_warned_of(
    runs: Callable[[str], Path], shown: list[Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(capsys, str(runs("probabilistic-unet")), "--host", "0.0.0.0", "--no-browser")
    assert "other machines can reach this page. Nothing is encrypted" in printed
    assert "http://127.0.0.1:" in printed and not shown[0].gallery.data_names


def test_a_browser_without_a_window_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, ...]] = []

    def thread(target: object, args: tuple[str, ...], daemon: bool) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: opened.append(args))

    monkeypatch.setattr(view.threading, "Thread", thread)
    monkeypatch.setattr(view.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    view._open("link")
    assert not opened
    monkeypatch.setenv("DISPLAY", ":0")
    view._open("link")
    assert opened == [("link",)]
