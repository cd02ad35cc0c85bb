"""Predictions of volumes as NIfTI files, on the grid of the volume that they are of.

Each file has the affine, the order of axes, the units and the codes of the input's header; only shape, type and scaling
are its own. Names begin with the name of the image, as tools take files out of their folders.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.data import DataDescription
from plurimask.data.images import nifti
from plurimask.data.images.geometry import Grid, from_canonical
from plurimask.data.images.medical import nibabel
from plurimask.files.writing import replacing
from plurimask.metrics.maps import label_map_of
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.readings import Reading
from plurimask.prediction.whole import mask_values, outside_label, outside_maps, whole

ENDING = ".nii.gz"
_LEVEL = 4
"""Of compression: masks hardly grow smaller by more, and maps take longer."""
_NO_INTENT, _LABELS = 0, 1002


class VolumeFiles:
    """Writes the files of one predicted volume into its folder."""

    def __init__(self, predicted: Predicted, description: DataDescription, folder: Path) -> None:
        self.predicted, self.description, self.folder = predicted, description, folder
        self.base = predicted.name.rpartition("/")[2]
        self.grid, self.header = _like(predicted)

    def masks(self, readings: Sequence[Reading], stack: bool) -> tuple[list[str], list[str]]:
        """Samples, readings and the most likely map, one after the other; with `stack` all samples in one file too,
        the last axis counts them. The names of the samples' files, and of the readings'."""
        values, samples = mask_values(self.description), self.predicted.samples
        outside = outside_label(self.description)
        digits = max(2, len(str(len(samples) - 1)))
        of_samples = [self._name(f"sample-{number:0{digits}d}") for number in range(len(samples))]
        of_readings = [self._name(f"reading-{place + 1}") for place in range(len(readings))]
        likely = label_map_of(torch.as_tensor(self.predicted.mean)).numpy()
        shown = dict(zip(of_samples, samples, strict=True))
        shown |= {file: samples[one.medoid] for file, one in zip(of_readings, readings, strict=True)}
        for file, labels in (shown | {self._name("mask"): likely}).items():
            self._write(file, values[whole(labels, self.predicted, outside)], _LABELS)
        if stack:
            together = np.moveaxis(values[whole(samples, self.predicted, outside)], 0, -1)
            self._write(self._name("samples"), together, _LABELS)
        return of_samples, of_readings

    def maps(self) -> None:
        """Float32: entropy and mutual information; mean and variance with the classes on the last axis."""
        for name, outside in outside_maps(self.description).items():
            own = whole(getattr(self.predicted, name), self.predicted, outside)
            self._write(self._name(name), own if own.ndim == 3 else np.moveaxis(own, 0, -1), _NO_INTENT)

    def _name(self, what: str) -> str:
        return f"{self.base}_{what}{ENDING}"

    def _write(self, file: str, values: NDArray[Any], intent: int) -> None:
        """Values `(D, H, W)` or `(D, H, W, planes)`."""
        planes = values[..., None] if values.ndim == 3 else values
        stored = np.moveaxis(from_canonical(np.moveaxis(planes, -1, 0), self.grid), 0, -1)
        stored = stored[..., 0] if values.ndim == 3 else stored
        write_nifti(self.folder / file, stored, self.header, intent)


def write_nifti(path: Path, stored: NDArray[Any], like: Any, intent: int = _NO_INTENT) -> None:
    """An array `(X, Y, Z)` or `(X, Y, Z, planes)` with the geometry of the header `like`, compressed; the same content
    is the same bytes."""
    header = like.copy()
    rank = int(header["dim"][0])
    if stored.ndim == 3 and rank == 2 and stored.shape[2] == 1:
        stored = stored[..., 0]
    header.set_data_shape(stored.shape)
    header.set_data_dtype(stored.dtype)
    header["scl_slope"], header["scl_inter"] = np.nan, np.nan
    header["cal_min"], header["cal_max"] = 0, 0
    header["intent_code"], header["intent_name"] = intent, b""
    if stored.ndim > 3:
        header["pixdim"][4:] = 1
    library = nibabel()
    kind = library.Nifti2Image if int(header["sizeof_hdr"]) == 540 else library.Nifti1Image
    image = kind(np.ascontiguousarray(stored), None, header)
    with replacing(path) as stream, gzip.GzipFile("", "wb", _LEVEL, stream, mtime=0) as packed:
        image.to_stream(packed)


def remove_stale(folder: Path) -> None:
    """Removes what an earlier prediction may have left of which there may be fewer now."""
    patterns: Iterable[str] = (f"*_sample-*{ENDING}", f"*_reading-*{ENDING}", f"*_samples{ENDING}")
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        path.unlink()


def _like(predicted: Predicted) -> tuple[Grid, Any]:
    """The grid of the input, and a header that says so: the input's own, or a new one where it is no NIfTI file."""
    first = predicted.files[0] if predicted.files else None
    if first is not None and nifti.is_nifti(first):
        header = nifti.nifti_header(first)
        return header.grid, header.own
    depth, height, width = predicted.size
    grid = predicted.grid or Grid.of((width, height, depth), np.eye(4), None, predicted.name)
    own = nibabel().Nifti1Header()
    own.set_data_shape(grid.shape)
    own.set_sform(grid.matrix, code=1)
    own.set_qform(grid.matrix, code=1, strip_shears=True)
    if grid.unit is not None:
        own.set_xyzt_units({"µm": "micron", "mm": "mm", "m": "meter"}[grid.unit])
    return grid, own
