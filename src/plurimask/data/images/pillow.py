"""PNG, JPEG, BMP and GIF, by Pillow, without changing the stored values.

What Pillow would change without saying so is undone: gray PNGs of 2 and 4 bits, which it stretches to 8, and colour or
transparent PNGs of 16 bits, of which it drops half, and which imagecodecs decodes (both are told their size by the same
bytes of the header).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from plurimask.data.images.limit import refuse_large
from plurimask.data.images.stored import Array, Stored, turned, turned_size
from plurimask.errors import InputError

_OPENING = threading.Lock()
_FORMATS = ("PNG", "JPEG", "BMP", "GIF")
_GRAY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N", "LA", "La")
_ORIENTATION = 0x0112
_MAX_CHUNKS = 100_000
"""Of a PNG that are looked at: a damaged one may have no end."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTING_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")


class _Header(NamedTuple):
    """What Pillow does not say of a PNG."""

    gray_bits: int | None = None
    """Of a gray one."""
    wide_channels: int | None = None
    """Of one with 16 bits and colours or transparency: its channels, transparency aside."""
    may_orient: bool = True
    """Whether the file may hold an orientation."""


def pillow_shape(path: Path) -> tuple[int, int, int]:
    """`(K, H, W)` of the image in `path`, from its header."""
    with _opened(path) as (image, orientation, header):
        return (
            header.wide_channels or (1 if image.mode in _GRAY else 3),
            *turned_size(image.height, image.width, orientation),
        )


def read_pillow(path: Path) -> Stored:
    """The content of `path`; colours as R, G, B."""
    with _opened(path) as (image, orientation, header):
        palette = alpha = None
        if header.wide_channels is None:
            image.load()
        if header.wide_channels is not None:
            values, alpha = _wide(path)
        elif image.mode == "P":
            image.apply_transparency()  # of palette entries, into the palette
            palette = np.array(image.getpalette("RGBA") or (), dtype=np.uint8).reshape(-1, 4)
            values = np.asarray(image)
        elif image.mode in _GRAY:
            values = np.asarray(image)
            if values.ndim == 3:
                values, alpha = values[..., 0], values[..., 1]
        elif image.mode in ("RGBA", "PA") or "transparency" in image.info:
            colours_and_alpha = np.asarray(image.convert("RGBA"))
            values, alpha = colours_and_alpha[..., :3], colours_and_alpha[..., 3]
        else:
            values = np.asarray(image.convert("RGB"))
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if header.gray_bits in (2, 4):
        values = values // (255 // (2**header.gray_bits - 1))  # as stored: Pillow stretches 0..3 and 0..15 to 0..255
    is_colour = values.ndim == 3
    channels = values.transpose(2, 0, 1) if is_colour else values[None]
    return Stored(
        np.ascontiguousarray(turned(channels, orientation)),
        palette,
        None if alpha is None else turned(alpha, orientation),
        is_colour,
    )


def _wide(path: Path) -> tuple[Array, Array | None]:
    """Gray `(H, W)` or colours `(H, W, 3)` of a PNG with several channels of 16 bits, and its transparency."""
    import imagecodecs  # large, and few files need it

    decoded = imagecodecs.png_decode(path.read_bytes())
    channels = decoded.shape[2]
    values = decoded[..., 0] if channels == 2 else decoded[..., :3]
    return values, decoded[..., -1] if channels in (2, 4) else None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image.Image, int, _Header]]:
    """The image, its orientation, and the rest of its header.

    Raises:
        InputError: the file holds several images.
    """
    header = _png_header(path)
    with _undecoded(path) as image:
        bands = 1 if image.mode in _GRAY or image.mode == "P" else len(image.getbands())
        refuse_large((bands, image.height, image.width), str(path))
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # an MPO is a photograph and its previews
            raise InputError(
                f"{path}: an animation of {image.n_frames} pictures, expected one: "  # type: ignore[attr-defined]
                "save each picture as a file of its own"
            )
        orientation = image.getexif().get(_ORIENTATION, 1) if header.may_orient else 1
        yield image, orientation if orientation in range(1, 9) else 1, header


def _undecoded(path: Path) -> Image.Image:
    """The image with nothing decoded yet. Pillow's own limit does not apply, which is for all formats and programs."""
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _png_header(path: Path) -> _Header:
    """Of PNGs those may hold an orientation that have a chunk that could.

    Pillow looks for the orientation of a PNG in its last chunks, for which it decodes all of it.
    """
    with path.open("rb") as file:
        header = file.read(26)
        if len(header) < 26 or not header.startswith(b"\x89PNG"):
            return _Header()
        depth, kind = header[24], header[25]
        may_orient = False
        file.seek(8)
        for _ in range(_MAX_CHUNKS):
            start = file.read(8)
            length, name = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"IEND")
            if name == b"IEND" or may_orient:
                break
            text = file.read(min(length, 22)) if name in _TEXTS else b""
            may_orient = name == b"eXIf" or text.startswith(_ORIENTING_TEXTS)
            file.seek(length - len(text) + 4, 1)
        else:
            may_orient = True
    return _Header(depth if kind == 0 else None, {2: 3, 4: 1, 6: 3}.get(kind) if depth == 16 else None, may_orient)
