"""DeepLabV3+ for small images: a residual encoder, parallel atrous convolutions at its end, and a light decoder.

Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", ECCV 2018 (arXiv:1802.02611), section 3. The paper's encoders are large and pretrained; this one is a
small residual network (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016) to train from scratch.

Any input size: strides round up and up-sampling goes to the size of the skip connection or of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.convolution import CONVOLUTION, thinned
from plurimask.nn.unet import BATCH_NORM, LINEAR_INTERPOLATION

Normalisation = Literal["none", "batch", "group"]

GLOBAL_POOL: dict[int, type[nn.Module]] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
LOW_LEVEL_STRIDE = 4
"""Of the features that the decoder takes from the encoder's first stage."""
MAX_GROUPS = 8
"""Of group norm: 8 or, if the channels do not divide by that, their largest common divisor with 8."""


class DeepLabSettings(NamedTuple):
    """The paper's constants, and what has to be smaller for small images."""

    channels: tuple[int, ...] = (16, 32, 64, 96)
    """Of each stage of the encoder. The first is at stride 4, and the stem at stride 2 is as wide."""
    blocks_per_stage: int = 1
    """Residual blocks of two 3x3 convolutions."""
    output_stride: int = 16
    """Of the encoder's last features, 8 or 16: stages that would go beyond are dilated instead of strided."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Dilations of the atrous branches, in pixels of the encoder's last features: the paper's for output stride 16,
    which it doubles for 8. A rate of at least the features' size leaves only the middle one of the 3x3 weights: 128x128
    images have 8x8 features at stride 16 and 16x16 at 8, so they want smaller rates, such as (1, 2, 4) or (2, 4, 8)."""
    aspp_channels: int = 64
    """Of each atrous branch, of the encoder's output and of the decoder; 256 in the paper."""
    low_level_channels: int = 12
    """To which the skip connection is reduced, so that it does not outweigh the encoder's output; 48 in the paper."""
    separable: bool = False
    """3x3 convolutions of the atrous branches and of the decoder: one for each channel, then a 1x1 convolution."""
    normalisation: Normalisation = "none"
    """Between a convolution and its ReLU; "batch" in the paper, whose networks are deep. A convolution has biases where
    nothing normalises after it."""


DEFAULT = DeepLabSettings()


class Layers(NamedTuple):
    """How convolutions, normalisation and ReLU go together in one network."""

    normalisation: Normalisation
    separable: bool
    spatial_dims: int

    def norm(self, channels: int) -> nn.Module:
        if self.normalisation == "none":
            return nn.Sequential()  # empty, it leaves no trace in a graph, as an nn.Identity would
        if self.normalisation == "batch":
            return BATCH_NORM[self.spatial_dims](channels)
        return nn.GroupNorm(math.gcd(channels, MAX_GROUPS), channels)

    def conv(
        self, in_channels: int, out_channels: int, size: int = 1, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> nn.Module:
        """A convolution and its normalisation: `(B, in_channels, *spatial)` -> `(B, out_channels, *spatial/stride)`."""
        conv = CONVOLUTION[self.spatial_dims](
            in_channels,
            out_channels,
            kernel_size=size,
            stride=stride,
            padding=dilation * (size // 2),
            dilation=dilation,
            groups=groups,
            bias=self.normalisation == "none",
        )
        return nn.Sequential(conv, self.norm(out_channels))

    def atrous(self, in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
        """A dilated 3x3 convolution, normalisation and ReLU; separable (section 3.1) if the network is.

        The authors' released code has normalisation and ReLU between the two parts of a separable one as well.
        """
        if not self.separable:
            return nn.Sequential(self.conv(in_channels, out_channels, 3, dilation=dilation), nn.ReLU(inplace=True))
        return nn.Sequential(
            self.conv(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
            nn.ReLU(inplace=True),
            self.conv(in_channels, out_channels),
            nn.ReLU(inplace=True),
        )


class StridedBlock(nn.Module):
    """`(B, in_channels, *spatial)` -> `(B, out_channels, *spatial / stride)`: ReLU(shortcut + residual).

    The residual is two 3x3 convolutions with a ReLU between them (He et al. 2016, section 3.1). The shortcut is a 1x1
    convolution where stride or number of channels changes, at every `stride`-th place, else the identity. `dilations`:
    of the two convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, dilations: tuple[int, int], layers: Layers
    ) -> None:
        super().__init__()
        first, second = dilations
        self.residual = nn.Sequential(
            layers.conv(in_channels, out_channels, 3, stride, first),
            nn.ReLU(inplace=True),
            layers.conv(out_channels, out_channels, 3, dilation=second),
        )
        self.strides = (stride,) * layers.spatial_dims
        changes = stride > 1 or in_channels != out_channels
        self.shortcut = layers.conv(in_channels, out_channels) if changes else nn.Sequential()
        self.relu = nn.ReLU(inplace=True)  # on the sum, which is a new tensor: neither summand is overwritten

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.shortcut(thinned(x, self.strides)) + self.residual(x))
        return out


class StridedEncoder(nn.Module):
    """`(B, in_channels, *spatial)` -> features at stride 4, `(B, channels[0], ...)`, and at the output stride,
    `(B, channels[-1], ...)`.

    Stages stride by 2 until the output stride is reached; each later one doubles the dilation from its second
    convolution on instead. With the same weights this gives the features that strides would, at more places (Chen et
    al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 3.1).
    """

    def __init__(self, in_channels: int, settings: DeepLabSettings, layers: Layers) -> None:
        super().__init__()
        channels = settings.channels
        self.stem = nn.Sequential(layers.conv(in_channels, channels[0], 3, stride=2), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        reached, dilation = LOW_LEVEL_STRIDE // 2, 1
        for before, after in zip([channels[0], *channels[:-1]], channels, strict=True):
            stride, last_dilation = (2 if reached < settings.output_stride else 1), dilation
            reached, dilation = reached * stride, dilation * 2 // stride
            first = StridedBlock(before, after, stride, (last_dilation, dilation), layers)
            others = [
                StridedBlock(after, after, 1, (dilation, dilation), layers)
                for _ in range(settings.blocks_per_stage - 1)
            ]
            self.stages.append(nn.Sequential(first, *others))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = low_level = self.stages[0](self.stem(images))
        for stage in self.stages[1:]:
            x = stage(x)
        return low_level, x


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: `(B, in_channels, *spatial)` -> `(B, aspp_channels, *spatial)`.

    A 1x1 convolution, a 3x3 convolution at each rate and the image's average, side by side, mixed by a 1x1 convolution
    (section 3.1; Chen et al. 2017, section 3.3). The average's branch is not normalised: it has one value per image
    and channel, too few for batch statistics.
    """

    def __init__(self, in_channels: int, settings: DeepLabSettings, layers: Layers) -> None:
        super().__init__()
        width = settings.aspp_channels
        self.pointwise = nn.Sequential(layers.conv(in_channels, width), nn.ReLU(inplace=True))
        self.atrous = nn.ModuleList(layers.atrous(in_channels, width, rate) for rate in settings.rates)
        without_norm = layers._replace(normalisation="none")
        pool = GLOBAL_POOL[layers.spatial_dims](1)
        self.average = nn.Sequential(pool, without_norm.conv(in_channels, width), nn.ReLU(inplace=True))
        self.project = nn.Sequential(layers.conv((2 + len(settings.rates)) * width, width), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        average = functional.interpolate(self.average(x), size=x.shape[2:], mode="nearest")
        branches = [self.pointwise(x), *[atrous(x) for atrous in self.atrous], average]
        out: Tensor = self.project(torch.cat(branches, dim=1))
        return out


class DeepLabV3Plus(nn.Module):
    """Images `(B, in_channels, *spatial)` -> class scores `(B, num_classes, *spatial)`, for images of any size.

    Decoder (section 3.1, Fig. 2): the encoder's output, up-sampled to stride 4, beside the first stage's features,
    reduced by a 1x1 convolution; two 3x3 convolutions; 1x1 to class scores, up-sampled to the image.

    Raises ValueError for an output stride other than 8 and 16, or for one that the encoder has too few stages to reach.
    """

    def __init__(
        self, in_channels: int, num_classes: int, settings: DeepLabSettings = DEFAULT, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        check_output_stride(settings.output_stride, settings.channels)
        layers = Layers(settings.normalisation, settings.separable, spatial_dims)
        width, low_level = settings.aspp_channels, settings.low_level_channels
        self.encoder = StridedEncoder(in_channels, settings, layers)
        self.pyramid = AtrousPyramid(settings.channels[-1], settings, layers)
        self.skip = nn.Sequential(layers.conv(settings.channels[0], low_level), nn.ReLU(inplace=True))
        self.decoder = nn.Sequential(layers.atrous(width + low_level, width), layers.atrous(width, width))
        self.scores = CONVOLUTION[spatial_dims](width, num_classes, kernel_size=1)
        self.upsampling = LINEAR_INTERPOLATION[spatial_dims]

    def upsample(self, coarse: Tensor, size: Sequence[int]) -> Tensor:
        """Features `(B, F, *coarse)` at another size.

        Corners are not aligned: a feature then lies off its pixels by the same distance everywhere, which convolutions
        can make up for. Aligned corners would stretch the features by up to a stride from one end to the other.
        """
        return functional.interpolate(coarse, size=size, mode=self.upsampling, align_corners=False)

    def forward(self, images: Tensor) -> Tensor:
        low_level, features = self.encoder(images)
        coarse = self.upsample(self.pyramid(features), low_level.shape[2:])
        scores = self.scores(self.decoder(torch.cat([coarse, self.skip(low_level)], dim=1)))
        return self.upsample(scores, images.shape[2:])


def check_output_stride(output_stride: int, channels: Sequence[int]) -> None:
    """Raise ValueError unless it is 8 or 16 and there are stages enough to reach it."""
    if output_stride not in (8, 16):
        raise ValueError(
            f"output_stride is {output_stride}, but an encoder's features are at stride 8 or 16: choose 16, or 8 for "
            f"finer features at more computation"
        )
    needed = int(math.log2(output_stride // LOW_LEVEL_STRIDE)) + 1
    if len(channels) < needed:
        raise ValueError(
            f"an output_stride of {output_stride} takes {needed} stages, of strides 4, 8, ..., but channels has "
            f"{len(channels)}, {tuple(channels)}: give one number per stage, or a smaller output_stride"
        )
