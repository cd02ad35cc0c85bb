"""A tiny data set, and a run that was trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attack import run
from stock import FEW, TINY, plain


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(["train", str(data), "--method", "unet", "--out", str(folder), *TINY, *FEW])[0] == 0
    return folder
