"""How large a pixel or voxel is; of TIFFs as OME or ImageJ metadata, else resolution tags say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import tifffile

from plurimask.data.images.stored import format_of

_UNITS = {
    "nm": "nm",
    "nanometer": "nm",
    "nanometre": "nm",
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", "\\u00B5m"), "µm"),
    "mm": "mm",
    "millimeter": "mm",
    "millimetre": "mm",
    "cm": "cm",
    "centimeter": "cm",
    "centimetre": "cm",
    "m": "m",
    "meter": "m",
    "metre": "m",
    "inch": "in",
    "in": "in",
}
_MILLILITRES = {"nm": 1e-21, "µm": 1e-12, "mm": 1e-3, "cm": 1.0, "m": 1e6}
"""In a cube of each unit of length."""
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION = 274, 282, 283
_INCH, _CENTIMETRE = 2, 3


class PixelSize(NamedTuple):
    """Height and width of one pixel, and depth of one voxel."""

    height: float
    width: float
    unit: str
    """nm, µm, mm, cm or m; "in" where a file only says for how many dots per inch it is to be printed."""
    depth: float | None = None
    """In the same unit; None of an image that is no volume."""

    @property
    def is_measured(self) -> bool:
        """Whether it is the size of what is shown. Dots per inch (often 72, of nothing) are for printing alone."""
        return self.unit != "in"

    @property
    def millilitres(self) -> float:
        """Of one voxel; NaN where it has no depth or is not measured."""
        if self.depth is None or not self.is_measured:
            return math.nan
        return self.depth * self.height * self.width * _MILLILITRES[self.unit]


def read_pixel_size(path: Path) -> PixelSize | None:
    """The size of the pixels of `path`, turned as its orientation tag says; None where it does not say so."""
    try:
        if format_of(path) != "TIFF":
            return None
        with tifffile.TiffFile(path) as file:
            tags = file.pages[0].tags
            size = _of_ome(file.ome_metadata) if file.is_ome else None
            size = size or _of_tags(tags, (file.imagej_metadata or {}).get("unit") if file.is_imagej else None)
            is_turned = tags.valueof(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # a damaged file can raise anything in a decoder; the reader of the image says what it is
        return None
    return size._replace(height=size.width, width=size.height) if size and is_turned else size


def _of_ome(text: str | None) -> PixelSize | None:
    """Of the first image that OME-XML describes. Its unit is µm where none is given."""
    for element in ElementTree.fromstring(text or "<OME/>").iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            sides = [_positive(element.get(f"PhysicalSize{axis}")) for axis in "YX"]
            units = {_UNITS.get(element.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "YX"}
            height, width = sides
            unit = units.pop()
            return None if units or not (height and width and unit) else PixelSize(height, width, unit)
    return None


def _of_tags(tags: Any, imagej_unit: str | None) -> PixelSize | None:
    """Of pixels per unit; ImageJ writes the unit into its description."""
    kind = int(tags.valueof("ResolutionUnit", _INCH) or 0)
    unit = _UNITS.get(str(imagej_unit)) if imagej_unit else {_INCH: "in", _CENTIMETRE: "cm"}.get(kind)
    densities = [_positive(_quotient(tags.valueof(code))) for code in (_Y_RESOLUTION, _X_RESOLUTION)]
    height, width = densities
    return PixelSize(1 / height, 1 / width, unit) if height and width and unit else None


def _quotient(value: Any) -> float | None:
    return value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else None


def _positive(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if 0 < number < math.inf else None
