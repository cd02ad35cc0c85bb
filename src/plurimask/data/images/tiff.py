"""TIFF, header and data by tifffile: one plane of channels, whose tags are obeyed or refused by name."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from plurimask.data.images.limit import refuse_large
from plurimask.data.images.stored import Array, Stored, is_one_hot, turned, turned_size
from plurimask.errors import InputError

logging.getLogger("tifffile").addHandler(logging.NullHandler())
"""What it says of tags that it passes over is for those who ask for its log; what matters is raised here."""

_ORIENTATION, _PHOTOMETRIC, _GDAL_NODATA = 274, 262, 42113
_WHITE_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_KEPT = (_WHITE_IS_ZERO, 1, _RGB, _PALETTE, 5)
_JPEG = (6, 7, 34892)
_PREMULTIPLIED, _STRAIGHT = 1, 2
_CONTIGUOUS = 1
_TRANSPARENCY_MASK = 4

_PLANES = {
    "Z": "slices of a stack",
    "T": "frames of a time series",
    "I": "pages",
    "Q": "pages",
    "R": "tiles or regions",
}
_PIXELS, _PLANE_SIZES = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>"), re.compile(r"""\bSize[ZCT]\s*=\s*["'](\d{1,20})""")
_MAX_PLANES = 10**6
_MAX_TRAILING = 4
"""An undeclared last axis of at most so many values holds channels: a picture of this width is none."""


@dataclass(frozen=True)
class _Plan:
    """How the data of a file are read, from its header."""

    series: Any
    page: Any
    channel_axis: int | None
    orientation: int
    refusal: InputError | None
    """Of planes that may only be the classes of a mask, one map for each."""


def tiff_shape(path: Path) -> tuple[int, int, int]:
    """`(K, H, W)` of the image in `path`, from its header."""
    with tifffile.TiffFile(path) as file:
        plan = _plan(file, path, of_pages=True)
        if plan.refusal is not None:
            raise plan.refusal
        shape, axis = list(plan.series.shape), plan.channel_axis
        channels = 3 if plan.page.photometric == _PALETTE else 1 if axis is None else shape.pop(axis)
        return (channels, *turned_size(shape[0], shape[1], plan.orientation))


def read_tiff(path: Path, is_mask: bool) -> Stored:
    """The content of `path`, every channel of it.

    Of an image that is stored as white = 0, as viewers show it: black = 0.
    """
    with tifffile.TiffFile(path) as file:
        return _content(file, path, is_mask)


def _content(file: Any, path: Path, is_mask: bool) -> Stored:
    plan = _plan(file, path)
    page, values = plan.page, np.asarray(plan.series.asarray())
    if values.shape != plan.series.shape:  # the decoder gives up on some damaged tags without a word
        raise InputError(
            f"{path}: declares {_size(plan.series.shape)} values and gives {_size(values.shape)}: export it again"
        )
    _refuse_masked(file, path)
    if plan.refusal is not None and not (is_mask and (np.count_nonzero(values, axis=plan.channel_axis) <= 1).all()):
        raise plan.refusal
    if is_mask and page.compression in _JPEG:
        raise InputError(f"{path}: JPEG compression changes the values of a mask: save masks with deflate or LZW")
    _refuse_nodata(page, values, path, is_mask)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    channels = values[None] if plan.channel_axis is None else np.moveaxis(values, plan.channel_axis, 0)
    if page.photometric == _WHITE_IS_ZERO and _PHOTOMETRIC in page.tags:
        channels = _black_is_zero(channels, page, path, is_mask)
    palette = None
    if page.photometric == _PALETTE:
        colours = np.asarray(page.colormap).T
        colours = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)  # some write 8 bits
        palette = np.pad(colours, ((0, 0), (0, 1)), constant_values=255)
    transparent = _has_alpha(page, channels, path)
    channels, is_colour = turned(channels, plan.orientation), page.photometric in (_RGB, _YCBCR)
    if is_mask and transparent and page.planarconfig == _CONTIGUOUS and not is_one_hot(channels):
        return Stored(channels[:-1], palette, channels[-1], is_colour)
    is_colour = is_colour and len(channels) == 3
    return Stored(np.ascontiguousarray(channels), palette, None, is_colour)


def plan_lazily(file: Any, path: Path) -> _Plan | None:
    """How to read `file` in parts; None where its planes may be no channels.

    Raises:
        InputError: as for reading it whole, but however large it is.
    """
    plan = _plan(file, path, of_pages=True)
    return None if plan.refusal is not None else plan


def is_plain(plan: _Plan, file: Any) -> bool:
    """Whether the values of a file are its pixels as they are: no tag turns, hides or maps them."""
    page = plan.page
    return (
        plan.orientation == 1
        and int(page.photometric) in (1, _RGB)
        and not page.extrasamples
        and _GDAL_NODATA not in page.tags
        and page.dtype is not None
        and page.dtype.kind in "uif"
        and not any(_TRANSPARENCY_MASK & int(own.pages[0].subfiletype) for own in file.series[1:] if own.pages[0])
    )


def _plan(file: Any, path: Path, of_pages: bool = False) -> _Plan:
    """How to read `file`; `of_pages`: in parts, so that not its pixels have to be few, but its pages.

    Raises:
        InputError: it holds more than one image, or a tag gives its numbers a meaning that is not read.
    """
    for pixels in _PIXELS.findall(file.ome_metadata or ""):
        planes = math.prod(int(size) for size in _PLANE_SIZES.findall(pixels))
        if planes > _MAX_PLANES:
            raise InputError(f"{path}: its OME metadata declare {planes:,} planes, expected one image: export it again")
    series = file.series[0]
    for each in file.series:  # before its pages are made, of which it may declare a thousand million
        refuse_large((each.shape[:-2] or (1,)) if of_pages else each.shape, str(path))
    pages = [page for page in series.pages if page is not None]
    further = [each for each in file.series[1:] if not _is_aside(each)]
    if further:
        shapes = ", ".join(_size(each.shape) for each in [series, *further][:3])
        raise InputError(
            f"{path}: {1 + len(further)} images in one file ({shapes}), expected one: save each as a file of its own"
        )
    if series.is_multifile or len(pages) < len(series.pages) or not pages:
        raise InputError(f"{path}: a part of the image lies in other files: save it as one file")
    page = series.keyframe
    photometric, compression = int(page.photometric), int(page.compression)
    if photometric not in _KEPT and not (photometric == _YCBCR and compression in _JPEG):
        name = getattr(page.photometric, "name", photometric)
        raise InputError(f"{path}: colours of the kind {name} are not read: save it as gray or RGB")
    orientation = page.tags.valueof(_ORIENTATION, 1)
    orientation = int(orientation) if int(orientation) in range(1, 9) else 1
    axis, refusal = _channel_axis(series.shape, series.axes, path)
    return _Plan(series, page, axis, orientation, refusal)


def _is_aside(series: Any) -> bool:
    """Whether `series` is a smaller copy or a transparency mask beside the image."""
    kinds = [int(page.subfiletype) for page in series.pages if page is not None]
    return bool(kinds) and all(kind & 1 or kind & _TRANSPARENCY_MASK for kind in kinds)


def _channel_axis(shape: tuple[int, ...], axes: str, path: Path) -> tuple[int | None, InputError | None]:
    """Which axis holds the channels; None if there is none. With an error if nothing declares what its planes are.

    Raises:
        InputError: there are planes that are no channels.
    """
    other = axes.replace("Y", "", 1).replace("X", "", 1)
    if "Y" not in axes or "X" not in axes:
        raise InputError(f"{path}: an array of shape {shape} with the axes {axes}, expected one image with Y and X")
    if not other:
        return None, None
    if len(other) == 1 and other in "SC":
        return axes.index(other), None
    if axes == "QYX" and shape[2] <= _MAX_TRAILING < min(shape[:2]):
        return 2, None
    kind = next((letter for letter in other if letter not in "SC"), other[0])
    count = shape[axes.index(kind)]
    what = _PLANES.get(kind, f"planes along the axis {kind}")
    refusal = InputError(
        f"{path}: {count} {what} in one file (shape {shape}, axes {axes}), expected one image: save each plane as "
        "a file of its own (volumes as .nii.gz), or, if the planes are channels, with the axes CYX"
    )
    if axes in ("QYX", "IYX"):
        return 0, refusal
    raise refusal


def _black_is_zero(channels: Array, page: Any, path: Path, is_mask: bool) -> Array:
    if is_mask:
        raise InputError(
            f"{path}: a mask that is stored as white = 0, of which it is not clear whether 0 is the object: "
            "save it as black = 0"
        )
    if channels.dtype.kind != "u":
        raise InputError(f"{path}: {channels.dtype} values stored as white = 0: save them as black = 0")
    largest = 2 ** int(page.bitspersample) - 1
    inverted: Array = (largest - channels).astype(channels.dtype)
    return inverted


def _has_alpha(page: Any, channels: Array, path: Path) -> bool:
    """Whether the last channel is transparency.

    Raises:
        InputError: the colours were multiplied by it, and it is not opaque throughout.
    """
    extra = [int(kind) for kind in page.extrasamples]
    if _PREMULTIPLIED in extra:
        alpha = channels[len(channels) - len(extra) + extra.index(_PREMULTIPLIED)]
        opaque = 1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
        if (alpha != opaque).any():
            raise InputError(
                f"{path}: the colours are multiplied by the transparency (premultiplied alpha): save it without "
                "transparency, or with unassociated alpha"
            )
    return bool(extra) and extra[-1] in (_PREMULTIPLIED, _STRAIGHT)


def _refuse_nodata(page: Any, values: Array, path: Path, is_mask: bool) -> None:
    """Raise InputError if a value is the one that GDAL's tag declares to be no measurement.

    A mask may declare 0, which rasterisers write for the ground.
    """
    text = str(page.tags.valueof(_GDAL_NODATA, "")).strip(" \0")
    if not text:
        return
    try:
        declared = float(text)
    except ValueError:
        return
    if is_mask and declared == 0:
        return
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            missing = np.isnan(values) if declared != declared else values == np.array(declared).astype(values.dtype)
    else:
        missing = values == (int(declared) if declared.is_integer() else None)
    count = int(missing.sum())
    if count:
        do = "write 255 where nobody judged" if is_mask else "cut them away or fill them"
        raise InputError(
            f"{path}: {count} values are {text}, which the file declares to be no data (GDAL_NODATA): {do}, "
            "or remove the tag (gdal_edit.py -unsetnodata) if they are meant"
        )


def _refuse_masked(file: Any, path: Path) -> None:
    """Raise InputError if a transparency mask inside the file hides pixels."""
    for series in file.series[1:]:
        kinds = [int(page.subfiletype) for page in series.pages if page is not None]
        if not kinds or not kinds[0] & _TRANSPARENCY_MASK or kinds[0] & 1:
            continue
        if not np.asarray(series.asarray()).all():
            raise InputError(
                f"{path}: the mask inside the file declares pixels to be no data: cut them away, or remove that mask"
            )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
