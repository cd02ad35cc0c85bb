"""How much memory predicting an image takes at most: told before the work, found by a small one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plurimask.method import SegmentationMethod
from plurimask.nn.strips import MIN_STRIP, strips_of
from plurimask.prediction.predict import Sampling, predict_images

_STRIPS = 16
_MARGIN = 1.5
"""Kernels hold copies of their own, and allocators keep what was freed."""
_PROGRAM = 5e8
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


def bytes_per_pixel(method: SegmentationMethod, num_channels: int) -> float:
    """What one sample of a large image and its statistics hold at once, for each pixel, in bytes.

    Predicted is an image of a few strips, so that a method which computes large images in strips does so here.
    """
    size = (_STRIPS * MIN_STRIP, MIN_STRIP)
    image = torch.zeros(num_channels, *size, device=next(method.parameters()).device)
    with strips_of(0), LiveTensors() as live:
        for batch in predict_images(method, [("", image)], Sampling(1)):
            batch.statistics.mean(), batch.statistics.mutual_information(), batch.statistics.variance()
            del batch
    gc.collect()
    return float(live.most / (size[0] * size[1]))


def memory_bound(per_pixel: float, num_pixels: int, num_channels: int, num_samples: int) -> float:
    """Bytes that predicting one image takes at most: the program, the image as read and as seen, maps and features."""
    return _PROGRAM + num_pixels * (_MARGIN * per_pixel + 8 * num_channels + 2 * num_samples)
