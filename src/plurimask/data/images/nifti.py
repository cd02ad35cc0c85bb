"""NIfTI volumes, `.nii` and `.nii.gz`: values as they are meant (slope and intercept applied) on a known grid.

The header is read first and alone, and what it declares is held against limits before anything else is unpacked. Of
the data so many bytes are read as it declares, and a compressed file is read to its checksum.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from plurimask.data.images.geometry import Grid, to_canonical
from plurimask.data.images.limit import refuse_large
from plurimask.data.images.medical import nibabel
from plurimask.data.images.stored import Array, Stored
from plurimask.errors import InputError
from plurimask.files.reading import open_file

SUFFIXES = (".nii", ".nii.gz")

_GZIP = b"\x1f\x8b"
_UNITS = {1: "m", 2: "mm", 3: "µm"}
_MAX_OFFSET = 2**26
"""Bytes before the data: headers and what programs add to them."""
_MAX_TRAILING = 2**20
"""Bytes after the data that are looked through for the checksum."""
_CHUNK = 2**20
_KINDS = {"b", "i", "u", "f"}


@dataclass(frozen=True)
class NiftiHeader:
    """What the header of a file says."""

    grid: Grid
    num_channels: int
    """Of a fourth axis; 1 without one."""
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    offset: int
    """Of the data, in bytes."""
    own: Any
    """The header as nibabel has it."""


def is_nifti(path: Path) -> bool:
    """Whether the name ends as that of a NIfTI file."""
    return path.name.lower().endswith(SUFFIXES)


def nifti_header(path: Path) -> NiftiHeader:
    """What the header of `path` says.

    Raises:
        InputError: it is no header of a volume in one file, or declares what cannot be.
        OSError, EOFError, zlib.error: the file cannot be read or is cut short.
    """
    with _opened(path) as stream:
        return _header(_read(stream, 540, path, least=4), path)


def read_nifti(path: Path, is_mask: bool) -> Stored:
    """The volume in `path`: `(K, D, H, W)` in the canonical order of `plurimask.data.images.geometry`.

    An image whose header has a slope and an intercept is in the scaled values (float32); masks too, and whoever reads
    them refuses what is no whole number.
    """
    with _opened(path) as stream:
        start = _read(stream, 540, path, least=4)
        header = _header(start, path)
        shape = (*header.grid.shape, header.num_channels)
        size = math.prod(shape) * header.dtype.itemsize
        if (there := path.stat().st_size) > header.offset + size + _MAX_TRAILING:  # padding is read byte by byte
            raise InputError(f"{path}: {there:,} bytes, its header declares {size:,}: copy or export the file again")
        _skip(stream, header.offset - len(start), path)
        rest = start[header.offset :]  # a header of 348 bytes may be followed by data at once
        raw = rest[:size] + _read(stream, size - len(rest[:size]), path)
        _to_end(stream)
    values = np.frombuffer(raw, header.dtype).reshape(shape, order="F")
    channels = to_canonical(np.moveaxis(values, -1, 0), header.grid)
    return Stored(_scaled(np.ascontiguousarray(channels), header, is_mask))


def _scaled(values: Array, header: NiftiHeader, is_mask: bool) -> Array:
    """In native byte order, by slope and intercept; masks in double precision, whose values must be whole."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if (header.slope, header.intercept) == (1.0, 0.0):
        return native
    scaled: Array = native.astype(np.float64) * header.slope + header.intercept
    return np.where(np.abs(scaled - np.round(scaled)) < 1e-4, np.round(scaled), scaled) if is_mask else scaled


def _header(start: bytes, path: Path) -> NiftiHeader:
    own = _own_header(start, path)
    rank = int(own["dim"][0])
    sides = [int(side) for side in own["dim"][1 : rank + 1]]
    spatial, further = [*sides[:3], *[1] * (3 - min(rank, 3))], sides[3:]
    channels = [side for side in further if side != 1] or [1]
    if len(channels) > 1:
        raise InputError(
            f"{path}: {'x'.join(map(str, sides))} values, expected three axes, or four with channels on the last: "
            "save one time or one direction a file"
        )
    refuse_large((*channels, *spatial), str(path))
    try:
        dtype = own.get_data_dtype()
    except Exception as error:
        raise InputError(f"{path}: values of an unknown type ({int(own['datatype'])}): save it again") from error
    if dtype.kind not in _KINDS or dtype.itemsize > 8:
        what = "colours" if dtype.names else f"values of type {dtype}"
        raise InputError(f"{path}: {what}, expected one number a voxel: save integers or float32, a channel a volume")
    offset = float(own["vox_offset"])
    if not 0 <= offset <= _MAX_OFFSET or offset != int(offset):
        raise InputError(f"{path}: data that begin at byte {offset:g}: the header is damaged, export it again")
    slope, intercept = (float(own[name]) for name in ("scl_slope", "scl_inter"))
    if slope == 0 or not (math.isfinite(slope) and math.isfinite(intercept)):  # the standard: 0 means none
        slope, intercept = 1.0, 0.0
    grid = _grid(own, spatial, rank, path)
    return NiftiHeader(grid, channels[0], dtype, slope, intercept, max(int(offset), int(own["sizeof_hdr"])), own)


def _own_header(start: bytes, path: Path) -> Any:
    """nibabel's header of the version that the file is of."""
    library = nibabel()
    orders = {int.from_bytes(start[:4], "little"): "<", int.from_bytes(start[:4], "big"): ">"}
    for kind, length, magic_place in ((library.Nifti1Header, 348, 344), (library.Nifti2Header, 540, 4)):
        if length not in orders:
            continue
        if len(start) < length:
            raise InputError(f"{path}: cut short within its header: copy or export the file again")
        magic = start[magic_place : magic_place + 3]
        if magic in (b"ni1", b"ni2"):
            raise InputError(f"{path}: a header whose data lie in another file (.img): save both as one .nii.gz")
        if magic in (b"n+1", b"n+2"):
            own = kind(start[:length], orders[length], check=False)
            if 1 <= int(own["dim"][0]) <= 7:
                return own
            raise InputError(f"{path}: an array of {int(own['dim'][0])} axes: the header is damaged, export it again")
    raise InputError(f"{path}: not a NIfTI file, damaged or of another kind: copy or export the file again")


def _grid(own: Any, spatial: list[int], rank: int, path: Path) -> Grid:
    unit = _UNITS.get(int(own["xyzt_units"]) & 7)
    sform, qform = int(own["sform_code"]), int(own["qform_code"])
    if sform <= 0:
        sides = np.array(own["pixdim"][1:4], np.float64)
        sides[rank:] = np.where(sides[rank:] > 0, sides[rank:], 1.0)  # of axes that are not there
        if not (np.isfinite(sides) & (sides > 0)).all():
            listed = " x ".join(f"{side:g}" for side in sides)
            raise InputError(f"{path}: voxels of {listed} (pixdim), expected sizes above 0: correct the header")
        own = own.copy()
        own["pixdim"][1:4] = sides
    try:
        affine = own.get_sform() if sform > 0 else own.get_qform() if qform > 0 else own.get_base_affine()
    except Exception as error:
        raise InputError(f"{path}: an orientation that is none (quaternion of qform): correct the header") from error
    grid = Grid.of(spatial, affine, unit or "mm", str(path))
    # Without a unit all programs take sizes for mm; but ones of no unit are what is written where nothing is known.
    unknown = unit is None and all(math.isclose(side, 1.0, abs_tol=1e-6) for side in grid.spacing)
    return Grid(grid.shape, grid.affine, None) if unknown else grid


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, unpacked if it is compressed, whatever its name says."""
    with open_file(path) as file:
        start = file.read(2)
        file.seek(0)
        if not start:
            raise InputError(f"{path}: empty, damaged or of another kind: copy or export the file again")
        if start == _GZIP:
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield file


def _read(stream: BinaryIO, count: int, path: Path, least: int | None = None) -> bytes:
    """`count` bytes, or at least `least`."""
    parts, missing = [], count
    while missing > 0 and (part := stream.read(min(missing, _CHUNK))):
        parts.append(part)
        missing -= len(part)
    if missing > (0 if least is None else count - least):
        raise InputError(f"{path}: cut short, {missing:,} bytes are missing: copy or export the file again")
    return b"".join(parts)


def _skip(stream: BinaryIO, count: int, path: Path) -> None:
    if count > 0:
        _read(stream, count, path)


def _to_end(stream: BinaryIO) -> None:
    """Reads on to the end, at which a compressed file has its checksum; not without limit."""
    if isinstance(stream, gzip.GzipFile):
        for _ in range(_MAX_TRAILING // _CHUNK):
            if not stream.read(_CHUNK):
                return
