"""A decoder's scale for many maps of few images: what only the image decides is computed once.

A decoder's first convolution is over [up-sampled coarse features; skip]. Being linear it is the sum of two, one of each
half. The coarse half differs from sample to sample (or from rater to rater), the skip's half only from image to image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.convolution import CONVOLUTION, CONVOLVE, CONVOLVE_TRANSPOSED, doubling_kernel, padded_convolution
from plurimask.nn.residual import half_width, residual_blocks
from plurimask.nn.unet import PLAIN, Style, conv_block

Share: TypeAlias = tuple[Tensor, ...]
"""The skip's share in the layers that see it, `(B, F, *spatial)` each."""


class JoiningConvolution(nn.Module):
    """A convolution over [coarse features, nearest up-sampled to the skip's size; skip], in its two halves."""

    def __init__(
        self, coarse_channels: int, skip_channels: int, out_channels: int, kernel: Sequence[int] = (3, 3)
    ) -> None:
        super().__init__()
        self.coarse_channels, self.padding = coarse_channels, tuple(side // 2 for side in kernel)
        self.joined = padded_convolution(coarse_channels + skip_channels, out_channels, kernel)

    def of_skip(self, skip: Tensor) -> Tensor:
        """The skip's half, with the bias: `(B, S, *spatial)` -> `(B, out, *spatial)`."""
        weight = self.joined.weight[:, self.coarse_channels :]
        return CONVOLVE[skip.ndim - 2](skip, weight, self.joined.bias, padding=self.padding)

    def of_coarse(self, coarse: Tensor, size: Sequence[int]) -> Tensor:
        """The coarse half: `(P, F, *coarse)` -> `(P, out, *size)`.

        A 1x1 convolution goes before the up-sampling. A 3x3 one after a doubling is a transposed convolution of the
        small map, with 4 products a pixel (of an image; 8 of a volume) in place of 9 (27).
        """
        dims, weight = coarse.ndim - 2, self.joined.weight[:, : self.coarse_channels]
        if not any(self.padding):
            return functional.interpolate(CONVOLVE[dims](coarse, weight), size=tuple(size), mode="nearest")
        is_doubled = all(2 * before == after for before, after in zip(coarse.shape[2:], size, strict=True))
        if is_doubled and all(self.padding):
            return CONVOLVE_TRANSPOSED[dims](coarse, doubling_kernel(weight), stride=2, padding=1)
        doubled = functional.interpolate(coarse, size=tuple(size), mode="nearest")
        return CONVOLVE[dims](doubled, weight, padding=self.padding)


class DecoderScale(nn.Module):
    """Coarse features of P maps and a skip of B images -> `(P, channels, *spatial)`: the blocks of one scale.

    The skip has `channels` too. Of the style only the blocks and their convolutions count; up-sampling is to the
    nearest.
    """

    def __init__(
        self,
        coarse_channels: int,
        channels: int,
        num_blocks: int,
        style: Style = PLAIN,
        kernel: Sequence[int] = (3, 3),
    ) -> None:
        super().__init__()
        if style.normalisation != "none":
            raise ValueError(f"a scale in halves has no normalisation, but {style.normalisation!r} was asked for")
        conv = CONVOLUTION[len(kernel)]
        self.is_residual = style.blocks == "residual"
        inner = half_width(channels) if self.is_residual else channels
        self.first = JoiningConvolution(coarse_channels, channels, inner, kernel)
        if self.is_residual:
            self.shortcut = JoiningConvolution(coarse_channels, channels, channels, (1,) * len(kernel))
            self.inner = nn.Sequential()
            for _ in range(style.convs_per_block - 1):
                self.inner.extend([nn.ReLU(inplace=True), padded_convolution(inner, inner, kernel)])
            self.widen = conv(inner, channels, kernel_size=1) if inner != channels else nn.Identity()
            self.rest = residual_blocks(channels, channels, num_blocks - 1, style.convs_per_block, kernel)
        else:
            self.rest = conv_block(channels, channels, num_blocks - 1, style, kernel)

    def share(self, skip: Tensor) -> Share:
        """The skip's share in the first layers: to be computed once for each image."""
        if self.is_residual:
            return self.first.of_skip(skip.relu()), self.shortcut.of_skip(skip)
        return (self.first.of_skip(skip),)

    def forward(self, coarse: Tensor, share: Share, image: Tensor | None) -> Tensor:
        """Coarse features `(P, F, *coarse)` and the shares of the images `(P,)` that they belong to.

        If `image` is None there is one map for each image.
        """
        size = share[0].shape[2:]
        if not self.is_residual:
            joined = _add(self.first.of_coarse(coarse, size), share[0], image)
            plain: Tensor = self.rest(joined.relu())
            return plain
        joined = _add(self.first.of_coarse(coarse.relu(), size), share[0], image)
        shortcut = _add(self.shortcut.of_coarse(coarse, size), share[1], image)
        features: Tensor = self.rest(shortcut + self.widen(self.inner(joined)))
        return features


def of_images(features: Tensor, image: Tensor | None) -> Tensor:
    """Of features `(B, F, *spatial)` those of the images `(P,)`: `(P, F, *spatial)`; as they are if that is None."""
    return features if image is None else features.index_select(0, image)


def _add(features: Tensor, share: Tensor, image: Tensor | None) -> Tensor:
    """Features `(P, F, *spatial)` plus the share of the image that each belongs to."""
    return features + (share if len(share) == 1 else of_images(share, image))


def shares_of(scales: Iterable[Any], skips: Iterable[Tensor]) -> list[Share]:
    """The share of each skip in its `DecoderScale`, as far as there are scales."""
    return [scale.share(skip) for scale, skip in zip(scales, skips, strict=False)]
