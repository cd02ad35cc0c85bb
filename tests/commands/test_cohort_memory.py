"""The memory that predict and evaluate take does not grow with the number of images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plurimask.commands.main import main
from plurimask.data.worlds.lesions import lesion_source, write_folder

FEW, MANY = 10, 400
SIDE = 48
GROWTH = 30.0
"""MB: the allocator's, and names; 400 images of this size with what is predicted for them are some 400 MB."""
_MEASURED = """
import sys
from plurimask.commands.main import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    write_folder(lesion_source(num_train=4, num_val=2, seed=5, size=SIDE), folder / "data")
    words = "--method probabilistic-unet --channels 4 6 --batch-size 2 --max-steps 2 --num-validations 1".split()  # noqa: SIM905
    assert main(["train", str(folder / "data"), *words, "--out", str(folder / "run")]) == 0
    return folder / "run"


def many_files(folder: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        image = random.integers(0, 256, (SIDE, SIDE), np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[10:20, 10 + number % 20 : 30] = 255
        for kind, pixels in (("images", image), ("masks", mask)):
            (folder / "val" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "val" / kind / f"{number:04d}.png")
    return folder


def peak_of(*words: str) -> float:
    """MB that a call of plurimask takes at most, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run([sys.executable, "-c", _MEASURED, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the memory of a process")
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_memory_does_not_grow_with_the_number_of_images(run: Path, tmp_path: Path, command: str) -> None:
    peaks = []
    for count in (FEW, MANY):
        data, out = many_files(tmp_path / str(count), count), tmp_path / f"{count}.json"
        if command == "evaluate":
            words = ["evaluate", str(run), str(data), "--samples", "16", "--batch-size", "4", "--out", str(out)]
        else:
            words = ["predict", str(run), str(data / "val" / "images"), "--samples", "4", "--out", str(out)]
        peaks.append(peak_of(*words))
    few, many = peaks
    print(f"{command}: {few:.0f} MB for {FEW} images, {many:.0f} MB for {MANY}")
    assert many - few < GROWTH, f"{few:.0f} MB for {FEW} images, {many:.0f} MB for {MANY}"
