"""Precision is decided in one place, by what torch uses of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import plurimask
from plurimask.methods import build_method
from plurimask.prediction.device import fast_precision, has_fast_bf16, images_in_layout, in_layout, training_layouts

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


def test_an_image_of_one_channel_and_a_part_of_it_lie_alike() -> None:
    """Else a convolution takes one kernel for the whole and another for a tile, which round differently."""
    image = torch.randn(1, 1, 40, 53)
    assert images_in_layout(image, "channels_last").stride() == (40 * 53, 40 * 53, 53, 1)
    assert images_in_layout(image[:, :, 4:20, 8:30], "channels_last").stride() == (16 * 22, 16 * 22, 22, 1)
    assert torch.equal(images_in_layout(image, "channels_last"), image)


def test_autocast_follows(precision: str) -> None:
    weight = torch.ones(3, 3)
    with fast_precision(CPU):
        product = weight @ weight
    assert product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_nobody_else_decides() -> None:
    source = Path(plurimask.__file__).parent
    assert [path.name for path in source.rglob("*.py") if "has_fast_bf16" in path.read_text()] == ["device.py"]


def test_which_layouts_are_worth_a_timed_step(precision: str) -> None:
    assert training_layouts(CPU) == (("channels_last",) if precision == "bf16" else ("channels_last", "contiguous"))
    assert training_layouts(torch.device("cuda"))[0] == "channels_last"


def test_images_and_weights_in_a_layout() -> None:
    images = torch.randn(2, 3, 5, 4)
    for layout, memory_format in (("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)):
        method = in_layout(build_method("unet", image_channels=3, channels=(5, 7)), layout)  # type: ignore[arg-type]
        moved = images_in_layout(images, layout)  # type: ignore[arg-type]
        assert torch.equal(moved, images)
        for maps in (moved, next(method.parameters())):
            assert maps.is_contiguous(memory_format=memory_format)
    volumes = torch.randn(2, 3, 5, 4, 6)
    moved = images_in_layout(volumes, "channels_last")
    assert torch.equal(moved, volumes) and moved.is_contiguous(memory_format=torch.channels_last_3d)
