"""How much memory predicting an image takes at most: told before the work, found by a small one."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plurimask.method import SegmentationMethod
from plurimask.nn.strips import MIN_STRIP, strips_of
from plurimask.prediction.device import fast_precision, images_in_layout

_STRIPS, _VOLUME = 16, 40
MARGIN = 1.5
"""Kernels hold copies of their own, and allocators keep what was freed."""
PROGRAM = 5e8
"""Bytes of Python, torch, and all that does not grow with an image."""


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are made inside and still there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.most: int = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, Tensor):
                self._add(one.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        if storage in self.known:
            return
        self.known.add(storage)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._remove, storage.nbytes())

    def _remove(self, size: int) -> None:
        self.now -= size


def bytes_per_pixel(method: SegmentationMethod, num_channels: int, are_large: bool = True) -> float:
    """What one sample of an image and its statistics hold at once, for each pixel, in bytes.

    Predicted is an image of a few strips; where images `are_large`, a method which computes such images in strips does
    so here. Of volumes it is one of some voxels.
    """
    size = (_STRIPS * MIN_STRIP, MIN_STRIP) if len(method.strides) == 2 else (_VOLUME,) * 3
    device = next(method.parameters()).device
    with strips_of(0 if are_large else 2**40), LiveTensors() as live, torch.inference_mode():
        image = images_in_layout(torch.zeros(1, num_channels, *size, device=device), "channels_last")
        with fast_precision(device):
            prediction = method(image)
        mixture = prediction.freeze(1, torch.Generator().manual_seed(0))
        maps = mixture.maps
        statistics = prediction.closed_form or mixture
        statistics.mean(), statistics.mutual_information(), statistics.variance()
        del image, prediction, mixture, maps, statistics
    gc.collect()
    return float(live.most / math.prod(size))


def memory_bound(per_pixel: float, num_pixels: int, num_channels: int, num_samples: int) -> float:
    """Bytes that predicting one image takes at most: the program, the image as read and as seen, maps and features."""
    return PROGRAM + num_pixels * (MARGIN * per_pixel + 8 * num_channels + 2 * num_samples)
