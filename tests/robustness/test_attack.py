"""Generated attacks: each command ends well or in one line, in time, and nothing but its outputs changes.

`PLURIMASK_ATTACKS` sets their number, `PLURIMASK_FIRST_ATTACK` the first seed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from attack import faults
from cases import make_case
from stock import Stock, make_stock

NUMBER = int(os.environ.get("PLURIMASK_ATTACKS", "200"))
FIRST = int(os.environ.get("PLURIMASK_FIRST_ATTACK", "0"))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return make_stock(tmp_path_factory.mktemp("stock"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + NUMBER))
def test_an_attack_ends_well_or_in_one_line(
    seed: int, stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = make_case(seed, stock, tmp_path / "case")
    found = faults(case)
    shutil.rmtree(tmp_path, ignore_errors=True)
    assert not found, f"{case}\n{found[0]}"
