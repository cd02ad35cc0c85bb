"""One image or mask file as an array: PNG, TIFF, JPEG and BMP, without changing the stored values.

Whatever a decoder would change without saying so is either undone (gray PNGs of 2 and 4 bits, which Pillow stretches to
8) or refused (colour PNGs of 16 bits, of which Pillow drops half).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from plurimask.errors import InputError

Array = npt.NDArray[Any]

TIFF_SUFFIXES = (".tif", ".tiff")
LOSSY_SUFFIXES = (".jpg", ".jpeg")
SUFFIXES = (".png", *TIFF_SUFFIXES, *LOSSY_SUFFIXES, ".bmp")
"""The endings of the files that are read, in lower case; any case is accepted."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_GRAY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_WIDE_MODES = ("LA", "RGBA", "CMYK")  # of which a TIFF keeps every channel, and other formats the colours
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_image(path: Path) -> Array:
    """The image in `path` as `(K, H, W)` in its stored type: 8 or 16 bits, float, 1-bit as 0/1.

    A palette is resolved to R, G, B; the transparency of a PNG is dropped; every channel of a TIFF is kept.

    Raises:
        InputError: the file is damaged, of an unknown kind, has no two spatial axes, or holds NaN or infinity.
    """
    values = _read(path, is_mask=False)
    if values.dtype.kind == "c":
        raise InputError(f"{path}: complex numbers, expected real ones: save magnitude and phase as two channels")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise InputError(f"{path}: {bad} values are NaN or infinite: replace them by numbers, or leave the image out")
    return values


def read_mask(path: Path) -> Array:
    """The values of the mask in `path`, `(H, W)`, in the smallest integer type that holds them.

    A palette's indices are the values (its colours do not matter); a gray mask saved as R = G = B is accepted.

    Raises:
        InputError: as for images, and when channels differ or a value is no whole number of at least 0.
    """
    if path.suffix.lower() in LOSSY_SUFFIXES:
        raise InputError(f"{path}: a JPEG changes the values of a mask: save masks as PNG or TIFF")
    values = _read(path, is_mask=True)
    if len(values) == 3 and (values[0] == values[1]).all() and (values[0] == values[2]).all():
        values = values[:1]
    if len(values) != 1:
        raise InputError(
            f"{path}: a mask with {len(values)} channels that differ, expected one channel: "
            "save one class index per pixel (gray or palette), not colours"
        )
    return whole_numbers(values[0], str(path))


def whole_numbers(values: Array, where: str) -> Array:
    """`values` in the smallest unsigned integer type that holds them; `where` names them in the error.

    Raises:
        InputError: a value is negative, NaN, infinite or no whole number.
    """
    if values.dtype in (np.dtype(np.uint8), np.dtype(bool)):
        return values.view(np.uint8)
    if values.dtype.kind not in "uif":
        raise InputError(f"{where}: mask values of type {values.dtype}, expected whole numbers: save class indices")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            raise InputError(
                f"{where}: the mask holds {values[~whole].flat[0]:g}, expected whole numbers: "
                "save class indices, not probabilities"
            )
    if values.size and values.min() < 0:
        raise InputError(
            f"{where}: the mask holds {values.min():g}, expected values from 0: use 255 for unjudged pixels"
        )
    largest = int(values.max()) if values.size else 0
    return values.astype(np.min_scalar_type(largest))


def image_shape(path: Path) -> tuple[int, int, int]:
    """`(K, H, W)` of what `read_image` gives, from the file's header alone.

    Raises:
        InputError: the header cannot be read.
    """
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                shape, axes = tuple(series.shape), series.axes
                if len(shape) == 2:
                    return (3 if _has_colormap(file) else 1, shape[0], shape[1])
            shape = _channels_first_shape(shape, axes, path)
            return (shape[0], shape[1], shape[2])
        with Image.open(path, formats=_FORMATS) as image:
            return (1 if image.mode in (*_GRAY_MODES, "LA", "La") else 3, image.height, image.width)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything in a decoder
        raise _damaged(path, error) from error


def _read(path: Path, is_mask: bool) -> Array:
    """`(K, H, W)` as stored."""
    try:
        return _read_tiff(path, is_mask) if path.suffix.lower() in TIFF_SUFFIXES else _read_pillow(path, is_mask)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything in a decoder
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    if not path.is_file():
        return InputError(f"{path}: there is no such file: check the path")
    reason = " ".join(str(error).split()) or type(error).__name__
    if reason.startswith("cannot identify"):
        reason = f"not a {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} image"
    return InputError(f"{path}: cannot be read, damaged or cut short ({reason}): copy or export the file again")


def _read_pillow(path: Path, is_mask: bool) -> Array:
    depth, is_gray = _png_depth(path)
    if depth == 16 and not is_gray:
        raise InputError(f"{path}: a colour or transparent PNG of 16 bits, of which 8 would be lost: save it as TIFF")
    with Image.open(path, formats=_FORMATS) as image:
        image.load()
        is_tiff = image.format == "TIFF"
        if image.mode in _GRAY_MODES or (is_mask and image.mode == "P") or (is_tiff and image.mode in _WIDE_MODES):
            values = np.asarray(image)
        elif image.mode in ("LA", "La"):
            values = np.asarray(image)[..., 0]
        else:
            values = np.asarray(image.convert("RGB"))
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if is_gray and depth in (2, 4):
        values = values // (255 // (2**depth - 1))  # as stored: Pillow stretches 0..3 and 0..15 to 0..255
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def _png_depth(path: Path) -> tuple[int, bool]:
    """Bits per channel and whether there is one gray channel, `(8, False)` for what is not a PNG."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or not header.startswith(_PNG_SIGNATURE):
        return 8, False
    return header[24], header[25] == 0


def _read_tiff(path: Path, is_mask: bool) -> Array:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            values, axes = np.asarray(series.asarray()), series.axes
            colormap = np.asarray(file.pages[0].colormap) if _has_colormap(file) and not is_mask else None
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        return _read_compressed_tiff(path, is_mask)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if colormap is not None and values.ndim == 2:
        return np.ascontiguousarray((colormap >> 8).astype(np.uint8)[:, values])
    if values.ndim == 2:
        return values[None]
    shape = _channels_first_shape(values.shape, axes, path)
    return values if values.shape == shape else np.ascontiguousarray(values.transpose(2, 0, 1))


def _read_compressed_tiff(path: Path, is_mask: bool) -> Array:
    """LZW, JPEG and the like, which tifffile leaves to another package: Pillow reads them where it keeps every bit."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        kept = page.bitspersample <= 8 or page.samplesperpixel == 1
        kept = kept and page.photometric != tifffile.PHOTOMETRIC.MINISWHITE  # Pillow would invert it
        compression = getattr(page.compression, "name", str(page.compression))
        if not kept or len(file.pages) > 1:
            raise InputError(
                f"{path}: a TIFF with {compression} compression, which is read for one page of gray or 8-bit colour "
                "(0 = black) only: save it uncompressed or with deflate, or install imagecodecs"
            )
    return _read_pillow(path, is_mask)


def _has_colormap(file: Any) -> bool:
    return bool(file.pages[0].photometric == tifffile.PHOTOMETRIC.PALETTE)


def _channels_first_shape(shape: tuple[int, ...], axes: str, path: Path) -> tuple[int, ...]:
    """`(K, H, W)` of an array with three axes; channels are the samples of a pixel, or else the shortest outer axis."""
    if len(shape) != 3:
        raise InputError(
            f"{path}: an array of shape {shape}, expected (H, W), (H, W, K) or (K, H, W): save one plane per file"
        )
    last = axes.endswith("S") or (not axes.startswith("S") and shape[2] < shape[0])
    return (shape[2], shape[0], shape[1]) if last else shape
