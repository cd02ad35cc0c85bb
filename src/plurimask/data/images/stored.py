"""What a decoder gives: the values as stored, and what a file says about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plurimask.errors import InputError
from plurimask.files.reading import open_file

Array = npt.NDArray[Any]

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
"""How the files of each format begin. The content says the format, not the name: a JPEG may be called mask.png."""


@dataclass(frozen=True)
class Stored:
    """One image file as decoded, turned as its orientation tag says."""

    values: Array
    """`(K, H, W)`, or `(1, H, W)` indices where there is a palette; `(K, D, H, W)` of a volume."""
    palette: Array | None = None
    """`(entries, 4)`, uint8: R, G, B and alpha of each index."""
    alpha: Array | None = None
    """`(H, W)`: transparency that is no channel of the image; 0 is invisible."""
    is_colour: bool = False
    """Whether the first three channels are declared to be R, G and B."""


def format_of(path: Path) -> str:
    """The format of the file at `path`, by its first bytes.

    Raises:
        InputError: it is none that is read, or no file at all.
        OSError: it cannot be opened.
    """
    with open_file(path) as file:
        start = file.read(8)
    for signature, name in SIGNATURES.items():
        if start.startswith(signature):
            return name
    formats = list(dict.fromkeys(SIGNATURES.values()))
    what = f"not a {', '.join(formats[:-1])} or {formats[-1]} image" if start else "empty"
    raise InputError(f"{path}: {what}, damaged or of another kind: copy or export the file again")


def turned(values: Array, orientation: int) -> Array:
    """`(..., H, W)` as every viewer shows it: the tag of EXIF and TIFF, 1 to 8, is obeyed."""
    if orientation in (5, 7):
        values = values.swapaxes(-1, -2)
    turns, mirrored = {2: (0, True), 3: (2, False), 4: (2, True), 6: (3, False), 7: (2, False), 8: (1, False)}.get(
        orientation, (0, False)
    )
    values = np.rot90(values, turns, axes=(-2, -1))
    return values[..., ::-1] if mirrored else values


def turned_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Height and width after `turned`."""
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def is_one_hot(channels: Array) -> bool:
    """Whether exactly one of the channels of `(K, H, W)` is not 0 at each pixel, and it is not always the last."""
    marked = channels != 0
    return bool((marked.sum(0) == 1).all() and marked[:-1].any())
