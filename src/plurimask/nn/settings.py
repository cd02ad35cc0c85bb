"""The settings of a U-Net that methods share."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

from pydantic import Field, model_validator

from plurimask.method import MAX_CHANNELS, MethodConfig
from plurimask.nn.initialisation import Initialisation
from plurimask.nn.space import PerScale, Space
from plurimask.nn.unet import Normalisation, Pooling, Style, Upsampling

Channels: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_CHANNELS)], ...],
    Field(min_length=2, max_length=12, description="channels of each scale, finest first"),
]

Strides: TypeAlias = Annotated[
    PerScale,
    Field(
        max_length=11,
        description="pooling from each scale to the next: 1 or 2 along each axis; (): 2, or of volumes what fits them",
    ),
]
Kernels: TypeAlias = Annotated[
    PerScale,
    Field(
        max_length=12,
        description="of the convolutions of each scale: 1 or 3 along each axis; (): 3, or of volumes what fits them",
    ),
]


def space_of(config: Any) -> Space:
    """The space of a method with such settings; ValueError if they do not fit each other."""
    space = Space(config.spatial_dims, config.strides, config.kernels)
    if fault := space.fault(len(config.channels)):
        raise ValueError(fault)
    return space


class UNetSettings(MethodConfig):
    """Of the networks of a method that is built around a U-Net; its encoders have the same."""

    channels: Channels = (32, 64, 128, 192)
    strides: Strides = ()
    kernels: Kernels = ()
    convs_per_scale: int = Field(3, ge=1, le=32, description="3x3 convolutions at each scale, on each side")
    normalisation: Normalisation = Field("none", description="after each 3x3 convolution")
    pooling: Pooling = Field("average", description="from scale to scale, down")
    upsampling: Upsampling = Field("linear", description="from scale to scale, up")
    initialisation: Initialisation = Field("he_normal", description="initial weights")

    @model_validator(mode="after")
    def _has_a_space(self) -> Self:
        space_of(self)
        return self

    @property
    def space(self) -> Space:
        return space_of(self)

    @property
    def style(self) -> Style:
        return Style(self.normalisation, self.pooling, self.upsampling)
