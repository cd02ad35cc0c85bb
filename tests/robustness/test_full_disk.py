"""A file system that takes no more: what was there stays whole, and the message says what could not be written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attack import run, state

SMALL = 4096
"""Bytes that a file may have: fewer than the weights take."""
_LIMITED = """
import resource, signal, sys
from plurimask.commands.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


def limited(size: int, *words: Path | str) -> str:
    """The last line of a command whose files may have so many bytes; it must end with 2 and no traceback."""
    command = [sys.executable, "-c", _LIMITED, str(size), *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    return ended.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_full_disk_while_continuing_leaves_the_run_whole(trained: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    kept = [tmp_path / "run" / name for name in ("weights.safetensors", "checkpoints")]
    before = [path.read_bytes() if path.is_file() else state(path) for path in kept]
    words = ["train", data, "--method", "unet", "--out", tmp_path / "run", "--resume", "--max-steps", "3"]
    assert "could not be written" in limited(SMALL, *words)
    assert before == [path.read_bytes() if path.is_file() else state(path) for path in kept]
    assert not list((tmp_path / "run").rglob(".*")), "temporary files stay"
    assert run([str(word) for word in words])[0] == 0


@pytest.mark.slow
def test_a_full_disk_while_predicting(trained: Path, data: Path, tmp_path: Path) -> None:
    images, out = data / "val" / "images", tmp_path / "out"
    assert "could not be written" in limited(200, "predict", trained, images, "--out", out, "--samples", "2")
    assert not list(out.rglob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_place_that_is_always_full(trained: Path, data: Path) -> None:
    code, printed = run(["report", str(trained), str(data), "--out", "/dev/full"])
    assert code == 2 and "/dev/full" in printed
