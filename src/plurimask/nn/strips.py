"""U-Nets on images that are too large for all of their layers at once: the finest scale in strips of rows.

A block of 3x3 convolutions sees as many rows to either side as it has convolutions. A strip is computed with this halo,
whose results are thrown away: what is left is what the whole image gives, up to rounding. The finest features of the
encoder are never held: they are computed once to be pooled, and again for the decoder. All that is held of the size of
the image is what a function of each pixel's features makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.blocked import dense
from plurimask.nn.place import here, linear_rows
from plurimask.nn.space import PLANE, Space
from plurimask.nn.unet import Decoder, Encoder, Style, UNetFeatures, class_scores

MAX_PIXELS = 2**21
"""Images of up to so many pixels together are computed whole."""
STRIP_PIXELS = 2**19
"""About so many pixels have a strip of larger ones: with 50 channels and in float32 it takes 100 MB a time."""
MIN_STRIP = 32
"""Rows of a strip at least: with less, most of the time would go into halos."""

RowsOf = Callable[[int, int], Tensor]
"""Rows from the first to before the second -> `(B, K, rows, W)`."""


def pixel_features(unet: UNetFeatures, images: Tensor, of_pixels: Callable[[Tensor], Tensor]) -> Tensor:
    """`of_pixels(unet(images))`, for images `(B, K, H, W)`; `of_pixels` is a function of each pixel's features alone.

    Large images are computed in strips, where no gradient is wanted.
    """
    if not _is_large(unet, images):
        return of_pixels(unet(images))
    encoder, decoder = unet.encoder, unet.decoder
    height, finest = images.shape[2], encoder.blocks[0]
    if len(encoder.blocks) == 1:
        return _over_rows(finest, _rows_of(images), images, of_pixels)
    x = _finest_pooled(encoder, images)
    skips = []
    for block in encoder.blocks[1:]:
        skips.append(_over_rows(block, _rows_of(x), x))
        x = encoder.pools[len(skips)](skips[-1]) if len(skips) < len(encoder.pools) else skips.pop()
    for block in decoder.blocks[:-1]:
        x = _over_rows(block, _joined(decoder, x, _rows_of(skip := skips.pop()), skip.shape[2:]), skip)

    def skip_rows(start: int, stop: int) -> Tensor:
        return _haloed(finest, _rows_of(images), start, stop, height)

    joined = _joined(decoder, x, skip_rows, images.shape[2:])
    return _over_rows(decoder.blocks[-1], joined, images, of_pixels)


class PixelScores(nn.Module):
    """A whole U-Net as one module: images `(B, in_channels, *spatial)` -> class scores `(B, num_classes, *spatial)`."""

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        num_convs: int,
        style: Style,
        num_classes: int,
        space: Space = PLANE,
    ) -> None:
        super().__init__()
        self.features = UNetFeatures(in_channels, channels, num_convs, style, space)
        self.scores = class_scores(channels[0], num_classes, spatial_dims=space.dims)

    def forward(self, images: Tensor) -> Tensor:
        return pixel_features(self.features, images, self.scores)


def coarsest_features(encoder: Encoder, images: Tensor) -> Tensor:
    """`encoder(images)[-1]`, for images `(B, K, *spatial)`; of large ones in strips, where no gradient is wanted."""
    if not _is_large(encoder, images) or len(encoder.blocks) == 1:
        return dense(encoder.features(images)[-1])
    x = _finest_pooled(encoder, images)
    for number, block in enumerate(encoder.blocks[1:]):
        x = encoder.pools[number](x) if number else x
        x = _over_rows(block, _rows_of(x), x)
    return x


@contextmanager
def strips_of(pixels: int) -> Iterator[None]:
    """Inside, strips have about so many pixels, and images of twice as many are large. Of 0 every image is large, and a
    strip has as few rows as there may be."""
    global MAX_PIXELS, STRIP_PIXELS
    kept = MAX_PIXELS, STRIP_PIXELS
    MAX_PIXELS, STRIP_PIXELS = 2 * pixels, pixels
    try:
        yield
    finally:
        MAX_PIXELS, STRIP_PIXELS = kept


def _is_large(network: nn.Module, images: Tensor) -> bool:
    if network.training or torch.is_grad_enabled() or images.ndim != 4:
        return False  # in this order, so that a network in training can be traced
    return images[:, 0].numel() > MAX_PIXELS


def _finest_pooled(encoder: Encoder, images: Tensor) -> Tensor:
    """The features of the finest scale, pooled for the next."""
    return _over_rows(encoder.blocks[0], _rows_of(images), images, encoder.pools[0])


def _over_rows(
    block: nn.Module, rows_of: RowsOf, like: Tensor, then: Callable[[Tensor], Tensor] = lambda strip: strip
) -> Tensor:
    """A block over all rows of what `rows_of` gives, of the batch, height and width of `like`, strip by strip.

    `then` is done to each strip: something that looks at no further rows than the pair that pooling joins.
    """
    batch_size, _, height, width = like.shape
    step = max(MIN_STRIP, STRIP_PIXELS // (batch_size * width)) // 2 * 2  # even: pooling joins two rows
    whole: Tensor | None = None
    for start in range(0, height, step):
        stop = min(height, start + step)
        strip = then(_haloed(block, rows_of, start, stop, height))
        if whole is None:
            ratio = -(-(stop - start) // strip.shape[2])
            whole = strip.new_empty(*strip.shape[:2], -(-height // ratio), strip.shape[3])
        whole[:, :, start // ratio : start // ratio + strip.shape[2]] = strip
    assert whole is not None
    return whole


def _haloed(block: nn.Module, rows_of: RowsOf, start: int, stop: int, height: int) -> Tensor:
    """A block's output in the rows from `start` to before `stop`, of `height` in all."""
    halo = sum(module.kernel_size[0] // 2 for module in block.modules() if isinstance(module, nn.Conv2d))
    first, last = max(0, start - halo), min(height, stop + halo)
    out: Tensor = block(rows_of(first, last))
    return out[:, :, start - first : stop - first]


def _rows_of(features: Tensor) -> RowsOf:
    return lambda start, stop: features[:, :, start:stop]


def _joined(decoder: Decoder, coarse: Tensor, skip_rows: RowsOf, size: tuple[int, ...]) -> RowsOf:
    """What a decoder's block takes: coarser features, brought to `size`, and those of the encoder beside them."""

    def rows(start: int, stop: int) -> Tensor:
        skip = skip_rows(start, stop)
        upsampled = upsampled_rows(decoder, coarse, (size[0], size[1]), start, stop)
        return torch.cat([upsampled, skip], dim=1).contiguous(memory_format=torch.channels_last)

    return rows


def upsampled_rows(decoder: Decoder, coarse: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """The rows from `start` to before `stop` of `decoder.upsample(coarse, size)`.

    In bf16 it is rounded as in tiles, also where there are none. torch's own interpolation adds up in another order; it
    is faster, and stays for small images.
    """
    height, width = size
    if decoder.style.upsampling == "linear" and (here() is not None or coarse.dtype == torch.bfloat16):
        return linear_rows(coarse, size, start, stop)
    targets = torch.arange(start, stop, dtype=torch.float32, device=coarse.device)
    if decoder.style.upsampling == "nearest":
        sources = (targets * (coarse.shape[2] / height)).long().clamp_(max=coarse.shape[2] - 1)
        return functional.interpolate(coarse[:, :, sources], size=(stop - start, width), mode="nearest")
    places = targets * ((coarse.shape[2] - 1) / max(1, height - 1))
    above = places.long()
    below, share = (above + 1).clamp_(max=coarse.shape[2] - 1), (places - above)[:, None]
    upper, lower = coarse[:, :, above].float(), coarse[:, :, below].float()
    rows = torch.lerp(upper, lower, share.expand(-1, coarse.shape[3]))
    upsampled = functional.interpolate(rows, size=(stop - start, width), mode="bilinear", align_corners=True)
    return upsampled.to(coarse.dtype)
