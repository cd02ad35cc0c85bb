"""What tests of networks share: someone else's networks."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
INSTALL_SECONDS = 120


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`monai.networks.nets`: the environment's, or of a folder that it is installed in. What MONAI needs is torch and
    numpy, which are here.
    """
    if importlib.util.find_spec("monai") is not None:
        yield importlib.import_module("monai.networks.nets")
        return
    (requirement,) = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["monai"]
    folder = tmp_path_factory.mktemp("monai")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"installing {requirement} took more than {INSTALL_SECONDS} s")
    if done.returncode:
        pytest.skip(f"{requirement} is not installed and cannot be: {done.stderr.strip().splitlines()[-1:]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("monai.networks.nets")
        for name in [one for one in sys.modules if one.split(".")[0] == "monai"]:
            del sys.modules[name]
