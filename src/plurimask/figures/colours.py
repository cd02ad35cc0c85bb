"""Arrays to colours: images for the screen, and label maps in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from torch import Tensor

from plurimask.distribution import IGNORE

Array: TypeAlias = "NDArray[Any] | Tensor"
"""A numpy array, or a tensor in the processor's memory."""

Colours: TypeAlias = NDArray[np.float64]

PALETTE = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),  # Okabe and Ito, 2008
    *("#882255", "#332288", "#DDCC77", "#117733", "#BBAAEE", "#7A4A21", "#A5E5D5", "#FFB3A7", "#4D4D4D"),
)
RATER_COLOUR, SAMPLE_COLOUR = PALETTE[0], PALETTE[1]
"""Of the one counted class of binary data, by whose mask it is."""

INK, FAINT, GRID = "#222222", "#767676", "#DDDDDD"
"""Text and lines; secondary text; rules."""

rgb = to_rgb
""" "#E69F00" -> red, green and blue, 0 to 1."""

_STRETCH = (0.5, 99.5)
"""The percentiles that become black and white."""


def display_image(image: Array) -> Colours:
    """An image `(K, H, W)` in any values -> `(H, W, 3)`, 0 to 1, stretched between its half and 99.5th percentile.

    One channel is grey. Of two, the brighter is grey and the other magenta over it, as fluorescence over brightfield.
    Three are red, green and blue, stretched together unless one is far dimmer than another. Of more channels the first
    is shown.
    """
    channels = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if channels.ndim != 3:
        raise ValueError(f"an image of shape {channels.shape}: expected (channels, height, width)")
    if len(channels) == 3:
        spans = [high - low for low, high in (np.percentile(channel, _STRETCH) for channel in channels)]
        if max(spans) < 4 * min(spans):
            return np.moveaxis(_stretched(channels), 0, -1)
        return np.stack([_stretched(channel) for channel in channels], axis=-1)
    first = _stretched(channels[0])
    if len(channels) == 2:
        grey, other = sorted((first, _stretched(channels[1])), key=lambda channel: -float(channel.mean()))
        return np.stack([np.maximum(grey, other), grey * (1 - other), np.maximum(grey, other)], axis=-1)
    return np.stack([first] * 3, axis=-1)


def _stretched(values: Colours) -> Colours:
    low, high = np.percentile(values, _STRETCH)
    if high <= low:
        low, high = values.min(), values.max()
    if high <= low:
        return np.full_like(values, 0.5)
    stretched: Colours = np.clip((values - low) / (high - low), 0, 1)
    return stretched


def class_colours(num_classes: int, has_background: bool = True) -> Colours:
    """RGB `(C, 3)`, 0 to 1, one colour a class; the background, if class 0 is one, is white."""
    fixed = [rgb(colour) for colour in PALETTE]
    background = [(1.0, 1.0, 1.0)] if has_background else []
    missing = num_classes - len(background) - len(fixed)
    # Beyond the palette: hues by the golden angle, in three levels of brightness.
    more = [colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.55 + 0.4 * (k % 2), 0.95 - 0.25 * (k % 3)) for k in range(missing)]
    return np.array([*background, *fixed, *more][:num_classes])


def rater_colours(count: int) -> list[str]:
    """A colour for each rater, none of them that of samples."""
    own = [colour for colour in PALETTE if colour != SAMPLE_COLOUR]
    return [own[number % len(own)] for number in range(count)]


def colour_labels(labels: Array, num_classes: int, has_background: bool = True) -> Colours:
    """A label map `(H, W)` -> RGBA `(H, W, 4)`, 0 to 1.

    The background, if class 0 is one, is transparent; IGNORE, what nobody judged, is in grey stripes.
    """
    labels = np.asarray(labels)
    table = np.zeros((256, 4))
    table[:num_classes, :3] = class_colours(num_classes, has_background)
    table[int(has_background) : num_classes, 3] = 1
    colours: Colours = table[labels]
    ignored = labels == IGNORE
    colours[ignored] = stripes(labels.shape)[ignored]
    return colours


def stripes(shape: tuple[int, ...]) -> Colours:
    """Grey diagonal stripes, RGBA `(H, W, 4)`: what was not judged."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    width = max(1, max(shape) // 40)
    pattern = np.full((*shape, 4), 0.62)
    pattern[(rows + columns) // width % 2 == 0, :3] = 0.42
    pattern[..., 3] = 1
    return pattern


def thinned(array: Array, max_side: int = 800) -> NDArray[Any]:
    """`(..., H, W)` with every k-th row and column, so that no side is longer than `max_side`: enough for a figure."""
    values = np.asarray(array)
    step = -(-max(values.shape[-2:]) // max_side)
    return values[..., ::step, ::step]


def boundary_share(samples: Array) -> Colours:
    """The share of the label maps `(N, H, W)` in which a boundary runs beside each pixel, `(H, W)`, 0 to 1."""
    maps = np.asarray(samples)
    edges = np.zeros(maps.shape, dtype=bool)
    edges[:, :-1] |= maps[:, 1:] != maps[:, :-1]
    edges[:, :, :-1] |= maps[:, :, 1:] != maps[:, :, :-1]
    share: Colours = edges.mean(0)
    return share


def over(below: Colours, paint: Colours) -> Colours:
    """RGBA `(H, W, 4)` painted over a picture `(H, W, 3)`."""
    blended: Colours = (1 - paint[..., 3:]) * below + paint[..., 3:] * paint[..., :3]
    return blended


def peak(maps: Iterable[Array], least: float) -> float:
    """The top of a scale for these maps: their largest value that is not NaN, at least `least`."""
    return max([least, *(float(np.nanmax(np.asarray(one), initial=0.0)) for one in maps)])
