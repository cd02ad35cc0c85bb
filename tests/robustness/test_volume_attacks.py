"""Generated attacks with volumes: each command ends well or in one line, in time, and changes nothing else.

`PLURIMASK_VOLUME_ATTACKS` sets their number, `PLURIMASK_FIRST_ATTACK` the first seed.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attack import Case, faults, pick, run
from volumes import save_nifti

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

from broken_files import FILES  # noqa: E402
from broken_volumes import DICOM, NIFTI  # noqa: E402

NUMBER = int(os.environ.get("PLURIMASK_VOLUME_ATTACKS", "60"))
FIRST = int(os.environ.get("PLURIMASK_FIRST_ATTACK", "0"))
SLICE = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
TINY = ["--preset", "small", "--max-steps", "2", "--channels", "4", "4", "--batch-size", "2", "--warmup-steps", "0"]
FEW = ["--num-validations", "1", "--validation-samples", "2"]


def write_niftis(folder: Path) -> Path:
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 99, (8, 9, 5)).astype(np.int16)
        save_nifti(folder / "images" / f"i{number}.nii.gz", values)
        for rater, least in (("anna", 50), ("ben", 60)):
            save_nifti(folder / "masks" / rater / f"i{number}.nii.gz", (values > least).astype(np.uint8))
    return folder


def write_series(folder: Path) -> Path:
    from plurimask.data.images import image_grid

    for number in range(3):
        shutil.copytree(SLICE, folder / "images" / f"s{number}")
        grid = image_grid(folder / "images" / f"s{number}")
        assert grid is not None
        for rater in ("anna", "ben"):
            marked = (np.arange(16 * 16 * 5).reshape(16, 16, 5) % 7 == number).astype(np.uint8)
            save_nifti(folder / "masks" / rater / f"s{number}.nii.gz", marked, grid.matrix)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    data = write_niftis(folder / "data")
    code, printed = run(["train", str(data), "--method", "unet", "--out", str(folder / "run"), *TINY, *FEW])
    assert code == 0, printed
    return folder / "run"


def make_case(seed: int, trained: Path, folder: Path) -> Case:
    rng: Any = np.random.default_rng(seed)
    is_series = rng.random() < 0.4
    data = (write_series if is_series else write_niftis)(folder / "kept" / "data")
    place = data / "images" if rng.random() < 0.7 or is_series else data / "masks"
    path = pick(rng, sorted(path for path in place.rglob("*") if path.is_file()))
    damage = pick(rng, (DICOM if is_series else NIFTI) * 2 + FILES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        must_fail = damage(path, rng)
    out = str(folder / "out")
    commands = [["check", str(data)]] * 2
    commands += [["predict", str(trained), str(data / "images"), "--out", out, "--samples", "2"]]
    arguments = pick(rng, commands)
    others_decide = damage.__name__ in ("other_sides", "other_place")  # of an image alone nothing is wrong
    must_fail &= arguments[0] == "check" or (place.name == "images" and not others_decide)
    return Case(folder, arguments, must_fail, [f"{damage.__name__} of {path.relative_to(data)}"])


@pytest.mark.parametrize("seed", range(FIRST, FIRST + NUMBER))
def test_an_attack_ends_well_or_in_one_line(
    seed: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = make_case(seed, trained, tmp_path / "case")
    found = faults(case)
    shutil.rmtree(tmp_path, ignore_errors=True)
    assert not found, f"{case}\n{found[0]}"
