"""What the contract's tests share: methods small enough for tests, and calls of them as in training and prediction.

A new method is tested by being in `METHODS` and having a preset `small`: nothing is to be added here.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from plurimask.distribution import SegmentationDistribution
from plurimask.method import Loss, SegmentationMethod
from plurimask.methods import METHODS, build_method
from plurimask.methods.presets import PRESETS
from plurimask.nn.space import pooling_of
from plurimask.prediction.device import fast_precision

N, B, R, K, C, H, W = 6, 2, 4, 3, 5, 21, 14
D, VOLUME_H, VOLUME_W = 5, 9, 7
CPU = torch.device("cpu")
WIDTHS = (7, 9, 8, 6, 10, 11, 5, 12)

MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "dropout-unet with batch norm": (
        "dropout-unet",
        {"channels": (7, 9, 8), "normalisation": "batch", "pooling": "max", "sigmoid": True},
    ),
    "ensemble of several methods": (
        "ensemble",
        {
            "members": ("unet", "m-heads", "probabilistic-unet"),
            "member_settings": {
                "unet": {"channels": (7, 9)},
                "m-heads": {"channels": (6, 8), "num_heads": 3},
                "probabilistic-unet": {"channels": (7, 9), "latent_dim": 4},
            },
        },
    ),
    "hierarchical-probabilistic-unet without latents between": (
        "hierarchical-probabilistic-unet",
        {"channels": (7, 9, 8), "latent_dims": (2, 0, 1), "blocks_per_scale": 1, "objective": "elbo"},
    ),
    "lightweight-probabilistic with batch norm": (
        "lightweight-probabilistic",
        {"channels": (7, 9), "pooling": "max", "normalisation": "batch"},
    ),
    "probabilistic-backpropagation with plain updates": (
        "probabilistic-backpropagation",
        {"channels": (7, 9), "pooling": "max"},
    ),
}
"""Settings that differ from the small preset's so much that the contract is held to them too."""


def tiny_settings(method: str) -> dict[str, Any]:
    """Those of the method's preset `small`, with as few and as narrow scales as the method takes."""
    return narrowed(method, PRESETS[method]["small"].method)


def narrowed(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`channels` cut to the fewest widths that the method takes; in the settings of other methods, such as those of an
    ensemble's members, too."""
    inner = {key: own for key, own in settings.items() if isinstance(own, dict) and own.keys() <= METHODS.keys()}
    settings = {**settings, **{key: {name: narrowed(name, of[name]) for name in of} for key, of in inner.items()}}
    for count in range(1, len(settings.get("channels", ())) + 1):
        fewer = {**settings, "channels": WIDTHS[:count]}
        try:
            METHODS[method].Config(**fewer)
        except ValidationError:
            continue
        return fewer
    return settings


def of_volumes(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a method for volumes: of few slices that lie far apart, so that its axes are treated apart."""
    inner = {key: own for key, own in settings.items() if isinstance(own, dict) and own.keys() <= METHODS.keys()}
    settings = {**settings, **{key: {name: of_volumes(name, of[name]) for name in of} for key, of in inner.items()}}
    if "channels" in settings:
        space = pooling_of((8, 32, 32), (3.0, 1.0, 1.0), len(settings["channels"]))
        settings |= {"strides": space.strides, "kernels": space.kernels}
    return {**settings, "spatial_dims": 3}


VOLUMES = {
    f"{name} of volumes": (name, of_volumes(name, settings))
    for name, settings in {name: tiny_settings(name) for name in METHODS}.items()
    if 3 in METHODS[name].dimensions
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, tiny_settings(name)) for name in METHODS},
    **MORE,
    **VOLUMES,
}


def spatial_of(case: str) -> tuple[int, ...]:
    """The size of images in a case."""
    return (D, VOLUME_H, VOLUME_W) if case in VOLUMES else (H, W)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(case: str) -> SegmentationMethod:
    name, settings = CASES[case]
    return build_method(name, image_channels=K, num_classes=C, **settings)


# A method is called under autocast, as in training and prediction; what its results do comes after that.


def predict(method: SegmentationMethod, images: Tensor) -> SegmentationDistribution:
    with fast_precision(CPU):
        return method(images)  # type: ignore[no-any-return]


def loss_of(method: SegmentationMethod, images: Tensor, labels: Tensor, seed: int = 0) -> Loss:
    with fast_precision(CPU):
        return method.loss(images, labels, seeded(seed))


def reconstruct(method: SegmentationMethod, images: Tensor, labels: Tensor) -> Tensor | None:
    with torch.no_grad(), fast_precision(CPU):
        return method.reconstruct(images, labels)


def assert_nearly_equal(got: Tensor, want: Tensor, rounding: float) -> None:
    """Label maps, of which rounding may decide ties."""
    assert float((got != want).float().mean()) <= max(1e-3, rounding)
