"""What `plurimask predict` says while it works on large images."""

from __future__ import annotations

import io
import re

import pytest
import torch
from rich.console import Console

from plurimask.commands.predict import MemoryNotice, Watched
from plurimask.methods import build_method


@pytest.fixture
def say() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(say: Console) -> list[str]:
    assert isinstance(say.file, io.StringIO)
    return say.file.getvalue().splitlines()


def test_a_log_has_a_line_each_half_minute_within_one_image_too(say: Console) -> None:
    now = [0.0]
    with Watched(say, 3, lambda: now[0]) as watched:
        for seconds in range(0, 100, 8):
            now[0] = float(seconds)
            watched.phase(f"big[1].tif: mask {seconds // 8} of 12")
        watched.done()
        now[0] = 127.0
        watched.phase("b.tif: features")
    assert said(say) == [
        "0 of 3 images done; big[1].tif: mask 4 of 12",
        "0 of 3 images done; big[1].tif: mask 8 of 12",
        "0 of 3 images done; big[1].tif: mask 12 of 12",
        "1 of 3 images done; b.tif: features",
    ]


def test_memory_is_told_before_a_large_image_and_of_a_larger_one_again(say: Console) -> None:
    method = build_method("unet", image_channels=2, num_classes=3, channels=(6, 10)).eval()
    notice = MemoryNotice(say, method, 5)
    for name, height, width in (
        ("small", 1000, 900),
        ("large", 2000, 1500),
        ("again", 1500, 2000),
        ("huge", 5000, 4000),
    ):
        notice(name, torch.empty(1).expand(2, height, width))
    lines = said(say)
    assert [line.split(" pixels")[0] for line in lines] == ["large: 1,500 x 2,000", "huge: 4,000 x 5,000"]
    large, huge = (float(re.findall(r"up to ([\d.]+) GB", line)[0]) for line in lines)
    assert 0.5 < large < huge < 20
