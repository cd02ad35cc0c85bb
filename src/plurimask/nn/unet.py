"""The VGG-style U-Net that methods share: 3x3 convolutions and ReLUs, by default without normalisation.

Any input size: pooling rounds up and up-sampling goes to the skip connection's size, so nothing is padded or cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.blocked import dense, is_chained, joined
from plurimask.nn.convolution import CONVOLUTION, padded_convolution
from plurimask.nn.place import here, linear_rows
from plurimask.nn.residual import residual_blocks
from plurimask.nn.space import PLANE, Space

BATCH_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

Normalisation = Literal["none", "batch"]
Pooling = Literal["average", "max"]
Upsampling = Literal["linear", "nearest"]
Blocks = Literal["plain", "residual"]

POOL: dict[Pooling, dict[int, type[nn.Module]]] = {
    "average": {2: nn.AvgPool2d, 3: nn.AvgPool3d},
    "max": {2: nn.MaxPool2d, 3: nn.MaxPool3d},
}
LINEAR_INTERPOLATION = {2: "bilinear", 3: "trilinear"}
BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM = 1e-3, 0.01
"""Those of Keras, in which the published networks with batch norm were written."""


class Style(NamedTuple):
    """What U-Nets of different papers do differently. The default is the Probabilistic U-Net's."""

    normalisation: Normalisation = "none"
    """Between a convolution and its ReLU."""
    pooling: Pooling = "average"
    upsampling: Upsampling = "linear"
    blocks: Blocks = "plain"
    """What a scale is made of: 3x3 convolutions with ReLU, or residual blocks."""
    convs_per_block: int = 3
    """In a residual block."""


PLAIN = Style()


def conv_block(
    in_channels: int,
    out_channels: int,
    num_convs: int,
    style: Style = PLAIN,
    kernel: Sequence[int] = (3, 3),
    on_images: bool = False,
) -> nn.Sequential:
    """What one scale is made of: `num_convs` times (3x3 convolution, batch norm if the style has it, ReLU).

    In a residual style it is `num_convs` residual blocks, which have no normalisation; `on_images` is for their first.
    The kernel is 3 or 1 along each axis, of which there are as many as the images have.
    """
    if style.blocks == "residual":
        if style.normalisation != "none":
            raise ValueError(f"residual blocks have no normalisation, but {style.normalisation!r} was asked for")
        return residual_blocks(in_channels, out_channels, num_convs, style.convs_per_block, kernel, on_images)
    layers: list[nn.Module] = []
    norm = BATCH_NORM[len(kernel)]
    for channels in [in_channels, *[out_channels] * num_convs][:num_convs]:
        layers.append(padded_convolution(channels, out_channels, kernel))
        if style.normalisation == "batch":
            layers.append(norm(out_channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """`(B, in_channels, *spatial)` -> one feature map per scale, finest first, each half the size of the last, rounded
    up, or smaller along some axes alone (`Space.strides`)."""

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        num_convs: int = 3,
        style: Style = PLAIN,
        space: Space = PLANE,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            conv_block(before, after, num_convs, style, space.kernel(scale), on_images=scale == 0)
            for scale, (before, after) in enumerate(zip([in_channels, *channels[:-1]], channels, strict=True))
        )
        self.pools = nn.ModuleList(
            POOL[style.pooling][space.dims](kernel_size=space.stride(scale), ceil_mode=True)
            for scale in range(len(channels) - 1)
        )
        """From each scale to the next coarser."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [dense(one) for one in self.features(images)]

    def features(self, images: Tensor) -> list[Tensor]:
        """What `forward` returns, but left in blocks where it was computed in them (`blocked.py`)."""
        features = []
        if all(is_chained(block, images) for block in self.blocks):
            x = images.to_mkldnn()
            for scale, block in enumerate(self.blocks):
                x = block(self._pooled(x, scale - 1) if scale else x)
                features.append(x)
            return features
        for scale, block in enumerate(self.blocks):
            images = block(pooled(self.pools[scale - 1], images) if scale else images)
            features.append(images)
        return features

    def _pooled(self, chained: Tensor, scale: int) -> Tensor:
        # oneDNN divides by 4 at an odd edge too, where there are 2 pixels.
        is_odd = any(size % 2 for size in chained.shape[2:])
        pool = self.pools[scale]
        pooled: Tensor = pool(chained.to_dense()).to_mkldnn() if is_odd else pool(chained)
        return pooled


def pooled(pool: nn.Module, x: Tensor) -> Tensor:
    """`pool(x)`. Of volumes torch takes no means in bf16, nor along an axis of one place, whose mean that place is."""
    if isinstance(pool, nn.AvgPool3d) and isinstance(x, Tensor):  # not what stands for one while it is traced
        window = pool.kernel_size if isinstance(pool.kernel_size, tuple) else (pool.kernel_size,) * 3
        kernel = [min(side, length) for side, length in zip(window, x.shape[2:], strict=True)]
        return functional.avg_pool3d(x.float(), kernel, ceil_mode=True).to(x.dtype)
    out: Tensor = pool(x)
    return out


class Decoder(nn.Module):
    """The features of an `Encoder` -> `(B, channels[0], *spatial)` at the finest scale."""

    def __init__(self, channels: Sequence[int], num_convs: int = 3, style: Style = PLAIN, space: Space = PLANE) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            conv_block(channels[scale + 1] + channels[scale], channels[scale], num_convs, style, space.kernel(scale))
            for scale in reversed(range(len(channels) - 1))
        )
        self.style, self.spatial_dims = style, space.dims

    def upsample(self, coarse: Tensor, size: Sequence[int]) -> Tensor:
        """Features `(B, F, *coarse)` at the `size` of the next finer scale."""
        if self.style.upsampling == "nearest":
            return functional.interpolate(coarse, size=size, mode="nearest")
        if here() is not None:
            return linear_rows(coarse, size, 0, size[0])
        mode = LINEAR_INTERPOLATION[self.spatial_dims]
        return functional.interpolate(coarse, size=size, mode=mode, align_corners=True)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = dense(features[-1])
        for block, skip in zip(self.blocks, features[-2::-1], strict=True):
            x = joined(block, self.upsample(x, skip.shape[2:]), skip)
        return x


class UNetFeatures(nn.Module):
    """Encoder and decoder without a last layer: `(B, in_channels, *spatial)` -> `(B, channels[0], *spatial)`."""

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        num_convs: int = 3,
        style: Style = PLAIN,
        space: Space = PLANE,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, num_convs, style, space)
        self.decoder = Decoder(channels, num_convs, style, space)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.decoder(self.encoder.features(images))
        return features


def class_scores(
    features: int, num_classes: int, sigmoid: bool = False, spatial_dims: int = 2
) -> nn.Conv2d | nn.Conv3d:
    """The last 1x1 convolution. `sigmoid`: no score for class 0, so that of two classes the other's is a sigmoid."""
    return CONVOLUTION[spatial_dims](features, num_classes - int(sigmoid), kernel_size=1)


def all_scores(scores: Tensor, num_classes: int) -> Tensor:
    """Scores `(P, C or C - 1, *spatial)` -> `(P, C, *spatial)`: where class 0 has none of its own, it is 0."""
    missing = num_classes - scores.shape[1]
    return functional.pad(scores, [0, 0] * (scores.ndim - 2) + [missing, 0]) if missing else scores
