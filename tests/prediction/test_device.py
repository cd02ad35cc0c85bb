"""Precision is decided in one place, by what torch uses of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import plurimask
from plurimask.prediction.device import fast_precision, has_fast_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "in_use", "expected"),
    [
        (True, False, "AVX512", True),
        (False, True, "AVX512", True),
        (False, False, "AVX512", False),
        (True, True, "AVX2", False),
        (True, True, "DEFAULT", False),
    ],
)
def test_bf16_units_count_where_torch_uses_them(amx: bool, avx512_bf16: bool, in_use: str, expected: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: in_use)
        assert has_fast_bf16(CPU) == expected


def test_autocast_follows(precision: str) -> None:
    weight = torch.ones(3, 3)
    with fast_precision(CPU):
        product = weight @ weight
    assert product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_nobody_else_decides() -> None:
    source = Path(plurimask.__file__).parent
    assert [path.name for path in source.rglob("*.py") if "has_fast_bf16" in path.read_text()] == ["device.py"]
