"""What only a data set of volumes decides: the axes of its networks, and the spacing and tilts that it is seen with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from plurimask.data.crops import sides_of
from plurimask.data.example import ExampleSet
from plurimask.data.resampling import spacing_of
from plurimask.errors import InputError
from plurimask.methods import find_method
from plurimask.nn.space import LEAST_SIZE, pooling_of
from plurimask.training.config import TrainingConfig

MAX_VOLUMES = 200
"""At most so many are asked for their size, evenly spread."""
TILT = 5.0
"""Degrees, where voxels are nearly cubes."""
NEARLY_CUBES = 1.5
"""The longest side of a voxel over the shortest, at most."""

_Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class VolumeGeometry:
    """Of the volumes of a data set, as a run sees them."""

    size: tuple[int, ...]
    """Voxels, `(D, H, W)`, the median of each."""
    spacing: _Spacing | None
    """mm, so too; None where no file says it."""

    @classmethod
    def of(cls, examples: ExampleSet) -> VolumeGeometry:
        """From the headers of files, as far as these say it."""
        count = min(len(examples), MAX_VOLUMES)
        chosen = [number * len(examples) // count for number in range(count)]
        shapes = [examples.shape(index) for index in chosen]
        known = [own for index in chosen if (own := spacing_of(examples.pixel_size(index))) is not None]
        size = tuple(int(median(lengths)) for lengths in zip(*shapes, strict=True))
        if not known:
            return cls(size, None)
        depth, height, width = (float(f"{median(sides):.6g}") for sides in zip(*known, strict=True))
        return cls(size, (depth, height, width))

    def target(self, training: TrainingConfig) -> _Spacing | None:
        """The spacing that volumes are brought to; None where they keep theirs.

        Raises:
            InputError: it is to be the median, and no file says its own.
        """
        if training.spacing != "median":
            return training.spacing
        if self.spacing is None:
            raise InputError(
                "--spacing median: no file of the training volumes says how large its voxels are: write the spacing "
                "into the headers, or leave --spacing out"
            )
        return self.spacing

    def seen(self, training: TrainingConfig) -> VolumeGeometry:
        """The same once volumes are cropped and brought to the training's spacing."""
        size, target = self.size, self.target(training)
        if training.center_crop is not None:
            size = tuple(map(min, size, sides_of(training.center_crop, len(size))))
        if target is None or self.spacing is None:
            return VolumeGeometry(size, target or self.spacing)
        ratios = [own / wanted for own, wanted in zip(self.spacing, target, strict=True)]
        return VolumeGeometry(tuple(max(1, round(a * b)) for a, b in zip(size, ratios, strict=True)), target)


def require_fitting(training: TrainingConfig, spatial_dims: int) -> None:
    """InputError where settings of training are of volumes and the data of images, or the other way round."""
    if spatial_dims == 3:
        if training.resize is not None:
            raise InputError("--resize is for images, and these are volumes: give a --spacing, or leave it out")
        return
    for name in ("crop", "center_crop", "validation_crop"):
        sides = getattr(training, name)
        if not isinstance(sides, int | None):
            option = f"--{name.replace('_', '-')}"
            what = "these are images" if training.slices is None else "slices of volumes are images"
            raise InputError(
                f"{option} has three sides, and {what} of two: give one side for both, such as {option} {max(sides)}"
            )
    if training.spacing is not None:
        raise InputError("--spacing is for volumes, and these are images: give a --resize, or leave it out")


def fitted(
    method: str, settings: Mapping[str, Any], training: TrainingConfig, geometry: VolumeGeometry
) -> dict[str, Any]:
    """The settings of a method for volumes: strides and kernels, where they are not given, by the crop and the spacing.

    Those of the members of an ensemble, and of a method within another, too. A method with latents at the coarsest
    scale pools as far as there is anything to pool, the others leave `LEAST_SIZE` places.
    """
    own, seen = dict(settings), geometry.seen(training)
    for within, names in (("member_settings", own.get("members", ())), ("base_settings", [own.get("base")])):
        inner = {name: dict(given) for name, given in own.get(within, {}).items()}
        for name in filter(None, names):
            inner[name] = fitted(name, inner.get(name, {}), training, geometry)
        if inner:
            own[within] = inner
    fields = find_method(method).Config.model_fields
    if "strides" not in fields:
        return own
    size = seen.size if training.crop is None else tuple(map(min, seen.size, sides_of(training.crop, len(seen.size))))
    least = 1 if "latent_dims" in fields else LEAST_SIZE
    space = pooling_of(size, seen.spacing, len(own.get("channels", fields["channels"].default)), least)
    return {"strides": space.strides, "kernels": space.kernels} | {
        name: value for name, value in own.items() if name not in ("strides", "kernels") or value
    }


def with_tilt(training: TrainingConfig, geometry: VolumeGeometry) -> TrainingConfig:
    """The settings with tilts of volumes decided, where they are open: some degrees for voxels that are known to be
    nearly cubes."""
    if training.augmentation.tilt is not None:
        return training
    spacing = geometry.seen(training).spacing
    is_cube = spacing is not None and max(spacing) <= NEARLY_CUBES * min(spacing)
    changed = training.augmentation.model_copy(update={"tilt": TILT if is_cube else 0.0})
    return training.model_copy(update={"augmentation": changed})
