"""Images of which parts are read: what is not asked for is never in memory.

A TIFF in tiles, in strips of rows or uncompressed gives any box of its pixels; a Zarr array too. Every other file
has to be decoded whole, once, when its first part is asked for.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from plurimask.data.images.numbers import image_numbers
from plurimask.data.images.stored import Array
from plurimask.data.images.tiff import is_plain, plan_lazily

Box = tuple[slice, ...]
MAX_SEGMENT = 2**26
"""Bytes of what a file decodes at once, at most, to be read in parts."""


class ImageReader(abc.ABC):
    """One image in the values of its file."""

    shape: tuple[int, ...]
    """`(K, *spatial)`."""
    whole_bytes: int = 0
    """Bytes of an image that is decoded whole; 0 of one that is read in parts."""

    @abc.abstractmethod
    def values(self, box: Box) -> Array:
        """The values `(K, *box)` as stored; boxes lie within the image."""

    def read(self, box: Box, where: str) -> NDArray[np.float32]:
        """The same as numbers, float32.

        Raises:
            InputError: one is none.
        """
        return image_numbers(self.values(box), where)


class WholeReader(ImageReader):
    """An image that has to be read whole; `load` gives it as `(K, *spatial)`."""

    def __init__(self, shape: Sequence[int], load: Callable[[], Array]) -> None:
        self.shape, self.load = tuple(shape), load
        self.whole_bytes = 8 * math.prod(shape)  # while it is decoded, stored values and numbers
        self._image: Array | None = None

    def values(self, box: Box) -> Array:
        if self._image is None:
            self._image = self.load()
        return self._image[(slice(None), *box)]


class JoinedReader(ImageReader):
    """Images of one size, one after the other, as the channels of one."""

    def __init__(self, readers: Sequence[ImageReader]) -> None:
        self.readers = readers
        self.shape = (sum(one.shape[0] for one in readers), *readers[0].shape[1:])

    def values(self, box: Box) -> Array:
        return np.concatenate([one.values(box) for one in self.readers])


class TiffReader(ImageReader):
    """A plain TIFF: gray or colours, its largest level where it has several."""

    def __init__(self, path: Path, shape: Sequence[int], axes: str) -> None:
        self.path, self.axes = path, axes
        sizes = dict(zip(axes, shape, strict=True))
        self.num_channels = sizes.get("S", 1) * sizes.get("C", 1)
        self.shape = (self.num_channels, sizes["Y"], sizes["X"])

    def values(self, box: Box) -> Array:
        rows, columns = box
        with tifffile.TiffFile(self.path) as file:
            pages = [page for page in file.series[0].pages if page is not None]
            parts = [self._of_page(page, rows, columns) for page in pages]
        return np.concatenate(parts)[: self.num_channels]

    def _of_page(self, page: Any, rows: slice, columns: slice) -> Array:
        """`(samples, rows, columns)` of a page."""
        page = page.aspage() if hasattr(page, "aspage") else page
        samples = page.samplesperpixel
        found = np.zeros((samples, rows.stop - rows.start, columns.stop - columns.start), page.dtype)
        if page.is_memmappable:
            return self._of_memory_map(page, found, rows, columns)
        handle = page.parent.filehandle
        for index in self._segments(page, rows, columns):
            handle.seek(page.dataoffsets[index])
            data = handle.read(page.databytecounts[index]) if page.databytecounts[index] else None
            values, (plane, _, top, left, _), _ = page.decode(data, index, jpegtables=page.jpegtables)
            if values is None:
                continue
            # (depth, length, width, samples), or one plane of them
            _paste(found, np.moveaxis(values[0], -1, 0), plane, (top - rows.start, left - columns.start))
        return found

    @staticmethod
    def _segments(page: Any, rows: slice, columns: slice) -> Iterator[int]:
        """The numbers of the tiles or strips that meet a box."""
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        height = min(height, page.imagelength)
        down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
        planes = page.samplesperpixel if page.planarconfig == 2 and page.samplesperpixel > 1 else 1
        for plane in range(planes):
            for row in range(rows.start // height, -(-rows.stop // height)):
                for column in range(columns.start // width, -(-columns.stop // width)):
                    yield (plane * down + row) * across + column

    @staticmethod
    def _of_memory_map(page: Any, found: Array, rows: slice, columns: slice) -> Array:
        """By reading rows, not by mapping the file: what is mapped counts as memory once it was touched."""
        samples, itemsize = page.samplesperpixel, page.dtype.itemsize
        is_planar, width = page.planarconfig == 2 and samples > 1, page.imagewidth
        kind = page.dtype.newbyteorder(page.parent.byteorder)
        handle, per_pixel = page.parent.filehandle, 1 if is_planar else samples
        for plane in range(samples if is_planar else 1):
            for number, row in enumerate(range(rows.start, rows.stop)):
                first = ((plane * page.imagelength + row) * width + columns.start) * per_pixel
                handle.seek(page.dataoffsets[0] + first * itemsize)
                count = (columns.stop - columns.start) * per_pixel
                line = np.frombuffer(handle.read(count * itemsize), kind).reshape(-1, per_pixel)
                found[plane if is_planar else slice(None), number] = line[:, 0] if is_planar else line.T
        return found


def _paste(found: Array, part: Array, plane: int, corner: tuple[int, int]) -> None:
    """A part `(samples, h, w)` into `(S, H, W)`, at a corner that may lie outside."""
    to, of = [], []
    for at, length, room in zip(corner, part.shape[1:], found.shape[1:], strict=True):
        first, last = max(0, at), min(room, at + length)
        if first >= last:
            return
        to.append(slice(first, last))
        of.append(slice(first - at, last - at))
    planes = slice(plane, plane + 1) if len(part) == 1 and len(found) > 1 else slice(None)
    found[(planes, *to)] = part[(slice(None), *of)]


def tiff_reader(path: Path) -> TiffReader | None:
    """A reader of parts of a TIFF; None where its tags ask for more than that, or it is one large compressed piece.

    Raises:
        InputError: as for reading it whole.
    """
    with tifffile.TiffFile(path) as file:
        plan = plan_lazily(file, path)
        if plan is None or not is_plain(plan, file):
            return None
        page, shape, axes = plan.page, plan.series.shape, plan.series.axes
        if not page.is_memmappable:
            height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
            if min(height, page.imagelength) * width * page.samplesperpixel * page.dtype.itemsize > MAX_SEGMENT:
                return None
        kept = [(size, axis) for size, axis in zip(shape, axes, strict=True) if axis in "CYXS"]
        if len(kept) < len(axes):
            return None
        return TiffReader(path, [size for size, _ in kept], "".join(axis for _, axis in kept))
