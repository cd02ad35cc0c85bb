"""Images that were dropped into the page: kept in a temporary folder, a bounded number of them."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from plurimask.data.images import PICTURE_SUFFIXES, image_shape
from plurimask.data.images.limit import max_pixels
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.unlabelled import list_images
from plurimask.errors import InputError, shown
from plurimask.viewer.errors import NotFound, TooLarge

MAX_BYTES = 2**26
"""Of a file."""
MAX_PIXELS = 2**24
"""Of an image, all channels together, once it is decoded."""
MAX_UPLOADS = 64
FIRST_NUMBER = 10**7
"""Of the images that are dropped in: beyond those of any data set."""
MAX_NAME = 100
"""Bytes of a name; the rest is cut off."""


@dataclass(frozen=True)
class _Upload:
    name: str
    path: Path


class Uploads:
    """Dropped-in images by number. The oldest goes when more than `MAX_UPLOADS` came; all go with `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="plurimask-view-")
        self._kept: dict[int, _Upload] = {}
        self._next = FIRST_NUMBER
        self._lock = threading.Lock()

    @property
    def numbers(self) -> list[int]:
        """The newest first."""
        return sorted(self._kept, reverse=True)

    def name(self, number: int) -> str:
        """Of an image; `NotFound` if there is none of this number."""
        if number not in self._kept:
            raise NotFound(f"there is no image {number}")
        return self._kept[number].name

    def add(self, file_name: str, content: bytes, channel_names: Sequence[str]) -> tuple[int, list[int]]:
        """Keep an image. Returns its number, and those that went for it.

        Raises:
            TooLarge: it has more bytes or pixels than are taken.
            InputError: it is no image that is read, or has other channels than those named.
        """
        name, ending = _checked_name(file_name)
        if len(content) > MAX_BYTES:
            raise TooLarge(f"{name}: {len(content):,} bytes, at most {MAX_BYTES:,} are taken: use `plurimask predict`")
        with self._lock:
            number = self._next
            self._next += 1
        folder = Path(self._folder.name) / str(number)
        folder.mkdir()
        path = folder / f"{name}{ending}"
        path.write_bytes(content)
        try:
            pixels = math.prod(image_shape(path))
            if pixels > min(MAX_PIXELS, max_pixels()):
                raise TooLarge(f"{name}: {pixels:,} pixels, at most {MAX_PIXELS:,} are taken: use `plurimask predict`")
            list_images(path, channel_names)[0]
        except InputError as error:
            _remove(path)
            kind = TooLarge if isinstance(error, TooLarge) else InputError
            raise kind(str(error).replace(f"{folder}/", "")) from error
        with self._lock:
            self._kept[number] = _Upload(name, path)
            gone = sorted(self._kept)[:-MAX_UPLOADS]
        for old in gone:
            self.remove(old)
        return number, gone

    def read(self, number: int, channel_names: Sequence[str]) -> tuple[Tensor, PixelSize | None]:
        """`(K, H, W)`, float32, in the values of the file, and the size of a pixel, where the file says so."""
        self.name(number)
        images = list_images(self._kept[number].path, channel_names)
        return images[0], images.pixel_size(0)

    def remove(self, number: int) -> None:
        """Forget an image; `NotFound` if there is none of this number."""
        self.name(number)
        with self._lock:
            upload = self._kept.pop(number)
        _remove(upload.path)

    def close(self) -> None:
        """Remove all of them."""
        self._kept.clear()
        self._folder.cleanup()


def _checked_name(file_name: str) -> tuple[str, str]:
    """The name of a dropped-in file without its folders, and its ending, in lower case."""
    own = PurePosixPath(file_name.replace("\\", "/")).name
    name, ending = PurePosixPath(own).stem, PurePosixPath(own).suffix.lower()
    if ending not in PICTURE_SUFFIXES:
        raise InputError(f"{shown(own)}: not an image, expected one of {', '.join(PICTURE_SUFFIXES)}: convert the file")
    name = "".join(letter if letter.isprintable() else "_" for letter in name).strip(". ")
    return name.encode()[:MAX_NAME].decode(errors="ignore") or "image", ending


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.rmdir()
