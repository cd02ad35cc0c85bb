"""Small NIfTI volumes on disk, in any order of axes."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHAPE = (4, 5, 6)
"""Width (right), height (anterior), depth (superior)."""
SPACING = (0.5, 0.75, 3.0)
ORDERS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]
"""The 48 orders and directions of axes."""


def reordered(
    straight: np.ndarray, order: tuple[int, ...] = (0, 1, 2), signs: tuple[int, ...] = (1, 1, 1), turn: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A volume `(X, Y, Z)` that lies straight in the patient, with its axes in another order and direction: the values
    and the affine. `turn`: by so many radians about the z axis."""
    shape = straight.shape[:3]
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    affine[:3, 3] = (-10, 20, 30)
    for axis, (target, sign) in enumerate(zip(order, signs, strict=True)):
        affine[target, axis] = sign * SPACING[target]
        if sign < 0:
            affine[target, 3] += SPACING[target] * (shape[target] - 1)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    further = range(3, straight.ndim)
    stored = straight.transpose(*order, *further)[tuple(slice(None, None, sign) for sign in signs)]
    return stored, rotation @ affine


def straight(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Values `(X, Y, Z)`, int16."""
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def save_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None, **header: Any) -> Path:
    """A NIfTI file, with these fields of the header; makes the folders."""
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.diag([*SPACING, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    packed = path.suffix == ".gz"
    raw = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    own = nibabel.Nifti1Header(raw[:348])
    for name, value in header.items():  # afterwards: who saves an affine sets codes
        own[name] = value
    raw = own.binaryblock + raw[348:]
    path.write_bytes(gzip.compress(raw, mtime=0) if packed else raw)
    return path


def write_volumes(folder: Path, names: tuple[str, ...] = ("a", "b"), raters: tuple[str, ...] = ("anna", "ben")) -> Path:
    """A data set of volumes with a mask of each rater."""
    for seed, name in enumerate(names):
        values = straight(seed)
        save_nifti(folder / "images" / f"{name}.nii.gz", values)
        for number, rater in enumerate(raters):
            marked = (values > 100 * number).astype(np.uint8)
            save_nifti(folder / "masks" / rater / f"{name}.nii.gz", marked)
    return folder
