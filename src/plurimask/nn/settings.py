"""The settings of a U-Net that methods share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from plurimask.method import MAX_CHANNELS, MethodConfig
from plurimask.nn.initialisation import Initialisation
from plurimask.nn.unet import Normalisation, Pooling, Style, Upsampling

Channels: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_CHANNELS)], ...],
    Field(min_length=2, max_length=12, description="channels of each scale, finest first"),
]


class UNetSettings(MethodConfig):
    """Of the networks of a method that is built around a U-Net; its encoders have the same."""

    channels: Channels = (32, 64, 128, 192)
    convs_per_scale: int = Field(3, ge=1, le=32, description="3x3 convolutions at each scale, on each side")
    normalisation: Normalisation = Field("none", description="after each 3x3 convolution")
    pooling: Pooling = Field("average", description="from scale to scale, down")
    upsampling: Upsampling = Field("linear", description="from scale to scale, up")
    initialisation: Initialisation = Field("he_normal", description="initial weights")

    @property
    def style(self) -> Style:
        return Style(self.normalisation, self.pooling, self.upsampling)
