"""A DICOM series: a folder of slices, one file each, which together are one volume.

Slices are sorted by their position along the normal of their plane, and their values are those that the files mean
(rescale slope and intercept, or the look-up table, of each slice), in Hounsfield units for CT. What is no regular stack
of slices is refused: several series or directions, slices that are missing, repeated or out of line.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from plurimask.data.images.geometry import Grid, to_canonical
from plurimask.data.images.limit import refuse_large
from plurimask.data.images.medical import pydicom
from plurimask.data.images.stored import Stored
from plurimask.errors import InputError, reason_of, shown
from plurimask.files.reading import open_file

ENDINGS = (".dcm", ".dicom", ".ima", "")
"""Of files of a series, in lower case; names that are identifiers (1.2.840...) end in digits."""

_UNEVEN = 0.1
"""Of the median distance between slices: by so much a distance may differ from it."""
_OUT_OF_LINE = 0.1
"""Of the side of a pixel: by so much a slice may lie beside the line of the others."""
_SAME_DIRECTION = 1e-3
_Points: TypeAlias = npt.NDArray[np.float64]
_PIXELS = 0x7FE00010
_DEFLATED = "1.2.840.10008.1.2.1.99"
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_TAGS = [
    *_GEOMETRY,
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "SliceThickness",
    "SeriesInstanceUID",
    "SeriesDescription",
    "SeriesNumber",
    "Modality",
    "LossyImageCompression",
]


@dataclass(frozen=True)
class Series:
    """The slices of one volume."""

    files: tuple[Path, ...]
    """In the order of their positions."""
    grid: Grid
    """Of an array whose axes are the columns, the rows and the slices."""
    is_lossy: bool
    """Whether a slice was compressed with loss at some time."""


def is_dicom(path: Path) -> bool:
    """Whether a file is one of DICOM, by its first bytes; not a directory of others, DICOMDIR."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with open_file(path) as stream:
            start = stream.read(132)
    except (OSError, InputError):
        return False
    return start[128:] == b"DICM"


def may_be_slice(name: str) -> bool:
    """Whether a file of this name may be a slice: then it is worth to look into it."""
    ending = name[name.rfind(".") :].lower() if "." in name[1:] else ""
    return ending in ENDINGS or ending[1:].isdigit()


def holds_series(folder: Path) -> bool:
    """Whether slices lie in the folder itself."""
    return any(may_be_slice(path.name) and is_dicom(path) for path in folder.iterdir() if path.name[0] != ".")


def series_of(folder: Path) -> Series:
    """The series in `folder`, from the headers of its files.

    Raises:
        InputError: the files are no regular stack of slices of one series.
    """
    files = sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_file() and is_dicom(path))
    return _series(folder, tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files))


def read_series(folder: Path, is_mask: bool) -> Stored:
    """The volume in `folder`, `(1, D, H, W)`, float32, in the canonical order of `plurimask.data.images.geometry`."""
    series = series_of(folder)
    if is_mask and series.is_lossy:
        raise InputError(f"{folder}: compression with loss changes the values of a mask: save masks without it")
    columns, rows, count = series.grid.shape
    values = np.empty((count, rows, columns), np.float32)
    for number, path in enumerate(series.files):
        values[number] = _pixels(path, (rows, columns))
    return Stored(np.ascontiguousarray(to_canonical(values.transpose(2, 1, 0)[None], series.grid)))


def _pixels(path: Path, size: tuple[int, int]) -> npt.NDArray[Any]:
    """`(rows, columns)` in the values that are meant."""
    library = pydicom()
    with _reading(path):
        slice_ = elements(path, with_pixels=True)
        if "PixelData" not in slice_:
            raise InputError(f"{path}: a slice without pixels, damaged or of another kind: export it again")
        _refuse_compression(slice_, path)
        values: npt.NDArray[Any] = library.pixels.apply_modality_lut(slice_.pixel_array, slice_)
    if values.shape != size:
        raise InputError(f"{path}: declares {size[0]}x{size[1]} pixels and gives {values.shape}: export it again")
    return values


def elements(path: Path, with_pixels: bool) -> Any:
    """The elements of a file up to its pixels, or with them. Tags ascend: what comes after the pixels, or out of order,
    is not read, of which a damaged file may have no end."""
    last = -1

    def is_end(tag: int, *_: object) -> bool:
        nonlocal last
        ends = tag <= last or last >= _PIXELS or (tag >= _PIXELS and not with_pixels)
        last = int(tag)
        return ends

    with open_file(path) as stream:
        tags = None if with_pixels else [pydicom().tag.Tag(name) for name in _TAGS]
        return pydicom().filereader.read_partial(stream, is_end, specific_tags=tags)


def _refuse_compression(slice_: Any, path: Path) -> None:
    """Raise InputError if no decoder for the pixels is installed."""
    syntax = slice_.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return
    try:
        is_known = pydicom().pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        is_known = False
    if not is_known:
        raise InputError(
            f"{path}: compressed as {syntax.name}, which is not decoded here: pip install 'pylibjpeg[all]', or "
            "decompress the files (gdcmconv --raw, dcmdjpeg)"
        )


@lru_cache(maxsize=256)
def _series(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> Series:
    """Read again when a file has changed."""
    if not files:
        raise InputError(f"{folder}: a folder without DICOM slices: give a file, or the folder of a series")
    headers = [(path, _header(path)) for path, *_ in files]
    _refuse_mixed(folder, headers)
    first = headers[0][1]
    directions = np.array(first.ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(*directions)
    if not np.isfinite(directions).all() or abs(np.linalg.norm(normal) - 1) > 0.01:
        raise InputError(f"{headers[0][0]}: rows and columns that are not at right angles: correct the header")
    positions = np.array([header.ImagePositionPatient for _, header in headers], np.float64)
    order = np.argsort(positions @ normal, kind="stable")
    paths, positions = [headers[number][0] for number in order], positions[order]
    rows, columns = int(first.Rows), int(first.Columns)
    refuse_large((len(paths), rows, columns), str(folder))
    height, width = (float(side) for side in first.PixelSpacing)
    step = _step(folder, paths, positions, normal, min(height, width))
    if step is None:
        thickness = float(first.get("SliceThickness") or 0)
        step = normal * (thickness if np.isfinite(thickness) and thickness > 0 else 1.0)
    affine = np.eye(4)
    affine[:3] = np.stack([directions[0] * width, directions[1] * height, step, positions[0]], 1)
    affine[:2] *= -1  # DICOM's x points to the left and y to the back
    grid = Grid.of((columns, rows, len(paths)), affine, "mm", str(folder))
    return Series(tuple(paths), grid, any(header.get("LossyImageCompression") == "01" for _, header in headers))


def _header(path: Path) -> Any:
    """What is needed of a file's header.

    Raises:
        InputError: it is no slice of a volume.
    """
    library = pydicom()
    with _reading(path):
        meta = library.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == _DEFLATED:
            raise InputError(f"{path}: deflated as a whole, which is not read: save it explicit, little endian")
        return _checked(elements(path, with_pixels=False), path)


def _checked(header: Any, path: Path) -> Any:
    modality = shown(str(header.get("Modality", "of no kind")))
    if "Rows" not in header or "Columns" not in header:
        raise InputError(f"{path}: holds no image ({modality}): move it out of the folder of the series")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise InputError(
            f"{path}: {int(header.NumberOfFrames)} frames in one file, expected a slice a file: convert it to NIfTI "
            "(dcm2niix)"
        )
    colours = str(header.get("PhotometricInterpretation", ""))
    if int(header.get("SamplesPerPixel") or 1) != 1 or colours != "MONOCHROME2":
        raise InputError(f"{path}: colours or levels of the kind {shown(colours)}, expected MONOCHROME2: convert it")
    missing = [name for name in _GEOMETRY if not header.get(name)]
    if missing:
        raise InputError(f"{path}: says nothing of its {missing[0]}, so that its place is not known: export it again")
    numbers = [float(value) for name in _GEOMETRY for value in header[name].value]
    lengths = [len(header[name].value) for name in _GEOMETRY]
    if lengths != [3, 6, 2] or not np.isfinite(numbers).all() or min(numbers[-2:]) <= 0:
        raise InputError(f"{path}: a position, direction or spacing that is none: correct the header")
    return header


def _refuse_mixed(folder: Path, headers: Sequence[tuple[Path, Any]]) -> None:
    """Raise InputError if slices are not all of one series, size and direction."""
    kinds: list[tuple[tuple[Any, ...], npt.NDArray[np.float64], list[Any]]] = []
    for _, header in headers:
        spacing = tuple(round(float(side), 4) for side in header.PixelSpacing)
        kind = (str(header.get("SeriesInstanceUID", "")), int(header.Rows), int(header.Columns), spacing)
        turned = np.array(header.ImageOrientationPatient, np.float64)
        for other, direction, group in kinds:
            if kind == other and np.abs(turned - direction).max() < _SAME_DIRECTION:
                group.append(header)
                break
        else:
            kinds.append((kind, turned, [header]))
    if len(kinds) < 2:
        return
    what = "series" if len({kind[0] for kind, *_ in kinds}) > 1 else "kinds of slices (sizes or directions)"
    listed = "; ".join(_described(group) for *_, group in kinds[:4]) + ("; ..." if len(kinds) > 4 else "")
    raise InputError(f"{folder}: {len(kinds)} {what} in one folder ({listed}): give each a folder of its own")


def _described(group: Sequence[Any]) -> str:
    first = group[0]
    words = shown(str(first.get("SeriesDescription") or "no description"))
    number = "" if first.get("SeriesNumber") is None else f" ({first.SeriesNumber})"
    slices = f"{len(group)} slice{'s' * (len(group) > 1)} of {int(first.Rows)}x{int(first.Columns)}"
    return f"{words}{number}, {first.get('Modality', '?')}, {slices}"


def _step(
    folder: Path, paths: Sequence[Path], positions: _Points, normal: _Points, side: float
) -> npt.NDArray[np.float64] | None:
    """From one slice to the next, in DICOM's axes; None of a single one.

    Raises:
        InputError: distances differ, or slices do not lie in one line.
    """
    if len(paths) < 2:
        return None
    distances = np.diff(positions @ normal)
    median = float(np.median(distances))
    closest = int(distances.argmin())
    if distances[closest] < 0.01 * side or distances[closest] < 0.01 * median:
        raise InputError(
            f"{folder}: {paths[closest].name} and {paths[closest + 1].name} lie in the same place (repeated, or "
            "several echoes or times in one series): keep one of each"
        )
    farthest = int(np.abs(distances - median).argmax())
    if abs(distances[farthest] - median) > _UNEVEN * median:
        missing = round(distances[farthest] / median) - 1
        where = f"between {paths[farthest].name} and {paths[farthest + 1].name}"
        what = f"{missing} slices are missing {where}" if missing > 0 else f"slices are at uneven distances {where}"
        raise InputError(
            f"{folder}: {what} ({distances[farthest]:.4g} mm, the median is {median:.4g} mm): complete the series, or "
            "give its regular part a folder of its own"
        )
    step: npt.NDArray[np.float64] = (positions[-1] - positions[0]) / (len(paths) - 1)
    along = positions[0] + np.arange(len(paths))[:, None] * step
    aside = np.linalg.norm((positions - along) - ((positions - along) @ normal)[:, None] * normal, axis=1)
    if aside.max() > _OUT_OF_LINE * side:
        name = paths[int(aside.argmax())].name
        raise InputError(f"{folder}: {name} lies {aside.max():.4g} mm beside the line of the others: leave it out")
    return step


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Without pydicom's warnings, which are for programmers; what a damaged file raises is told of that file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path}: damaged or cut short ({reason_of(error)}): copy or export it again") from error
