"""One paper, one file. A method is added here by one line."""

from __future__ import annotations

from typing import Any

from plurimask.errors import unknown_name
from plurimask.method import SegmentationMethod
from plurimask.methods.probabilistic_unet import ProbabilisticUNet
from plurimask.methods.unet import UNet

METHODS: dict[str, type[SegmentationMethod]] = {
    "unet": UNet,
    "probabilistic-unet": ProbabilisticUNet,
}


def find_method(name: str) -> type[SegmentationMethod]:
    """The class of a method by its name in `METHODS`; an unknown name raises `InputError` with the nearest ones."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def build_method(name: str, **settings: Any) -> SegmentationMethod:
    """A new, untrained method: `build_method("probabilistic-unet", num_classes=3, latent_dim=4)`.

    Settings are those of the method's `Config`; unknown ones are refused.
    """
    method = find_method(name)
    return method(method.Config(**settings))
