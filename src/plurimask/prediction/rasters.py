"""Maps of whole images as PNG and TIFF, with what is known of their pixels and planes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from plurimask.data.images.pixel_size import PixelSize

_CENTIMETRES = {"nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "m": 100.0}


def write_png(stream: BinaryIO, mask: NDArray[Any]) -> None:
    """A mask `(H, W)`, uint8 or uint16."""
    Image.fromarray(mask).save(stream, format="PNG")


def write_tiff(
    stream: BinaryIO, values: NDArray[Any], pixel_size: PixelSize | None, planes: Sequence[str] = ()
) -> None:
    """A float32 map `(H, W)`, or `(C, H, W)` with the names of the `planes`: an OME-TIFF of C pages.

    The size of a pixel, where it is known, is in the OME metadata and in the resolution tags.
    """
    metadata = _metadata("CYX" if values.ndim == 3 else "YX", pixel_size, planes)
    tifffile.imwrite(
        stream,
        values.astype(np.float32, copy=False),
        photometric="minisblack",
        ome=True,
        metadata=metadata,
        **_resolution(pixel_size),
    )


def write_stack(
    stream: BinaryIO, masks: Iterable[NDArray[Any]], count: int, size: tuple[int, int], pixel_size: PixelSize | None
) -> None:
    """`count` masks `(H, W)` of `size`, uint8 or uint16, one a page, compressed without loss: an OME-TIFF."""
    pages = iter(masks)
    first = next(pages)
    tifffile.imwrite(
        stream,
        (page for group in ([first], pages) for page in group),
        shape=(count, *size),
        dtype=first.dtype,
        photometric="minisblack",
        compression="zlib",
        ome=True,
        metadata=_metadata("TYX", pixel_size, ()),
        **_resolution(pixel_size),
    )


def _metadata(axes: str, pixel_size: PixelSize | None, planes: Sequence[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    if planes:
        metadata["Channel"] = {"Name": list(planes)}
    if pixel_size is not None and pixel_size.is_measured:
        for axis, length in (("Y", pixel_size.height), ("X", pixel_size.width)):
            metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": pixel_size.unit}
    return metadata


def _resolution(pixel_size: PixelSize | None) -> dict[str, Any]:
    """Tags: pixels per inch where the image says that, else per centimetre."""
    if pixel_size is None:
        return {}
    unit, of_unit = ("INCH", 1.0) if pixel_size.unit == "in" else ("CENTIMETER", _CENTIMETRES[pixel_size.unit])
    return {
        "resolution": (1 / (pixel_size.width * of_unit), 1 / (pixel_size.height * of_unit)),
        "resolutionunit": unit,
    }
