"""Random flips, rotations, scalings, elastic deformations and gamma, for a batch of images and all their raters alike.

All geometry is composed to one sampling grid per image, so that image and labels are read once, by the same map. Pixels
from outside the frame are IGNORE in the labels (nobody judged them) and 0 in the images (their mean).

The slices of a volume are moved alike, each in its own plane: nothing is interpolated between slices, which may lie far
apart. Only where volumes are tilted out of that plane, as those are whose voxels are nearly cubes, it is.
"""

from __future__ import annotations

import math
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from plurimask.distribution import IGNORE
from plurimask.errors import InputError

KNOTS_PER_SIGMA = 2.0
"""Elastic fields are drawn on a grid of this many knots per sigma: a coarser one would show."""


class AugmentationConfig(BaseModel):
    """What may happen to an image, and how often. Probabilities of 0, 0 degrees and ranges of (1, 1) switch off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip_horizontal: float = Field(0.5, ge=0, le=1, description="probability of exchanging left and right")
    flip_vertical: float = Field(0.0, ge=0, le=1, description="probability of exchanging top and bottom")
    flip_depth: float = Field(0.0, ge=0, le=1, description="of volumes: probability of reversing the order of slices")
    rotation: float = Field(15.0, ge=0, le=180, description="angles are uniform from minus to plus this, in degrees")
    tilt: float | None = Field(
        None,
        ge=0,
        le=180,
        description="of volumes: angles of rotations out of the plane of slices, with which scaling is along all axes, "
        "in degrees; by default 5 where voxels are nearly cubes, else 0",
    )
    shear: float = Field(0.0, ge=0, lt=90, description="angles are uniform from minus to plus this, in degrees")
    scale: tuple[float, float] = Field(
        (0.9, 1.1), description="range of the magnification (2: things look twice as big)"
    )
    elastic_probability: float = Field(0.0, ge=0, le=1, description="probability of an elastic deformation")
    elastic_alpha: float = Field(
        2.0, ge=0, le=1000, description="standard deviation of an elastic displacement, in pixels"
    )
    elastic_sigma: float = Field(
        8.0, ge=0.1, le=1000, description="how far elastic displacements vary together, in pixels"
    )
    gamma_probability: float = Field(0.3, ge=0, le=1, description="probability of a gamma correction")
    gamma: tuple[float, float] = Field((0.8, 1.25), description="range of the exponent; 1 changes nothing")

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("gamma", self.gamma)):
            if not 0.01 <= low <= high <= 100:
                raise ValueError(f"{name} must be two numbers from 0.01 to 100, the smaller first, not {low, high}")
        return self

    @classmethod
    def off(cls) -> Self:
        """Nothing happens."""
        return cls(flip_horizontal=0, rotation=0, scale=(1, 1), gamma_probability=0)

    @property
    def is_elastic(self) -> bool:
        """Whether images may be deformed."""
        return self.elastic_probability > 0 and self.elastic_alpha > 0


class Augmentation(nn.Module):
    """Transforms a batch on its device; has no parameters. Apply it to training batches only."""

    def __init__(self, config: AugmentationConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Each image with its own random transform, its labels with the same.

        Args:
            images: `(B, K, *spatial)`, float32, normalised to mean 0. Read linearly.
            labels: `(B, R, *spatial)`, uint8. Read at the nearest pixel, so that no new value appears; IGNORE stays
                IGNORE.
            generator: a CPU generator; all chance comes from it, so a seed means the same on every device.

        Raises:
            InputError: if images and labels are not of the same batch and size.
        """
        if images.ndim not in (4, 5) or labels.ndim != images.ndim or images[:, 0].shape != labels[:, 0].shape:
            raise InputError(
                f"augmentation needs images (B, K, *spatial) and labels (B, R, *spatial) of one batch and size, "
                f"not {tuple(images.shape)} and {tuple(labels.shape)}"
            )
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            images = self._adjust_gamma(images, generator)
            if images.ndim == 4:
                return self._in_plane(images, labels, generator)
            if self.config.flip_depth > 0:
                chosen = torch.rand(len(images), generator=generator) < self.config.flip_depth
                images, labels = _reversed(images, chosen, 2), _reversed(labels, chosen, 2)
            if self.config.tilt:
                signs = self._flip_signs(len(images), generator)
                return warp(images, labels, self._displacements(images, signs, generator))
            depth = images.shape[2]
            moved = self._in_plane(images.flatten(1, 2), labels.flatten(1, 2), generator)
            images, labels = (maps.view(len(maps), -1, depth, *maps.shape[2:]) for maps in moved)
            return images, labels

    def _in_plane(self, images: Tensor, labels: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Images `(B, K, H, W)`, or all slices of volumes as channels, and labels so too."""
        signs = self._flip_signs(len(images), generator)
        config = self.config
        if config.rotation > 0 or config.shear > 0 or config.scale != (1, 1) or config.is_elastic:
            return warp(images, labels, self._displacements(images, signs, generator))
        return flip(images, signs), flip(labels, signs)

    def _flip_signs(self, batch_size: int, generator: torch.Generator | None) -> Tensor:
        """-1 where an axis is flipped: `(B, 2)`, x then y."""
        probability = torch.tensor([self.config.flip_horizontal, self.config.flip_vertical])
        return 1.0 - 2.0 * (torch.rand(batch_size, 2, generator=generator) < probability)

    def _displacements(self, images: Tensor, signs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Where each pixel is read, in pixels from the image's centre: `(B, *spatial, 2 or 3)`, x, then y, then z."""
        config, batch_size, spatial = self.config, len(images), images.shape[2:]
        angle = _uniform(batch_size, (-config.rotation, config.rotation), generator)
        # Scales are uniform in their logarithm: half and double are equally likely.
        log_scale = _uniform(batch_size, (math.log(config.scale[0]), math.log(config.scale[1])), generator)
        # Reading undoes the transform: the inverse of a rotation and scaling turns back and shrinks.
        scale = torch.exp(-log_scale)[:, None] * signs
        cosine, sine = torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))
        rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
        matrix = rotation * scale[:, None]
        if config.shear > 0:
            shear = torch.eye(2).repeat(batch_size, 1, 1)
            shear[:, 0, 1] = torch.tan(torch.deg2rad(_uniform(batch_size, (-config.shear, config.shear), generator)))
            matrix = matrix @ shear
        if len(spatial) == 3:
            matrix = self._tilted(matrix, torch.exp(-log_scale), generator)
        matrix = matrix.to(images.device)
        where: Tensor = torch.zeros((), device=images.device)
        for column, length in enumerate(reversed(spatial)):  # x is the last axis
            places = torch.arange(length, device=images.device) - (length - 1) / 2
            along = places.view(-1, *[1] * (column + 1))
            where = along * matrix[:, *[None] * len(spatial), :, column] + where
        if config.is_elastic:
            chosen = torch.rand(batch_size, generator=generator) < config.elastic_probability
            field = elastic_field(int(chosen.sum()), (spatial[-2], spatial[-1]), self.config, generator)
            each = field.view(-1, *[1] * (len(spatial) - 2), *field.shape[1:])  # alike in all slices of a volume
            where[chosen.to(images.device), ..., :2] += each.to(images.device)
        return where

    def _tilted(self, in_plane: Tensor, scale: Tensor, generator: torch.Generator | None) -> Tensor:
        """Matrices `(B, 2, 2)` of x and y as `(B, 3, 3)` of x, y and z, with small rotations about x and y."""
        matrix = torch.zeros(len(in_plane), 3, 3)
        matrix[:, :2, :2], matrix[:, 2, 2] = in_plane, scale
        for axis in (0, 1):
            angle = _uniform(len(in_plane), (-(self.config.tilt or 0), self.config.tilt or 0), generator)
            turned, turn = [1 - axis, 2], torch.eye(3).repeat(len(in_plane), 1, 1)
            cosine, sine = torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))
            turn[:, turned, turned] = cosine[:, None]
            turn[:, turned[0], 2], turn[:, 2, turned[0]] = -sine, sine
            matrix = matrix @ turn
        return matrix

    def _adjust_gamma(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """x -> x^gamma of each chosen image's values, rescaled to 0 to 1 and back."""
        config = self.config
        if config.gamma_probability == 0 or config.gamma == (1, 1):
            return images
        chosen = torch.rand(len(images), generator=generator) < config.gamma_probability
        gamma = _uniform(len(images), (math.log(config.gamma[0]), math.log(config.gamma[1])), generator).exp()
        index = chosen.nonzero()[:, 0].to(images.device)
        values = images[index]
        axes = tuple(range(1, images.ndim))
        low, high = values.amin(axes, keepdim=True), values.amax(axes, keepdim=True)
        extent = (high - low).clamp(min=torch.finfo(values.dtype).tiny)
        adjusted = ((values - low) / extent) ** gamma[chosen].to(images.device).view(-1, *[1] * len(axes))
        return images.index_copy(0, index, adjusted * extent + low)


def flip(maps: Tensor, signs: Tensor) -> Tensor:
    """Flip each of `(B, *, H, W)` along the axes whose sign is -1; `signs` is `(B, 2)`, x then y. No interpolation."""
    for axis, column in ((-1, 0), (-2, 1)):
        maps = _reversed(maps, signs[:, column] < 0, axis)
    return maps


def _reversed(maps: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """Of a batch those that are chosen `(B,)`, in reversed order along an axis."""
    if not bool(chosen.any()):
        return maps
    return torch.where(chosen.to(maps.device).view(-1, *[1] * (maps.ndim - 1)), maps.flip(axis), maps)


def warp(images: Tensor, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Read images `(B, K, *spatial)` linearly and labels `(B, R, *spatial)` at the nearest pixel.

    `where` is `(B, *spatial, 2 or 3)`: x, y and z, in pixels from the image's centre. Outside the frame images are 0
    and labels IGNORE.
    """
    # Pixel -> grid_sample's coordinates, where -1 and 1 are the outer edges of the frame.
    grid = where * torch.tensor([2 / length for length in reversed(images.shape[2:])], device=where.device)
    warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # The padding is 0, so labels are counted down from IGNORE while they are read.
    counted_down = (IGNORE - labels).float()
    read = F.grid_sample(counted_down, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return warped, IGNORE - read.to(torch.uint8)


def elastic_field(
    num: int, size: tuple[int, int], config: AugmentationConfig, generator: torch.Generator | None
) -> Tensor:
    """Smooth random displacements `(num, H, W, 2)` in pixels: Gaussian, of standard deviation alpha.

    White noise blurred by a Gaussian (Simard et al., Best Practices for Convolutional Neural Networks, 2003), on a
    coarse grid for speed; it is drawn beyond the frame, so that the borders move like the rest.
    """
    spacing = max(1.0, config.elastic_sigma / KNOTS_PER_SIGMA)
    sigma = config.elastic_sigma / spacing
    radius = math.ceil(3 * sigma)
    knots = [math.ceil(extent / spacing) + 1 for extent in size]
    noise = torch.randn(num, 2, knots[0] + 2 * radius, knots[1] + 2 * radius, generator=generator)
    if num == 0:
        return torch.zeros(0, *size, 2)
    weights = torch.softmax(-torch.arange(-radius, radius + 1).square() / (2 * sigma**2), 0)
    smooth = F.conv2d(F.conv2d(noise.flatten(0, 1)[:, None], weights[None, None, None]), weights[None, None, :, None])
    # Blurring along one axis scales the deviation by the root of the sum of squared weights; along two, by the sum.
    deviation = float(weights.square().sum())
    field = F.interpolate(smooth.view(num, 2, *knots), size, mode="bicubic", align_corners=True)
    return (field * (config.elastic_alpha / deviation)).permute(0, 2, 3, 1)


def _uniform(num: int, bounds: tuple[float, float], generator: torch.Generator | None) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(num, generator=generator)
