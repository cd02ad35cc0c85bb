"""Models of the package: read by name wherever a run is read, never written, and shipped with all that they need."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import plurimask.pretrained
from plurimask import Plan, load_pretrained, load_run, open_data, train_run
from plurimask.commands.main import main
from plurimask.errors import InputError
from plurimask.pretrained import data_of, example_images, folder_of, images_of, names
from plurimask.runs.combine import combine_runs
from plurimask.runs.record import read_record
from plurimask.runs.start import lasting_name

NAME = "lesion-36"
SETTINGS = {"channels": (4, 6), "max_steps": 4, "num_validations": 1, "validation_samples": 2, "batch_size": 3}


@pytest.fixture(scope="module")
def package(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the package would ship: a run with examples, read-only."""
    here = tmp_path_factory.mktemp("package")
    train_run(Plan("unet", settings={**SETTINGS, "ema_decay": None}), open_data(lesion_folder), here / "run")
    shipped = here / "pretrained" / NAME
    shipped.mkdir(parents=True)
    for file in ("run.json", "weights.safetensors"):
        shutil.copy(here / "run" / file, shipped / file)
    shutil.copytree(lesion_folder / "val", shipped / "examples" / "val")
    for path in (*shipped.rglob("*"), shipped):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return here / "pretrained"


@pytest.fixture(autouse=True)
def shipped(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(plurimask.pretrained, "_HERE", package)
    before = content(package)
    yield package / NAME
    assert content(package) == before, "a model of the package was written into"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_name_stands_for_the_run_and_for_its_examples(shipped: Path) -> None:
    assert names() == (NAME,)
    assert folder_of(f"pretrained:{NAME}") == folder_of(Path(f"pretrained:{NAME}")) == shipped
    assert data_of(f"pretrained:{NAME}") == shipped / "examples"
    assert images_of(f"pretrained:{NAME}") == shipped / "examples" / "val" / "images"
    for find in (folder_of, data_of, images_of):
        assert find("some/run") == Path("some/run")
    run, same = load_pretrained(NAME), load_run(f"pretrained:{NAME}")
    assert run.folder == same.folder == shipped and len(run.examples) == 5
    image = run.read(run.examples[2])
    drawn = run.method(image).sample(3, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, same.method(image).sample(3, torch.Generator().manual_seed(1)))
    assert drawn.shape == (3, 1, 36, 36)


def test_a_run_of_one_s_own_has_no_examples(package: Path) -> None:
    assert load_run(package.parent / "run").examples == () == example_images(package.parent)


@pytest.mark.parametrize("name", ["lesion-63", "", "../x", "..", f"{NAME}/", f"{NAME}/examples", "/", "__pycache__"])
def test_other_names_are_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown pretrained model.*Known: {NAME}"):
        load_pretrained(name)
    with pytest.raises(InputError, match=f"Known: {NAME}"):
        data_of(f"pretrained:{name}")


def test_every_command_that_reads_a_run_takes_the_name(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = data = f"pretrained:{NAME}"
    assert main(["evaluate", run, data, "--samples", "2", "--out", "e.json"]) == 0
    assert json.loads(Path("e.json").read_text())["run"] == run
    assert main(["predict", run, data, "--out", "masks", "--samples", "2"]) == 0
    assert len([*Path("masks").glob("*/mask.png")]) == 5
    assert main(["report", run, data, "--out", "report.html", "--samples", "2"]) == 0
    assert main(["figures", run, data, "--out", "figures", "--samples", "2"]) == 0
    assert main(["combine", run, run, "--out", "both"]) == 0
    assert len(load_run("both").method.parts()) == 2
    assert main(["compare", data, "--runs", run, "both", "--out", "cmp", "--samples", "2"]) == 0
    assert {path.name for path in Path().iterdir()} >= {
        "e.json",
        "e.csv",
        "masks",
        "report.html",
        "figures",
        "both",
        "cmp",
    }
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("pretrained:")]
    capsys.readouterr()
    assert main(["evaluate", "pretrained:lesion", data]) == 2
    assert f"did you mean {NAME}" in capsys.readouterr().err
    assert main(["report", run, "pretrained:other", "--out", "other.html"]) == 2
    assert f"Known: {NAME}" in capsys.readouterr().err


def test_a_training_goes_on_from_a_model(lesion_folder: Path, tmp_path: Path) -> None:
    words = f"--method swag --from pretrained:{NAME} --max-steps 4 --burn-in 1 --collect-every 1 --draws 2".split()
    assert main(["train", str(lesion_folder), *words, "--num-validations", "1", "--out", str(tmp_path / "swag")]) == 0
    start = read_record(tmp_path / "swag").start
    assert start is not None and start.folder == f"pretrained:{NAME}"
    assert lasting_name(str(tmp_path)) == str(tmp_path.resolve())


def test_how_masks_are_stored_makes_no_other_data(lesion_folder: Path, tmp_path: Path) -> None:
    """A model that was trained on masks of 0/255 is gone on from with the same images and masks of 0/1."""
    folder = Path(shutil.copytree(lesion_folder, tmp_path / "data"))
    for path in folder.rglob("masks/*/*.png"):
        Image.fromarray((np.array(Image.open(path)) > 0).astype(np.uint8)).save(path)
    words = f"--method swag --from pretrained:{NAME} --max-steps 4 --burn-in 1 --collect-every 1 --draws 2".split()
    assert main(["train", str(folder), *words, "--num-validations", "1", "--out", str(tmp_path / "swag")]) == 0


@pytest.mark.parametrize(
    "command",
    [
        ["train", "DATA", "--method", "unet", "--max-steps", "2", "--out", "OUT"],
        ["train", "DATA", "--method", "unet", "--overwrite", "--out", "OUT"],
        ["train", "DATA", "--method", "unet", "--resume", "--out", "OUT"],
        ["combine", "OUT", "OUT", "--out", "OUT", "--overwrite"],
        ["evaluate", "OUT", "OUT", "--out", "OUT"],
        ["predict", "OUT", "OUT", "--out", "OUT"],
        ["report", "OUT", "OUT", "--out=OUT"],
        ["figures", "OUT", "OUT", "--out", "OUT", "--overwrite"],
        ["compare", "DATA", "--runs", "OUT", "--out", "OUT"],
        ["demo", "--out", "OUT"],
    ],
    ids=lambda command: " ".join(command),
)
def test_nothing_is_written_into_a_model(
    command: list[str],
    lesion_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.replace("OUT", f"pretrained:{NAME}").replace("DATA", str(lesion_folder)) for word in command]
    assert main(words) == 2
    assert "only read" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_nor_from_python_or_by_its_path(shipped: Path, lesion_folder: Path, tmp_path: Path) -> None:
    source = open_data(lesion_folder)
    for out in (f"pretrained:{NAME}", shipped, shipped.parent / "mine"):
        with pytest.raises(InputError, match="only read"):
            train_run(Plan("unet", settings=SETTINGS), source, out, overwrite=True)
        with pytest.raises(InputError, match="only read"):
            combine_runs([shipped, shipped], out, overwrite=True)
