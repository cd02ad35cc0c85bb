"""A method from another package does all that one of plurimask does, and its absence is explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from external_method import ENTRY_POINT, IMPORT_PATH, PACKAGE, install

from plurimask.commands.main import main
from plurimask.errors import InputError
from plurimask.methods import build_method, find_method
from plurimask.runs.load import load_run

TINY = ["--batch-size", "3", "--max-steps", "4", "--num-validations", "1", "--validation-samples", "2"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the other package is installed."""
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(folder)
    return folder


def train(data: Path, out: Path, *words: str) -> Path:
    assert main(["train", str(data), *words, *TINY, "--out", str(out)]) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", [ENTRY_POINT, IMPORT_PATH])
def test_it_trains_evaluates_reports_and_predicts(
    package: Path, lesion_folder: Path, tmp_path: Path, name: str
) -> None:
    run = train(lesion_folder, tmp_path / "run", "--method", name, "--spread", "0.7")
    record = json.loads((run / "run.json").read_text())
    assert record["method"] == name
    assert record["config"]["spread"] == 0.7
    assert record["packages"].get("tiny-methods") == ("0.3" if name == ENTRY_POINT else None)
    data, images = str(lesion_folder), str(lesion_folder / "val" / "images")
    assert main(["evaluate", str(run), data, "--samples", "3", "--out", str(tmp_path / "e.json")]) == 0
    assert json.loads((tmp_path / "e.json").read_text())["method"] == name
    assert main(["report", str(run), data, "--samples", "3", "--out", str(tmp_path / "r.html")]) == 0
    assert name in (tmp_path / "r.html").read_text()
    assert main(["predict", str(run), images, "--samples", "3", "--out", str(tmp_path / "p")]) == 0
    assert len(list((tmp_path / "p").glob("*/sample-02.png"))) == 5
    assert main(["train", data, "--method", name, "--out", str(run), "--resume", "--max-steps", "6"]) == 0


@pytest.mark.slow
def test_it_is_a_member_of_ensembles_and_a_contender(package: Path, lesion_folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    members = ["--method", "ensemble", "--members", IMPORT_PATH, "unet", ENTRY_POINT]
    settings.write_text(f'member_settings: {{unet: {{channels: [4, 6]}}, "{IMPORT_PATH}": {{spread: 0.9}}}}\n')
    run = train(lesion_folder, tmp_path / "run", *members, "--config", str(settings))
    first, _, last = load_run(run).method.parts()
    assert first.config.spread == 0.9
    assert last.config.spread == 0.5
    joined = [str(train(lesion_folder, tmp_path / name, "--method", name)) for name in (IMPORT_PATH, ENTRY_POINT)]
    assert main(["combine", *joined, "--out", str(tmp_path / "both")]) == 0
    both = load_run(tmp_path / "both")
    assert len(both.method.parts()) == 2
    assert both.record.packages["tiny-methods"] == "0.3"
    settings.write_text(f"{ENTRY_POINT}: {{spread: 0.8}}\nchannels: [4, 6]\n")
    contenders = ["compare", str(lesion_folder), "--methods", "unet", ENTRY_POINT, IMPORT_PATH, *TINY]
    out = tmp_path / "cmp"
    assert main([*contenders, "--config", str(settings), "--samples", "2", "--out", str(out)]) == 0
    spreads = [load_run(out / "runs" / name).method.config.spread for name in (ENTRY_POINT, "ShiftedLinear")]
    assert spreads == [0.8, 0.5]
    assert load_run(out / "runs" / "unet").method.config.channels == (4, 6)


def test_it_is_listed_and_has_a_preset(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    text = capsys.readouterr().out
    assert "shifted at random" in text.partition(ENTRY_POINT)[2]
    with pytest.raises(SystemExit):
        main(["train", "--method", IMPORT_PATH, "--help"])
    text = capsys.readouterr().out
    assert "--spread FLOAT" in text
    assert main(["train", "x", "--method", ENTRY_POINT, "--preset", "lidc", "--out", "y"]) == 2
    assert "Known: small" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_loaded_where_the_package_is(package: Path, lesion_folder: Path, tmp_path: Path) -> None:
    run = train(lesion_folder, tmp_path / "run", "--method", ENTRY_POINT)
    code = f"from plurimask import load_run; print(type(load_run({str(run)!r}).method).__name__)"
    paths = os.pathsep.join(path for path in sys.path if path)
    without = os.pathsep.join(path for path in sys.path if path and path != str(package))
    found, lost = (
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True)
        for path in (paths, without)
    )
    assert found.stdout.decode().strip() == "ShiftedLinear"
    assert lost.returncode
    message = lost.stderr.decode().splitlines()[-1]
    assert "unknown method 'shifted-linear'" in message
    assert "tiny-methods, not installed here" in message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinymethod.shifted:ShiftedLinear", "no module 'tinymethod'"),
        (f"{PACKAGE}.shift:ShiftedLinear", f"no module '{PACKAGE}.shift'"),
        (f"{PACKAGE}.shifted:Shifted", "nothing in tinymethods.shifted is called 'Shifted'"),
        (f"{PACKAGE}.shifted:", "expected package.module:Class"),
        (f"{PACKAGE}.shifted:ShiftedSegmentation", "no subclass"),
        (f"{PACKAGE}.shifted:SegmentationMethod", "Config, summary, paper, forward, loss must be there"),
        ("shifted-line", "did you mean shifted-linear"),
    ],
)
def test_what_is_no_method_is_explained(package: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_method(name)


def test_two_packages_may_not_offer_one_name(package: Path) -> None:
    other = package / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text(f"[plurimask.methods]\n{ENTRY_POINT} = other.one:Method\n")
    with pytest.raises(InputError, match="two installed packages offer a method shifted-linear"):
        find_method(ENTRY_POINT)
    assert build_method(IMPORT_PATH, num_classes=3).config.num_classes == 3


def test_settings_that_are_options_already_are_refused(
    package: Path, lesion_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = package / PACKAGE / "shifted.py"
    module.write_text(module.read_text().replace("spread: float =", "seed: float ="))
    assert main(["train", str(lesion_folder), "--method", ENTRY_POINT, "--out", "x"]) == 2
    assert "two options --seed" in capsys.readouterr().err
