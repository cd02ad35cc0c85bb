"""Maps of large images as OME-Zarr 0.5: arrays that are written box by box, with coarser levels and what they mean.

    NAME.ome.zarr/0 1 2 ...             levels, each half the size of the one before, along the axes that are long
    NAME.ome.zarr/labels/LABEL/0 1 ...  label images of the same size

https://ngff.openmicroscopy.org/0.5
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.zarr_arrays import import_zarr
from plurimask.prediction.tiles import Box

VERSION = "0.5"
SMALLEST = 512
"""Pixels along the longest side from which on there are no further levels."""
_REGION = {2: 1024, 3: 64}
"""Sides of what is made coarser at a time."""
_UNITS = {"nm": "nanometer", "µm": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter"}


@dataclass(frozen=True)
class Layout:
    """What all maps of an image have in common."""

    size: tuple[int, ...]
    """Of the image, `(*spatial)`."""
    block: tuple[int, ...]
    """The sides of a stored block."""
    pixel_size: PixelSize | None = None

    @property
    def num_levels(self) -> int:
        longest, count = max(self.size), 1
        while longest > SMALLEST:
            longest, count = -(-longest // 2), count + 1
        return count

    def level_size(self, level: int) -> tuple[int, ...]:
        return tuple(-(-length // self.factor(level, axis)) for axis, length in enumerate(self.size))

    def factor(self, level: int, axis: int) -> int:
        """Pixels of the image along an axis that one of a level is for: short axes are not made coarser."""
        return 2**level if 4 * self.size[axis] >= max(self.size) else 1


class Maps:
    """One image of OME-Zarr, `(*spatial)` or, with planes, `(P, *spatial)`; opened, or made if it is not there.

    Args:
        folder: of the image; of a label image a folder in `labels/` of another.
        layout: of the image.
        dtype: of its values.
        num_planes: P; 0 for a map without planes.
        fill: outside of what is written.
    """

    def __init__(self, folder: Path, layout: Layout, dtype: Any, num_planes: int = 0, fill: Any = 0) -> None:
        self.folder, self.layout, self.num_planes = folder, layout, num_planes
        zarr = import_zarr(f"{folder}: predictions of large images are written as OME-Zarr")
        self.group = zarr.open_group(folder, mode="a", zarr_format=3)
        fills = np.broadcast_to(np.asarray(fill), (num_planes,) if num_planes else ())
        self.levels = [self._array(level, dtype, fills) for level in range(layout.num_levels)]

    def _array(self, level: int, dtype: Any, fills: NDArray[Any]) -> Any:
        name = str(level)
        if name in self.group:
            return self.group[name]
        planes = (self.num_planes,) if self.num_planes else ()
        axes = ["c"] * bool(self.num_planes) + list("zyx")[-len(self.layout.size) :]
        size = self.layout.level_size(level)
        return self.group.create_array(
            name,
            shape=(*planes, *size),
            chunks=(*(1 for _ in planes), *map(min, self.layout.block, size)),
            dtype=dtype,
            fill_value=fills.flat[0].item(),
            dimension_names=axes,
        )

    def write(self, box: Box, values: NDArray[Any]) -> None:
        """Values `(*box)`, or `(P, *box)`, of the finest level."""
        self.levels[0][(..., *box)] = values

    def make_levels(self, is_label: bool) -> None:
        """Fill the coarser levels: of labels every second pixel, of other maps the mean of those that are there."""
        for level in range(1, len(self.levels)):
            finer, coarser = self.levels[level - 1], self.levels[level]
            by = [
                self.layout.factor(level, axis) // self.layout.factor(level - 1, axis)
                for axis in range(len(self.layout.size))
            ]
            planes: list[Any] = [*range(self.num_planes)] or [...]
            for box, plane in itertools.product(regions(self.layout.level_size(level)), planes):
                source = tuple(
                    slice(side.start * step, min(side.stop * step, length))
                    for side, step, length in zip(box, by, self.layout.level_size(level - 1), strict=True)
                )
                values = np.asarray(finer[(plane, *source)])
                every = tuple(slice(None, None, step) for step in by)
                coarser[(plane, *box)] = values[every] if is_label else coarsened(values, by)

    def describe(self, name: str, more: Mapping[str, Any]) -> None:
        """Write the metadata: axes, levels, the size of pixels; `more` is what label images say."""
        size, spatial = self.layout.pixel_size, list("zyx")[-len(self.layout.size) :]
        is_known = size is not None and size.is_measured
        unit = {"unit": _UNITS[size.unit]} if size is not None and is_known else {}
        sides = dict(zip("zyx", (size.depth or 1.0, size.height, size.width), strict=True)) if size and is_known else {}
        axes = [{"name": "c", "type": "channel"}] * bool(self.num_planes)
        axes += [{"name": axis, "type": "space", **unit} for axis in spatial]
        datasets = []
        for level in range(len(self.levels)):
            scale = [sides.get(axis, 1.0) * self.layout.factor(level, place) for place, axis in enumerate(spatial)]
            scale = [1.0] * bool(self.num_planes) + scale
            datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        multiscales = [{"name": name, "axes": axes, "datasets": datasets}]
        self.group.attrs["ome"] = {"version": VERSION, "multiscales": multiscales, **more}


def coarsened(values: NDArray[Any], by: Sequence[int]) -> NDArray[Any]:
    """Means of `(..., *spatial)` over boxes of sides `by`; of fewer values at the ends."""
    means: NDArray[np.float32] = values.astype(np.float32)
    for axis, step in enumerate(by):
        place = values.ndim - len(by) + axis
        if step == 1:
            continue
        length = means.shape[place]
        starts = np.arange(0, length, step)
        counts = np.minimum(starts + step, length) - starts
        shape = [-1 if at == place else 1 for at in range(means.ndim)]
        means = (np.add.reduceat(means, starts, axis=place) / counts.reshape(shape)).astype(np.float32)
    return means.astype(values.dtype)


def regions(size: Sequence[int]) -> Iterator[Box]:
    """Boxes of a bounded size that make up an image."""
    side = _REGION[len(size)]
    yield from itertools.product(
        *([slice(start, min(start + side, length)) for start in range(0, length, side)] for length in size)
    )


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed have left of blocks in the arrays of a folder; no other may be writing."""
    for path in folder.glob("*.zarr/**/*.partial"):
        path.unlink(missing_ok=True)


def describe_labels(folder: Path, names: Sequence[str]) -> None:
    """Say in `folder/labels` which label images there are."""
    zarr = import_zarr(str(folder))
    labels = zarr.open_group(folder / "labels", mode="a", zarr_format=3)
    labels.attrs["ome"] = {"version": VERSION, "labels": list(names)}


def label_metadata(values: Sequence[int], names: Sequence[str], colours: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What a label image says of its values: names of classes, and colours R, G, B from 0 to 255."""
    return {
        "image-label": {
            "colors": [
                {"label-value": value, "rgba": [*colour, 255]} for value, colour in zip(values, colours, strict=True)
            ],
            "properties": [{"label-value": value, "class": name} for value, name in zip(values, names, strict=True)],
            "source": {"image": "../../"},
        }
    }
