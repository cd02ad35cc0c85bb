"""Where a method runs and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from plurimask.method import SegmentationMethod


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


def fast_precision(device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast where the machine has it. Distributions and metrics stay in float32 inside."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device))


def channels_last(method: SegmentationMethod) -> SegmentationMethod:
    """The same method with its convolutions' weights in the memory layout that processors and GPUs prefer."""
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return method
