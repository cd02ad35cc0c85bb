"""Images in Zarr: an array, or an OME-Zarr whose largest level is the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.reading import Box, ImageReader
from plurimask.data.images.stored import Array
from plurimask.errors import InputError, reason_of

_MARKS = ("zarr.json", ".zgroup", ".zarray")
_UNITS = {"nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}
_USUAL_AXES = {2: "yx", 3: "cyx", 4: "czyx", 5: "tczyx"}
NEEDED = "pip install 'plurimask[large]'"


def is_zarr(path: Path) -> bool:
    """Whether a folder is an array or a group of Zarr."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def zarr_marks(path: Path) -> tuple[Path, ...]:
    """The files that say what a Zarr folder holds."""
    return tuple(path / mark for mark in (*_MARKS, ".zattrs") if (path / mark).is_file())


def import_zarr(why: str) -> Any:
    """The package `zarr`; `why` begins the message where it is missing.

    Raises:
        InputError: it is not installed, or older than 3.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"{why}: the package zarr is missing: {NEEDED}") from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise InputError(f"{why}: zarr {zarr.__version__} is too old: {NEEDED}")
    return zarr


class ZarrReader(ImageReader):
    """The image in a Zarr folder.

    Raises:
        InputError: it cannot be read, or holds several images.
    """

    def __init__(self, path: Path) -> None:
        zarr = import_zarr(str(path))
        self.path = path
        try:
            found = zarr.open(path, mode="r")
            self.about = _multiscales(found)
            array = found[self.about["datasets"][0]["path"]] if self.about else found
            names = [one["name"] for one in self.about["axes"]] if self.about else _axes_of(array)
            shape = dict(zip(names, array.shape, strict=True))
        except Exception as error:  # a damaged store can raise anything
            raise InputError(
                f"{path}: cannot be read as an array of Zarr or an image of OME-Zarr ({reason_of(error)}): give the "
                "folder of one image"
            ) from error
        if shape.get("t", 1) != 1 or not {"y", "x"} <= shape.keys():
            raise InputError(f"{path}: an array with the axes {shape}, expected one image with y and x: give one frame")
        self.array, self.names = array, names
        spatial = [axis for axis in "zyx" if shape.get(axis, 1) > 1 or axis in "yx"]
        self.shape = (shape.get("c", 1), *(shape[axis] for axis in spatial))
        self.spatial = spatial

    def values(self, box: Box) -> Array:
        of = dict(zip(self.spatial, box, strict=True))
        index = tuple(of.get(name, slice(None) if name == "c" else 0) for name in self.names)
        values = np.asarray(self.array[index])
        left = [name for name in self.names if name in of or name == "c"]
        order = [left.index(name) for name in ("c", *self.spatial) if name in left]
        values = values.transpose(order)
        return values if "c" in left else values[None]

    @property
    def pixel_size(self) -> PixelSize | None:
        """Where the metadata say so."""
        if not self.about:
            return None
        units = {one["name"]: _UNITS.get(str(one.get("unit"))) for one in self.about["axes"]}
        scales = [
            one["scale"]
            for one in self.about["datasets"][0].get("coordinateTransformations", [])
            if one.get("type") == "scale"
        ]
        if not scales or units["y"] is None or units["y"] != units["x"]:
            return None
        size = dict(zip(self.names, map(float, scales[0]), strict=True))
        return PixelSize(size["y"], size["x"], units["y"], size["z"] if "z" in self.spatial else None)


def _axes_of(array: Any) -> list[str]:
    """Of a bare array: as it names them, or the usual ones of so many."""
    named = getattr(array.metadata, "dimension_names", None)
    return [str(one).lower() for one in named] if named and all(named) else list(_USUAL_AXES[array.ndim])


def _multiscales(found: Any) -> dict[str, Any] | None:
    """What an OME-Zarr of version 0.4 or 0.5 says of its levels; None of a bare array."""
    attributes = dict(found.attrs)
    multiscales = attributes.get("ome", attributes).get("multiscales")
    return None if not multiscales else dict(multiscales[0])
