"""Which process is the first: what the launcher says that is used, not what lies about in the environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from plurimask.commands.main import main
from plurimask.errors import InputError
from plurimask.training.config import Hardware
from plurimask.training.devices import is_first_process, open_fabric

TINY = "--method unet --channels 4 6 --batch-size 2 --max-steps 2 --num-validations 1 --validation-samples 2".split()  # noqa: SIM905


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
@pytest.mark.parametrize("value", ["1", "first"])
def test_on_one_device_the_environment_is_not_asked(
    lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    arguments = ["train", str(lesion_folder), *TINY, "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["steps"] == 2
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    assert main([*arguments, "--seed", "1"]) == 2
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


def test_a_scheduler_of_several_trainings_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "3", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NODEID": "1"}.items():
        monkeypatch.setenv(name, value)
    assert is_first_process(Hardware("cpu"))
    fabric = open_fabric(Hardware("cpu"))
    fabric.launch()
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_on_several_devices_the_launcher_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Hardware("cpu", 2)
    assert is_first_process(two)
    monkeypatch.setenv("RANK", "1")  # of another launcher than that which is used
    assert is_first_process(two)
    for local, node, expected in (("1", "0", False), ("0", "1", False), ("0", "0", True)):
        monkeypatch.setenv("LOCAL_RANK", local)
        monkeypatch.setenv("NODE_RANK", node)
        assert is_first_process(Hardware("cpu", 2, 2)) == expected
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(InputError, match="cannot be used here"):
        is_first_process(two)


def test_ranks_that_are_no_numbers_stop_no_import() -> None:
    code = "import os; os.environ['RANK'] = 'first'; import plurimask.training.fit; print(os.environ['RANK'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "first\n", done.stderr
