"""Where a method runs, in which precision and in which memory layout."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor

from plurimask.method import SegmentationMethod

Layout = Literal["channels_last", "contiguous"]
"""How `(B, F, *spatial)` lies in memory: all features of a pixel together, or one map after the other."""

_FORMATS: dict[Layout, dict[int, torch.memory_format]] = {
    "channels_last": {4: torch.channels_last, 5: torch.channels_last_3d},
    "contiguous": {4: torch.contiguous_format, 5: torch.contiguous_format},
}
"""By the number of dimensions of a batch."""


def default_device() -> torch.device:
    """The first CUDA device if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 products are faster than float32 there: bf16 units in the processor (AMX, AVX-512 BF16) or GPU.

    On a processor only if torch uses its AVX-512, which `ATEN_CPU_CAPABILITY` can switch off.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return bool(has_units and torch.backends.cpu.get_cpu_capability() == "AVX512")


def fast_dtype(device: torch.device) -> torch.dtype:
    """What products are rounded to within `fast_precision`."""
    return torch.bfloat16 if has_fast_bf16(device) else torch.float32


def fast_precision(device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast where the machine has it. Distributions and metrics stay in float32 inside."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device))


def training_layouts(device: torch.device) -> tuple[Layout, ...]:
    """The memory layouts of which either may train faster there; the first is the one to take if none is timed.

    In float32 on a processor it depends on its instructions: without AVX-512 the gradients of weights are slow in
    `channels_last`. Predictions have no gradients, and `channels_last` was the faster wherever it was measured.
    """
    is_plain = device.type == "cpu" and not has_fast_bf16(device)
    return ("channels_last", "contiguous") if is_plain else ("channels_last",)


def in_layout(method: SegmentationMethod, layout: Layout) -> SegmentationMethod:
    """The same method with its convolutions' weights in a memory layout."""
    formats = _FORMATS[layout]
    for parameter in (*method.parameters(), *method.buffers()):
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
    return method


def images_in_layout(images: Tensor, layout: Layout) -> Tensor:
    """Images `(B, K, *spatial)` in a memory layout.

    With one channel both layouts lie alike in memory and only their strides differ, which `contiguous` leaves as they
    came: a convolution would take one kernel for an image and another for a part of it, and round differently. These
    have the strides of the plain layout.
    """
    laid = images.contiguous(memory_format=_FORMATS[layout][images.ndim])
    return laid.as_strided(laid.shape, torch.empty(laid.shape, device="meta").stride()) if laid.shape[1] == 1 else laid


def channels_last(method: SegmentationMethod) -> SegmentationMethod:
    """The same method in the memory layout for predictions."""
    return in_layout(method, "channels_last")
