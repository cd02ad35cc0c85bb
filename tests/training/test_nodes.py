"""Training over several machines: two processes on each of two "nodes", which meet on the loopback."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plurimask.runs.load import load_run

WORDS = (
    *("--method", "unet", "--channels", "4", "6", "--batch-size", "4", "--max-steps", "4", "--num-validations", "2"),
    *("--validation-samples", "2", "--accelerator", "cpu", "--devices", "2", "--nodes", "2"),
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
def test_two_processes_on_each_of_two_nodes_train_one_run(lesion_folder: Path, tmp_path: Path) -> None:
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "plurimask", "train", str(lesion_folder), *WORDS, "--out", str(tmp_path / "run")]
    nodes = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "NODE_RANK": str(node), "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(2)
    ]
    printed = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], printed
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows if row["val_ged"]] == ["2", "4"]
    run = load_run(tmp_path / "run")
    assert run.record.steps == 4
    assert run.method(torch.zeros(1, 1, 20, 14)).sample(2).shape == (2, 1, 20, 14)
    assert not list(tmp_path.rglob(".*"))
