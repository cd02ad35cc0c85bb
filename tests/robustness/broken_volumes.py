"""Volumes that are damaged, or declare what cannot be. Each says whether a refusal is due."""

from __future__ import annotations

import gzip
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from attack import pick
from volumes import SPACING, save_nifti

Damage = Callable[[Path, Any], bool]
_FIELDS = {"sizeof_hdr": 0, "dim": 40, "datatype": 70, "bitpix": 72, "pixdim": 76, "vox_offset": 108, "slope": 112}
_FIELDS |= {"inter": 116, "xyzt_units": 123, "qform_code": 252, "sform_code": 254, "quatern": 256, "srow": 280}
_FIELDS |= {"magic": 344}


def patch(path: Path, offset: int, content: bytes) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw), 1))


# ---- NIfTI --------------------------------------------------------------------------------------------------------


def any_field(path: Path, rng: Any) -> bool:
    """One field of the header, or two, with any bytes."""
    for _ in range(rng.integers(1, 3)):
        patch(path, pick(rng, list(_FIELDS.values())) + int(rng.integers(4)), rng.bytes(int(rng.integers(1, 9))))
    return False


def huge_sides(path: Path, rng: Any) -> bool:
    sides = pick(
        rng, [(3, 32767, 32767, 32767), (4, 32767, 32767, 1, 32767), (7, *[30000] * 7), (3, 0, 4, 4), (3, -5, 4, 4)]
    )
    patch(path, 40, np.array(sides, "<i2").tobytes())
    return True


def true_bomb(path: Path, rng: Any) -> bool:
    """A whole and valid file of zeros, a thousand times as large in memory."""
    header = bytearray(gzip.decompress(path.read_bytes())[:352])
    header[40:48] = np.array((3, 1024, 1024, 1024), "<i2").tobytes()
    header[70:74] = np.array((2, 8), "<i2").tobytes()
    with gzip.open(path, "wb", 1) as stream:
        stream.write(bytes(header))
        for _ in range(16):
            stream.write(bytes(2**24))
    return True


def far_data(path: Path, rng: Any) -> bool:
    patch(path, 108, np.array([pick(rng, [1e30, -1.0, np.nan, np.inf, 3e9, 352.5])], "<f4").tobytes())
    return True


def odd_sizes(path: Path, rng: Any) -> bool:
    """Sides of voxels that are none, in a header that has no other place for them."""
    patch(path, 252, np.array((pick(rng, [0, 1]), 0), "<i2").tobytes())
    patch(path, 80, np.array([pick(rng, [0.0, -1.0, np.nan, np.inf]), 1, 1], "<f4").tobytes())
    return True


def flat_axes(path: Path, rng: Any) -> bool:
    patch(path, 280, np.array(pick(rng, [(0, 0, 0, 0), (np.nan,) * 4, (np.inf, 0, 0, 0)]), "<f4").tobytes())
    return True


def no_place(path: Path, rng: Any) -> bool:
    """Neither of the two ways to say where voxels lie."""
    patch(path, 252, bytes(4))
    return False


def odd_scale(path: Path, rng: Any) -> bool:
    values = [pick(rng, [0.0, np.nan, np.inf, -1.0, 1e-30, 1e38]), pick(rng, [0.0, np.nan, -np.inf, 0.5, 1e38])]
    patch(path, 112, np.array(values, "<f4").tobytes())
    return False


def bad_voxels(path: Path, rng: Any) -> bool:
    values = np.zeros((8, 9, 5), np.float32)
    values[1, 2, 3] = pick(rng, [np.nan, np.inf, -np.inf, 1e30])
    save_nifti(path, values)
    return True


def other_sides(path: Path, rng: Any) -> bool:
    save_nifti(
        path, np.zeros(pick(rng, [(8, 9, 6), (9, 8, 5), (8, 9), (8, 9, 5, 2), (8, 9, 5, 2, 2), (1, 1, 1)]), np.uint8)
    )
    return True


def other_place(path: Path, rng: Any) -> bool:
    affine = np.diag([*SPACING, 1.0])
    affine[pick(rng, [0, 1, 2]), 3] += 3
    save_nifti(path, np.zeros((8, 9, 5), np.uint8), affine)
    return True


def other_type(path: Path, rng: Any) -> bool:
    code, bits = pick(rng, [(1, 1), (32, 64), (128, 24), (1536, 128), (1792, 128), (2304, 32), (0, 0), (4096, 8)])
    patch(path, 70, np.array((code, bits), "<i2").tobytes())
    return True


def half_of_a_pair(path: Path, rng: Any) -> bool:
    patch(path, 344, pick(rng, [b"ni1\0", b"xxxx", bytes(4)]))
    return True


def bad_checksum(path: Path, rng: Any) -> bool:
    content = bytearray(path.read_bytes())
    content[-8 + int(rng.integers(8))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))
    return True


NIFTI: list[Damage] = [
    *(any_field, any_field, any_field, huge_sides, true_bomb, far_data, odd_sizes, flat_axes, no_place, odd_scale),
    *(bad_voxels, other_sides, other_place, other_type, half_of_a_pair, bad_checksum),
]


# ---- DICOM: `path` is a slice --------------------------------------------------------------------------------------


def edit(path: Path, **changes: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slice_ = pydicom.dcmread(path)
        for name, value in changes.items():
            setattr(slice_, name, value)
        slice_.save_as(path)


def any_attribute(path: Path, rng: Any) -> bool:
    name = pick(rng, ["Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel"])
    edit(path, **{name: int(rng.integers(0, 2**16))})
    return False


def odd_numbers(path: Path, rng: Any) -> bool:
    name, length = pick(rng, [("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)])
    edit(path, **{name: [pick(rng, ["0", "1e300", "-1", "12345.678"])] * pick(rng, [length, 1, length + 1])})
    return False


def odd_scaling(path: Path, rng: Any) -> bool:
    edit(path, RescaleSlope=pick(rng, ["0", "1e38", "-1"]), RescaleIntercept=pick(rng, ["0", "1e38"]))
    return False


def other_series(path: Path, rng: Any) -> bool:
    edit(path, SeriesInstanceUID="1.2.3", SeriesDescription=pick(rng, ["Scout", "\x1b[31m", "x" * 60, ""]))
    return True


def repeated(path: Path, rng: Any) -> bool:
    shutil.copy(path, path.with_name("again.dcm"))
    return True


def other_bytes(path: Path, rng: Any) -> bool:
    """Any bytes after the first words, by which the file is known."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 30)):
        content[int(rng.integers(132, len(content)))] = int(rng.integers(256))
    path.write_bytes(bytes(content))
    return False


def long_element(path: Path, rng: Any) -> bool:
    """An element that declares more bytes than there are."""
    content = path.read_bytes()
    place = content.rfind(b"\xe0\x7f\x10\x00OW\0\0")
    path.write_bytes(
        content[: place + 8] + pick(rng, [2**31, 2**32 - 2, 10**6]).to_bytes(4, "little") + content[place + 12 :]
    )
    return False


DICOM: list[Damage] = [
    *(any_attribute, odd_numbers, odd_numbers, odd_scaling, other_series, repeated, other_bytes, other_bytes),
    long_element,
]
