"""Dropout in a U-Net, and many passes through one: what no dropout can reach is computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plurimask.nn.convolution import CONVOLVE, CONVOLVE_TRANSPOSED, doubling_kernel
from plurimask.nn.grids import count_of, split_rows, words_of_rows
from plurimask.nn.space import PLANE, Space
from plurimask.nn.unet import Decoder, UNetFeatures, Upsampling, pooled

_LEVELS = 2**16


class DropoutSites(NamedTuple):
    """Which blocks of a U-Net drop elements of the features that come in from the block before, not of the skips."""

    encoder: range  # scales, finest 0: dropped before pooling
    decoder: range  # scales: dropped before up-sampling


def innermost_blocks(num_scales: int, num_encoder: int, num_decoder: int) -> DropoutSites:
    """The innermost blocks of a U-Net, as many as there are: the image itself is never dropped."""
    return DropoutSites(
        range(max(1, num_scales - num_encoder), num_scales),
        range(max(0, num_scales - 1 - num_decoder), num_scales - 1),
    )


def mask_shapes(
    channels: Sequence[int], size: Sequence[int], sites: DropoutSites, space: Space = PLANE
) -> list[tuple[int, ...]]:
    """`(F, *spatial)` of what is dropped at each site, in the order of the pass, for images of `size`."""
    sizes = space.sizes(size, len(channels))
    before = [scale - 1 for scale in sites.encoder] + [scale + 1 for scale in reversed(sites.decoder)]
    return [(channels[scale], *sizes[scale]) for scale in before]


def draw_masks(
    num: int, shapes: Sequence[tuple[int, ...]], probability: float, generator: torch.Generator | None
) -> tuple[Tensor, ...]:
    """Which elements are kept: for each shape a bool `(num, *shape)` on the CPU, False with the given probability.

    One draw of 64 random bits decides on four elements, so probabilities are multiples of 2^-16.
    """
    masks = []
    for shape in shapes:
        count = num * math.prod(shape)
        bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        kept = bits.view(torch.int16)[:count] >= round(probability * _LEVELS) - _LEVELS // 2
        masks.append(kept.view(num, *shape[1:], shape[0]).movedim(-1, 1))  # channels innermost, as in the features
    return tuple(masks)


def masks_at(
    seed: int, shapes: Sequence[tuple[int, ...]], boxes: Sequence[tuple[slice, ...]], probability: float
) -> tuple[Tensor, ...]:
    """The parts in `boxes`, one of each site's spatial axes, of what `draw_masks` gives for one draw of this seed."""
    masks, first = [], 0
    for (channels, *spatial), (rows, *others) in zip(shapes, boxes, strict=True):
        row, kept = math.prod(spatial[1:]) * channels, []
        for some in split_rows(rows, row):
            grid = words_of_rows(seed, first, row, some).view(-1, *spatial[1:], channels)[(slice(None), *others)]
            kept.append(grid >= round(probability * _LEVELS) - _LEVELS // 2)
        masks.append(torch.cat(kept).movedim(-1, 0)[None])
        first += count_of((channels, *spatial))
    return tuple(masks)


def dropped_features(
    unet: UNetFeatures, images: Tensor, masks: Sequence[Tensor], sites: DropoutSites, probability: float
) -> Tensor:
    """One pass with dropout for training: images `(B, K, *spatial)` and masks `(B, F, *spatial)` -> features.

    Kept elements are divided by the probability of being kept, so that the mean stays.
    """
    remaining, features, x = iter(masks), [], images
    for scale, block in enumerate(unet.encoder.blocks):
        if scale in sites.encoder:
            x = _drop(x, next(remaining), probability)
        x = block(pooled(unet.encoder.pools[scale - 1], x) if scale else x)
        features.append(x)
    for scale, block in zip(reversed(range(len(features) - 1)), unet.decoder.blocks, strict=True):
        if scale in sites.decoder:
            x = _drop(x, next(remaining), probability)
        skip = features[scale]
        x = block(torch.cat([unet.decoder.upsample(x, skip.shape[2:]), skip], dim=1))
    return x


def _drop(features: Tensor, mask: Tensor, probability: float) -> Tensor:
    return features * (mask.to(features) / (1 - probability))


class MonteCarloPasses:
    """A U-Net in evaluation, passed many times with dropout, for a batch of images.

    Four things make T passes cheaper than T calls. The encoder's blocks before the first dropout are computed once. A
    convolution over a concatenation is a sum of two, so the skips' halves of the decoder's first convolutions are
    computed once too where the skips are. Batch norm, whose statistics are fixed now, is folded into the convolutions.
    And a 3x3 convolution after nearest up-sampling to the double is one transposed convolution of the small map, with
    4 products a pixel in place of 9.
    """

    def __init__(self, unet: UNetFeatures, images: Tensor, sites: DropoutSites, probability: float) -> None:
        self.unet, self.sites, self.probability = unet, sites, probability
        kind = images.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype
        self.encoder = [[layer.to(dtype) for layer in _folded(block)] for block in unet.encoder.blocks]
        blocks = [_folded(block) for block in reversed(unet.decoder.blocks)]  # by scale, finest first
        self.first = [_Joining.of(block[0], unet.decoder.style.upsampling, dtype) for block in blocks]
        self.decoder = [[layer.to(dtype) for layer in block[1:]] for block in blocks]
        with torch.autocast(kind, enabled=False):
            x, self.shared = images.to(dtype), []
            for scale in range(sites.encoder.start):
                x = _convolve(pooled(unet.encoder.pools[scale - 1], x) if scale else x, self.encoder[scale])
                self.shared.append(x)
            within = self.shared[: len(self.decoder)]  # the innermost features are no skip
            self.skip_shares = [self.first[scale].of_skip(skip) for scale, skip in enumerate(within)]

    @property
    def elements(self) -> int:
        """How many numbers one pass holds at its widest place, for all images together."""
        first = self.first[0].skip.weight
        return len(self.shared[0]) * (first.shape[0] + first.shape[1]) * math.prod(self.shared[0].shape[2:])

    def __call__(self, masks: Sequence[Tensor]) -> Tensor:
        """Masks `(N, 1, F, *spatial)` of each site -> features `(N * B, F, *spatial)`, sample by sample."""
        remaining = iter(masks)
        with torch.autocast(self.shared[0].device.type, enabled=False):
            x, features = self.shared[-1], []
            for scale in self.sites.encoder:
                coarser = pooled(self.unet.encoder.pools[scale - 1], self._dropped(x, remaining))
                x = _convolve(coarser, self.encoder[scale])
                features.append(x)
            for scale in reversed(range(len(self.decoder))):
                x = self._dropped(x, remaining) if scale in self.sites.decoder else x
                x = self._decode(x, scale, features)
        return x

    def _decode(self, x: Tensor, scale: int, features: list[Tensor]) -> Tensor:
        """The decoder's block of one scale, on the features of the coarser one."""
        begin = self.sites.encoder.start
        share = self.skip_shares[scale] if scale < begin else self.first[scale].of_skip(features[scale - begin])
        joined = self.first[scale].of_coarse(x, share.shape[2:], self.unet.decoder)
        joined.view(-1, *share.shape).add_(share)
        return _convolve(joined.relu_(), self.decoder[scale])

    def _dropped(self, x: Tensor, masks: Iterator[Tensor]) -> Tensor:
        """Features `(B or N * B, F, *spatial)` with each sample's mask on them: `(N * B, F, *spatial)`."""
        by_sample = x.view(-1, len(self.shared[0]), *x.shape[1:])
        return _drop(by_sample, next(masks).to(x.device), self.probability).flatten(0, 1)


class _Convolution(NamedTuple):
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        padding = [side // 2 for side in self.weight.shape[2:]]
        return CONVOLVE[x.ndim - 2](x, self.weight, self.bias, padding=padding)

    def to(self, dtype: torch.dtype) -> _Convolution:
        return _Convolution(self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))


class _Joining(NamedTuple):
    """The first convolution of a decoder's block, over [up-sampled features, skip], in its two halves."""

    skip: _Convolution
    upsampled: _Convolution
    """For the up-sampled features, without a bias."""
    doubled: Tensor | None
    """The same for the features before up-sampling, as a transposed convolution; None where that is not nearest, or a
    kernel has no neighbours along some axis."""

    @classmethod
    def of(cls, layer: _Convolution, upsampling: Upsampling, dtype: torch.dtype) -> _Joining:
        """Of a convolution whose last input channels, as many as it has outputs, are the skip's."""
        weight, bias = layer
        own, skip = weight[:, : -len(weight)], weight[:, -len(weight) :]
        can_double = upsampling == "nearest" and min(own.shape[2:]) > 1
        doubled = doubling_kernel(own).to(dtype) if can_double else None
        return cls(_Convolution(skip, bias).to(dtype), _Convolution(own, None).to(dtype), doubled)

    def of_skip(self, skip: Tensor) -> Tensor:
        return self.skip(skip)

    def of_coarse(self, coarse: Tensor, size: torch.Size, decoder: Decoder) -> Tensor:
        if self.doubled is not None and all(2 * a == b for a, b in zip(coarse.shape[2:], size, strict=True)):
            return CONVOLVE_TRANSPOSED[coarse.ndim - 2](coarse, self.doubled, stride=2, padding=1)
        return self.upsampled(decoder.upsample(coarse, size))


def _folded(block: nn.Module) -> list[_Convolution]:
    """The convolutions of a block; a batch norm after one is folded into its weights, with its running statistics."""
    layers: list[_Convolution] = []
    for layer in block.children():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            assert layer.bias is not None
            layers.append(_Convolution(layer.weight, layer.bias))
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            assert layer.running_mean is not None and layer.running_var is not None
            weight, bias = layers.pop()
            assert bias is not None
            gain = layer.weight * (layer.running_var + layer.eps).rsqrt()
            folded = weight * gain.view(-1, *[1] * (weight.ndim - 1))
            layers.append(_Convolution(folded, (bias - layer.running_mean) * gain + layer.bias))
    return layers


def _convolve(x: Tensor, layers: Sequence[_Convolution]) -> Tensor:
    for layer in layers:
        x = layer(x).relu_()
    return x
