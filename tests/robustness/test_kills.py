"""Signals at random moments of real processes: what is continued is what nobody disturbed, and no temporary file stays.

PLURIMASK_KILLS=7 python -m pytest tests/robustness/test_kills.py        (of each command; 1 by default)
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import tifffile

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
KILLS = int(os.environ.get("PLURIMASK_KILLS", "1"))
COMMON = (
    "--batch-size 2 --max-steps 40 --num-validations 10 --validation-images 2 --validation-samples 2 "
    "--memory-layout channels_last"  # which is the faster may come out otherwise in the next training
)
ENSEMBLE = "members: [unet, unet]\nmember_settings: {unet: {channels: [4, 6]}}\n"
BY_TIME = ("metrics.csv", "last.ckpt", ".npz", "run.json", "comparison.json", "table.", "index.html")
"""Files that tell how long something took."""
TIMES = re.compile(rb'"(seconds_per_image|minutes)": [-+.e0-9]+')


class Command(NamedTuple):
    words: Callable[[Path, Path, Path], list[str]]
    """From data, a run, and where to write."""
    begun: str
    """A pattern of the first files that it leaves."""


COMMANDS = {
    "train": Command(lambda data, run, out: ["train", str(data), *UNET, "--out", str(out)], "checkpoints/last.ckpt"),
    "ensemble": Command(
        lambda data, run, out: ["train", str(data), *MEMBERS(run), "--out", str(out)], "members/*/checkpoints/last.ckpt"
    ),
    "compare": Command(
        lambda data, run, out: ["compare", str(data), *BOTH, "--out", str(out)], "runs/*/checkpoints/last.ckpt"
    ),
    "predict": Command(
        lambda data, run, out: ["predict", str(run), str(data / "val/images"), *FEW, "--out", str(out)], "*"
    ),
    "evaluate": Command(
        lambda data, run, out: ["evaluate", str(run), str(data), *FEW, "--out", str(out / "e.json")], "*"
    ),
    "report": Command(lambda data, run, out: ["report", str(run), str(data), *FEW, "--out", str(out / "r.html")], "*"),
}
UNET = ["--method", "unet", "--channels", "4", "6", *COMMON.split()]
BOTH = ["--methods", "unet", "m-heads", "--samples", "2", *COMMON.split()]
FEW = ["--samples", "2"]


def MEMBERS(run: Path) -> list[str]:
    return ["--method", "ensemble", "--config", str(run.parent / "members.yaml"), *COMMON.split()]


@pytest.fixture(scope="module")
def run(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    (folder / "members.yaml").write_text(ENSEMBLE)
    finish(COMMANDS["train"].words(lesion_folder, folder / "run", folder / "run"))
    return folder / "run"


def start(words: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "plurimask", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(words: list[str]) -> float:
    before = time.monotonic()
    process = start(words)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return time.monotonic() - before


def tree(folder: Path) -> dict[str, bytes]:
    """Each file with its content, as far as that does not tell the time."""
    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*") if path.is_file()}


def content(path: Path) -> bytes:
    if any(word in path.name for word in BY_TIME):
        return b""
    if path.suffix == ".tif":  # with the time when it was written
        return bytes(tifffile.imread(path).tobytes())
    return TIMES.sub(b"", path.read_bytes())


def catches(process: subprocess.Popen[str], number: int) -> bool:
    """Whether the command has begun to listen: before that, a signal ends Python itself."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(mask >> (number - 1) & 1)


def wait_for(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    while process.poll() is None and not is_so():
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_signal_ends_is_continued_as_if_nothing_had_happened(
    run: Path, lesion_folder: Path, tmp_path: Path, name: str
) -> None:
    draw, command = random.Random(f"{name} {KILLS}"), COMMANDS[name]
    seconds = finish(command.words(lesion_folder, run, tmp_path / "whole"))
    whole, killed = tree(tmp_path / "whole"), 0
    for kill in range(KILLS):
        number = SIGNALS[(kill + list(COMMANDS).index(name)) % len(SIGNALS)]
        out = tmp_path / str(kill)
        words = command.words(lesion_folder, run, out)
        process = start(words)
        wait_for(process, lambda process=process, number=number: catches(process, number))
        if kill % 2:
            time.sleep(draw.random() * seconds)  # at any moment
        else:
            wait_for(process, lambda out=out: any(out.glob(command.begun)))
            time.sleep(draw.random() * 0.5)
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode in (0, 128 + number), errors
        assert "Traceback" not in errors
        killed += process.returncode != 0
        hidden = list(out.rglob(".*")) if out.exists() else []
        assert hidden == []
        again = {"report": "--overwrite"} | ({"evaluate": "--overwrite"} if process.returncode == 0 else {})
        again |= {"compare": ""} if not (out / "run.json").exists() else {"train": "--resume", "ensemble": "--resume"}
        finish([*words, *filter(None, [again.get(name)])])
        assert tree(out).keys() == whole.keys()
        assert [one for one, found in tree(out).items() if found != whole[one]] == []
        print(f"{name}: {number.name}, exit {process.returncode}", flush=True)
    assert killed or KILLS < 3
