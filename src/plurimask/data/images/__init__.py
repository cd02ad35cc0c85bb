"""One image or mask as an array: PNG, TIFF, JPEG, BMP, GIF, NIfTI, or a folder of DICOM slices.

Stored values are not changed. What a file's tags say about its numbers (orientation, white as zero, palettes,
transparency, planes, no data) is obeyed, or the file is refused with a message that names the tag. Header and data are
read by the same library.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from plurimask.data.images import dicom, nifti
from plurimask.data.images.geometry import Grid
from plurimask.data.images.masks import StoredMask, as_mask
from plurimask.data.images.numbers import image_numbers, whole_numbers
from plurimask.data.images.pillow import pillow_shape, read_pillow
from plurimask.data.images.pixel_size import PixelSize, read_pixel_size
from plurimask.data.images.stored import Array, Stored, format_of
from plurimask.data.images.tiff import read_tiff, tiff_shape
from plurimask.errors import InputError, reason_of

__all__ = [
    "PICTURE_SUFFIXES",
    "SUFFIXES",
    "StoredMask",
    "image_files",
    "image_grid",
    "image_numbers",
    "image_pixel_size",
    "image_shape",
    "is_image_file",
    "read_image",
    "read_mask",
    "read_stored_mask",
    "whole_numbers",
]

_T = TypeVar("_T")

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif")
SUFFIXES = (*PICTURE_SUFFIXES, *nifti.SUFFIXES)
"""The endings of the files that are read, in lower case; any case is accepted."""
LOSSY_SUFFIXES = (".jpg", ".jpeg")


def read_image(path: Path) -> Array:
    """The image in `path` as `(K, H, W)` in its stored type: 8 or 16 bits, float, 1-bit as 0/1. A volume is
    `(K, D, H, W)` in the order of axes of `plurimask.data.images.geometry`, scaled as its header says.

    A palette is resolved to R, G, B; the transparency of a PNG is dropped; every channel of a TIFF is kept. It is
    turned as its orientation tag says.

    Raises:
        InputError: the file is damaged, of an unknown kind, holds several images, or numbers that are none.
    """
    stored = _guarded(path, lambda: _decode(path, is_mask=False))
    if stored.palette is not None:
        table = np.zeros((max(len(stored.palette), int(stored.values.max(initial=0)) + 1), 3), np.uint8)
        table[: len(stored.palette)] = stored.palette[:, :3]
        return np.ascontiguousarray(table[stored.values[0]].transpose(2, 0, 1))
    if stored.values.dtype.kind in "cf":
        image_numbers(stored.values, str(path))
    return stored.values


def read_stored_mask(path: Path) -> StoredMask:
    """The mask in `path`: values, palette indices, colours or one map per class.

    Raises:
        InputError: as for images, and when it is compressed with loss or a value is no whole number of at least 0.
    """
    if path.suffix.lower() in LOSSY_SUFFIXES:
        raise _lossy(path)
    return _guarded(path, lambda: as_mask(_decode(path, is_mask=True), str(path)))


def read_mask(path: Path) -> Array:
    """The values of the mask in `path`, `(H, W)` or `(D, H, W)`, in the smallest integer type that holds them.

    A palette's indices are the values (its colours do not matter); a gray mask saved as R = G = B is accepted.

    Raises:
        InputError: as for `read_stored_mask`, and when the mask is in colours.
    """
    mask = read_stored_mask(path)
    if mask.kind == "colours":
        raise InputError(
            f"{path}: a mask with 3 channels that differ, expected one channel: "
            "save one class index per pixel (gray or palette), not colours"
        )
    return mask.values


def is_image_file(name: str) -> bool:
    """Whether a file of this name is one that is read."""
    return name.lower().endswith(SUFFIXES)


def image_shape(path: Path) -> tuple[int, ...]:
    """`(K, H, W)` or `(K, D, H, W)` of what `read_image` gives, from the file's header alone.

    Raises:
        InputError: the header cannot be read.
    """
    if nifti.is_nifti(path):
        header = _guarded(path, lambda: nifti.nifti_header(path))
        return (header.num_channels, *header.grid.canonical_shape)
    if path.is_dir():
        return (1, *_guarded(path, lambda: dicom.series_of(path)).grid.canonical_shape)
    return _guarded(path, lambda: tiff_shape(path) if format_of(path) == "TIFF" else pillow_shape(path))


def image_grid(path: Path) -> Grid | None:
    """Where the voxels of a volume lie; None of a picture.

    Raises:
        InputError: the header cannot be read.
    """
    if nifti.is_nifti(path):
        return _guarded(path, lambda: nifti.nifti_header(path).grid)
    return _guarded(path, lambda: dicom.series_of(path).grid) if path.is_dir() else None


def image_files(path: Path) -> tuple[Path, ...]:
    """The files that an image is read from: of a series, which is a folder, its slices in their order.

    Raises:
        InputError: the folder holds no series.
    """
    return _guarded(path, lambda: dicom.series_of(path)).files if os.path.isdir(path) else (path,)  # noqa: PTH112  (pathlib takes twice as long)


def image_pixel_size(path: Path) -> PixelSize | None:
    """The size of the pixels or voxels of `path`; None where it does not say so, or cannot be read."""
    try:
        grid = image_grid(path)
    except InputError:  # whoever reads the image is told
        return None
    return read_pixel_size(path) if grid is None else grid.pixel_size


def _decode(path: Path, is_mask: bool) -> Stored:
    if nifti.is_nifti(path):
        return nifti.read_nifti(path, is_mask)
    if path.is_dir():
        return dicom.read_series(path, is_mask)
    kind = format_of(path)
    if is_mask and kind == "JPEG":
        raise _lossy(path)
    return read_tiff(path, is_mask) if kind == "TIFF" else read_pillow(path)


def _lossy(path: Path) -> InputError:
    return InputError(f"{path}: a JPEG changes the values of a mask: save masks as PNG or TIFF")


def _guarded(path: Path, read: Callable[[], _T]) -> _T:
    """What `read` gives; whatever it raises in one line that names the file."""
    try:
        return read()
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file: check the path") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (permission denied): ask for the right to read it") from error
    except MemoryError as error:
        raise InputError(
            f"{path}: the image does not fit into memory: cut it into parts, or use a larger machine"
        ) from error
    except Exception as error:  # a damaged file can raise anything in a decoder
        reason = reason_of(error)
        raise InputError(
            f"{path}: cannot be read, damaged or cut short ({reason}): copy or export the file again"
        ) from error
