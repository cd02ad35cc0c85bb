"""What cannot work on this machine, or with these settings: one line that says what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_trees import gray, mask, save

from plurimask.commands import main as command_line
from plurimask.commands.main import COMMANDS, LESS_MEMORY, main


def of_torch() -> object:
    return torch.empty(2**50)


def of_numpy() -> object:
    return np.empty(2**50)


def of_an_accelerator() -> object:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def of_the_system() -> object:
    return OSError(12, "Cannot allocate memory")


def raised_by(allocate: Callable[[], object]) -> BaseException:
    try:
        error = allocate()
    except (MemoryError, RuntimeError) as raised:
        return raised
    assert isinstance(error, OSError)
    return error


@pytest.mark.parametrize("allocate", [of_torch, of_numpy, of_an_accelerator, of_the_system])
@pytest.mark.parametrize("command", [*LESS_MEMORY, "check"])
def test_too_little_memory_is_one_line(
    command: str, allocate: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing:
        @staticmethod
        def main(arguments: list[str]) -> int:
            raise raised_by(allocate)

    monkeypatch.setattr(command_line, "import_module", lambda name: Failing)
    assert main([command]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1 and LESS_MEMORY.get(command, "smaller images") in error


def test_what_less_memory_takes_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert LESS_MEMORY.keys() <= COMMANDS.keys()
    for command, advice in LESS_MEMORY.items():
        with pytest.raises(SystemExit):
            main([command, *(["--method", "unet"] if command == "train" else []), "--help"])
        text = capsys.readouterr().out
        named = [word.strip(",;") for word in advice.split() if word.startswith("--")]
        assert named and all(f"{name} " in text for name in named if name != "--channels" or command == "train")


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        @staticmethod
        def main(arguments: list[str]) -> int:
            raise RuntimeError("a mistake in the code")

    monkeypatch.setattr(command_line, "import_module", lambda name: Failing)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["train"])


@pytest.mark.parametrize("preset", ["small", "lidc"])
@pytest.mark.parametrize("crop", ["--center-crop", "--crop"])
def test_one_value_to_normalise_is_one_line_and_leaves_nothing(
    preset: str, crop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        save(tmp_path / "data" / "images" / f"i{number}.png", gray(number, 11, 14))
        save(tmp_path / "data" / "masks" / f"i{number}.png", mask(0, 1, height=11, width=14))
    words = f"--method unet --preset {preset} --channels 4 5 6 7 --normalisation batch --batch-size 1 {crop} 8"
    given = ["train", str(tmp_path / "data"), *words.split(), "--max-steps", "2", "--out", str(tmp_path / "run")]
    assert main(given) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert all(word in error for word in ("--batch-size", "--crop", "--normalisation none", "1x8x8"))
    assert not any((tmp_path / "run").glob("*"))
    assert main([*given[:-2], "--batch-size", "2", "--out", str(tmp_path / "run")]) == 0
