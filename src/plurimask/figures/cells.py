"""One image as single pictures with captions, for a page that lays them out itself: raters, samples, what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.colours import RATER_COLOUR, SAMPLE_COLOUR, Colours, display_image, over, rgb, thinned
from plurimask.figures.gallery import shrunk, small_overlay, webp
from plurimask.figures.page import Classes, around, likely
from plurimask.figures.planes import main_plane
from plurimask.figures.ruler import Ruler, ruler
from plurimask.figures.samples import GridRow, reading_title
from plurimask.figures.thumbnails import QUALITY
from plurimask.prediction.readings import find_readings

SIDE = 384
"""Of a picture's longer side, pixels."""
MAX_RATERS, MAX_SAMPLES = 4, 8
"""How many of each are shown one by one."""

_EDGE = 2  # pixels, of an outline
_FRAME = 3


class Cell(NamedTuple):
    """A picture with its caption."""

    picture: bytes
    """WebP."""
    caption: str
    ruler: Ruler | None = None


@dataclass(frozen=True)
class ImageCells:
    """One image."""

    name: str
    caption: str
    cells: tuple[Cell, ...]
    """The image, its raters, the probability, the entropy and the readings."""
    samples: tuple[Cell, ...]
    """Of the first samples; none where all are the same mask, which is the one reading."""
    num_samples: int
    """Drawn, shown or not."""


def image_cells(row: GridRow, classes: Classes, top: float) -> ImageCells:
    """The pictures of one image, whose entropies reach from 0 to `top` nats.

    Up to four raters who gave a map are shown one by one, and all of them together where there are more. Where all that
    is marked lies in a small part of the image, only the first picture shows the whole, with a frame around the part
    that the others show. Of a volume the plane that holds most of what is marked is shown, and the caption says which;
    readings, and what is empty, are those of the whole volume.
    """
    given, row = row, main_plane(row, classes.counted)
    raters = [] if given.raters is None else [*given.raters]
    names = row.rater_names or [f"rater {number}" for number in range(1, len(raters) + 1)]
    present = [number for number, labels in enumerate(raters) if (labels != IGNORE).any()]
    in_plane = [] if row.raters is None else [row.raters[number] for number in present]
    part = around(np.any([np.isin(thinned(labels), classes.counted) for labels in [*in_plane, *row.samples]], axis=0))
    view = _View(row, classes, part)
    cells = [Cell(view.whole(), "image", ruler(row.pixel_size, row.image.shape[-1]))]
    cells += [
        Cell(view.map(labels, RATER_COLOUR), _told(names[number], raters[number], classes))
        for number, labels in zip(present[:MAX_RATERS], in_plane, strict=False)
    ]
    if len(present) > MAX_RATERS:
        together = np.mean([view.over(labels, RATER_COLOUR) for labels in in_plane], axis=0)
        cells.append(Cell(webp(together, QUALITY), f"all {len(present)} raters"))
    cells += [*_predicted(view, given, top)]
    if part[0].start is not None:  # enlarged: the first of these pictures has a scale of its own
        cells[1] = cells[1]._replace(ruler=ruler(row.pixel_size, (part[1].stop - part[1].start) * view.step))
    several = bool((given.samples != given.samples[:1]).any())
    samples = tuple(
        Cell(view.map(row.samples[number], SAMPLE_COLOUR), _told(f"sample {number + 1}", labels, classes))
        for number, labels in enumerate(given.samples[: MAX_SAMPLES * several])
    )
    plane = row.name.removeprefix(f"{given.name}: ") if row is not given else ""
    caption = ", ".join(filter(None, (given.caption, plane)))
    return ImageCells(given.name, caption, tuple(cells), samples, len(given.samples))


def _predicted(view: _View, given: GridRow, top: float) -> Iterator[Cell]:
    row, classes = view.row, view.classes
    if classes.is_binary:
        yield Cell(view.scale(row.mean[1], "viridis", 1.0), "probability")
    else:
        yield Cell(view.map(likely(row.mean), SAMPLE_COLOUR), "most likely")
    yield Cell(view.scale(row.entropy, "magma", top), "entropy")
    readings = find_readings(np.asarray(given.samples), classes.counted, len(classes.names))
    for number, reading in enumerate(readings):
        title = reading_title(number, reading, len(readings))
        told = _told(title, given.samples[reading.medoid], classes)
        yield Cell(view.map(row.samples[reading.medoid], SAMPLE_COLOUR), told)


def _told(name: str, labels: NDArray[Any], classes: Classes) -> str:
    return name if np.isin(labels, classes.counted).any() else f"{name} (empty)"


class _View:
    """What is shown of an image, in the size of the pictures."""

    def __init__(self, row: GridRow, classes: Classes, part: tuple[slice, slice]) -> None:
        self.row, self.classes, self.part = row, classes, part
        self.step = -(-row.image.shape[-1] // thinned(row.image).shape[-1])
        self.picture = display_image(thinned(row.image))
        self.size = _fitted(self.picture[part].shape)
        self.below = shrunk(self.picture[part], self.size)

    def whole(self) -> bytes:
        """The image, with a frame around the part."""
        width, height = size = _fitted(self.picture.shape)
        seen = shrunk(self.picture, size)
        rows, columns = self.part
        if rows.start is not None:
            top, bottom, left, right = (
                round(place * length / total)
                for places, length, total in zip(
                    ((rows.start, rows.stop), (columns.start, columns.stop)),
                    (height, width),
                    self.picture.shape,
                    strict=False,
                )
                for place in places
            )
            framed = np.zeros((height, width), bool)
            framed[top:bottom, left:right] = True
            framed[top + _FRAME : bottom - _FRAME, left + _FRAME : right - _FRAME] = False
            seen[framed] = rgb("white")
        return webp(seen, QUALITY)

    def over(self, labels: NDArray[Any], own: str) -> Colours:
        """A label map `(H, W)` over the part."""
        paint = small_overlay(thinned(labels)[self.part], self.classes, own, self.size, _EDGE)
        if self.classes.is_binary:
            paint[..., 3] = np.where(paint[..., 3] < 1, 0.5 * paint[..., 3], 1.0)  # the image shines through
        return over(self.below, paint)

    def map(self, labels: NDArray[Any], own: str) -> bytes:
        return webp(self.over(labels, own), QUALITY)

    def scale(self, values: NDArray[Any], cmap: str, top: float) -> bytes:
        """A map `(H, W)` of values from 0 to `top`."""
        small = shrunk(np.nan_to_num(np.asarray(thinned(values)[self.part], np.float64)), self.size)
        return webp(colormaps[cmap](np.clip(small / top, 0, 1))[..., :3], QUALITY)


def _fitted(shape: Sequence[int]) -> tuple[int, int]:
    """Width and height of a picture of an image of this height and width."""
    height, width = shape[:2]
    scale = SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
