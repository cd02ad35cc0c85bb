"""One image as single pictures with captions, for a page that lays them out itself: as the viewer shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from plurimask.distribution import IGNORE
from plurimask.figures.colours import (
    RATER_COLOUR,
    SAMPLE_COLOUR,
    Colours,
    display_image,
    over,
    peak,
    rater_colours,
    rgb,
    thinned,
)
from plurimask.figures.errors import ErrorRow, misclassified
from plurimask.figures.gallery import nearest, shrunk, small_overlay, webp
from plurimask.figures.page import Classes, around, likely
from plurimask.figures.planes import main_plane
from plurimask.figures.rows import GridRow
from plurimask.figures.ruler import Ruler, ruler
from plurimask.figures.thumbnails import QUALITY
from plurimask.prediction.readings import Reading, find_readings

SIDE, TILE, SMALL = 512, 256, 96
"""Of a picture's longer side, pixels: of the image, of one mask or map, and beside a reading."""
MAX_RATERS, MAX_SAMPLES = 8, 16
"""How many of each are shown one by one."""
MAX_DRAWN = 64
"""Samples whose outlines are drawn together."""

_EDGE = 2  # pixels, of an outline
_FRAME = 3
_FAINTEST = 0.3  # opacity of an outline that one sample alone has
_FADED = 0.45  # how much of the image's contrast is left below errors


class Cell(NamedTuple):
    """A picture with its caption."""

    picture: bytes
    """WebP."""
    caption: str
    ruler: Ruler | None = None


class ReadingCell(NamedTuple):
    """A reading, its medoid in small, and its members among the samples that are shown."""

    reading: Reading
    picture: bytes
    samples: tuple[tuple[int, Cell], ...]
    """Their numbers, from 0 on, the medoid first."""


@dataclass(frozen=True)
class ImageCells:
    """One image."""

    whole: Cell
    """The image, with a frame around the part that all other pictures show."""
    contours: Cell
    """The part with the outlines of all samples, the more of them the stronger, and of the raters in their colours; of
    classes that are too many for that the most likely one of each pixel."""
    key: tuple[tuple[str, str], ...]
    """Whose outlines these are, and their colours: of raters, those who marked something."""
    raters: tuple[Cell, ...]
    readings: tuple[ReadingCell, ...]
    """The one of the largest share first."""
    num_raters: int
    """Who gave a map."""


def image_cells(row: GridRow, classes: Classes) -> ImageCells:
    """The pictures of one image.

    Raters who gave no map are left out. Where all that is marked lies in a small part of the image, only the first
    picture shows the whole. Of a volume the plane that holds most of what is marked is shown, which the first caption
    names; readings, and what is empty, are those of the whole volume.
    """
    given, row = row, main_plane(row, classes.counted)
    plane = "" if row is given else row.name.removeprefix(f"{given.name}: ")
    view = _View(row, classes)
    raters = _present(row)
    whole_maps = {name: labels for name, labels, _ in _present(given)}
    shown = raters[:MAX_RATERS]
    tiles = [
        Cell(view.map(labels, colour if classes.is_binary else RATER_COLOUR), _told(name, whole_maps[name], classes))
        for name, labels, colour in shown
    ]
    if len(raters) > len(shown):
        together = np.mean([view.over(labels, RATER_COLOUR) for _, labels, _ in raters], axis=0)
        tiles.append(Cell(webp(together, QUALITY), f"all {len(raters)} raters"))
    contours, key = _contours(view, raters)
    return ImageCells(
        whole=Cell(
            view.whole(),
            plane or "image",
            ruler(row.pixel_size, row.image.shape[-1]),
        ),
        contours=contours,
        key=key,
        raters=tuple(tiles),
        readings=tuple(_readings(view, given)),
        num_raters=len(raters),
    )


def _present(row: GridRow) -> list[tuple[str, NDArray[Any], str]]:
    """Name, map and colour of each rater who gave a map."""
    raters = [] if row.raters is None else [*row.raters]
    names = row.rater_names or [f"rater {number}" for number in range(1, len(raters) + 1)]
    three = zip(names, raters, rater_colours(len(raters)), strict=True)
    return [(name, labels, colour) for name, labels, colour in three if (labels != IGNORE).any()]


def _contours(view: _View, raters: Sequence[tuple[str, NDArray[Any], str]]) -> tuple[Cell, tuple[tuple[str, str], ...]]:
    row, classes = view.row, view.classes
    own = view.scale_bar()
    if not classes.are_outlined:
        return Cell(view.map(likely(row.mean), SAMPLE_COLOUR, SIDE), "most likely", own), ()
    picture = view.below(SIDE)
    for index in classes.counted:
        lines = view.outlines(row.samples[:MAX_DRAWN] == index)
        picture = over(picture, _painted(lines, classes.colour(index, SAMPLE_COLOUR)))
    if not classes.is_binary:
        return Cell(webp(picture, QUALITY), "outlines of all samples", own), ()
    for _, labels, colour in raters:
        picture = over(picture, _painted(view.outlines(labels[None] == 1), colour))
    marking = [(name, colour) for name, labels, colour in raters if (labels == 1).any()]
    key = (("samples", SAMPLE_COLOUR), *marking[:MAX_RATERS])
    return Cell(webp(picture, QUALITY), "all outlines", own), key


def _painted(lines: NDArray[np.float64], colour: Any) -> Colours:
    """RGBA of outlines that a share of the maps has, 0 to 1."""
    paint = np.empty((*lines.shape, 4))
    paint[..., :3] = rgb(colour)
    paint[..., 3] = np.where(lines > 0, _FAINTEST + (1 - _FAINTEST) * lines, 0)
    return paint


def _readings(view: _View, given: GridRow) -> list[ReadingCell]:
    """Of the samples as they were given, in pictures of those in view."""
    samples, classes = view.row.samples, view.classes
    readings = find_readings(np.asarray(given.samples), classes.counted, len(classes.names))
    several = bool((given.samples != given.samples[:1]).any())
    made = []
    for reading in readings:
        others = [number for number in reading.members if several and number < MAX_SAMPLES and number != reading.medoid]
        tiles = (
            (number, Cell(view.map(samples[number], SAMPLE_COLOUR), f"sample {number + 1}"))
            for number in (reading.medoid, *others)
        )
        made.append(ReadingCell(reading, view.map(samples[reading.medoid], SAMPLE_COLOUR, SMALL), tuple(tiles)))
    return made


# ---- where it is unsure -------------------------------------------------------------------------------------------


class Scales(NamedTuple):
    """The ends of the scales of maps, nats, the same for all images of a page."""

    entropy: float
    information: float


def uncertainty_cells(row: ErrorRow, classes: Classes, scales: Scales) -> tuple[Cell, ...]:
    """The most likely map, its probability (of binary data), where raters call it otherwise, entropy, and mutual
    information; without any of the last in all of `row`, without it. Of a volume in its main plane.
    """
    row = main_plane(row, classes.counted)
    view = _View(row, classes)
    prediction = likely(row.mean)
    cells = [Cell(view.map(prediction, SAMPLE_COLOUR), "most likely", view.scale_bar())]
    if classes.is_binary:
        cells.append(Cell(view.scale(row.mean[1], "viridis", 1.0), "probability"))
    wrong = nearest(misclassified(view.thin(row.raters), view.thin(prediction)), view.size(TILE))
    faded = _FADED * view.below(TILE).mean(-1, keepdims=True).repeat(3, -1) + 0.5 * (1 - _FADED)
    cells += [
        Cell(webp(over(faded, wrong), QUALITY), "raters who disagree"),
        Cell(view.scale(row.entropy, "magma", scales.entropy), "entropy"),
        Cell(view.scale(row.mutual_information, "magma", scales.information), "mutual information"),
    ]
    return tuple(cells)


def information_peak(rows: Sequence[ErrorRow], least: float = 0.01) -> float:
    """The top of the scale of mutual information, nats: the largest that is there."""
    return peak([row.mutual_information for row in rows], least)


def _told(name: str, labels: NDArray[Any], classes: Classes) -> str:
    return name if np.isin(labels, classes.counted).any() else f"{name} (empty)"


class _View:
    """What is shown of an image: the part around all that is marked."""

    def __init__(self, row: GridRow, classes: Classes) -> None:
        self.row, self.classes = row, classes
        self.step = -(-row.image.shape[-1] // thinned(row.image).shape[-1])
        maps = [labels for _, labels, _ in _present(row)] + [*row.samples]
        self.part = around(np.any([np.isin(thinned(labels), classes.counted) for labels in maps], axis=0))
        self.picture = display_image(thinned(row.image))

    def thin(self, maps: NDArray[Any]) -> NDArray[Any]:
        """Maps `(..., H, W)` of the image as they are shown: thinned, the part alone."""
        rows, columns = self.part
        return thinned(maps)[..., rows, columns]

    def size(self, side: int) -> tuple[int, int]:
        """Width and height of a picture of the part."""
        return _fitted(self.picture[self.part].shape, side)

    def below(self, side: int) -> Colours:
        """The part of the image without anything over it."""
        return shrunk(self.picture[self.part], self.size(side))

    def scale_bar(self) -> Ruler | None:
        """Of the part; None where it is the whole, whose own one says it."""
        rows, columns = self.part
        if rows.start is None:
            return None
        return ruler(self.row.pixel_size, (columns.stop - columns.start) * self.step)

    def whole(self) -> bytes:
        """The image, with a frame around the part."""
        width, height = size = _fitted(self.picture.shape, SIDE)
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

    def over(self, labels: NDArray[Any], own: str, side: int = TILE) -> Colours:
        """A label map `(H, W)` over the part."""
        paint = small_overlay(self.thin(labels), self.classes, own, self.size(side), _EDGE if side > SMALL else 1)
        if self.classes.is_binary:
            paint[..., 3] = np.where(paint[..., 3] < 1, 0.5 * paint[..., 3], 1.0)  # the image shines through
        return over(self.below(side), paint)

    def map(self, labels: NDArray[Any], own: str, side: int = TILE) -> bytes:
        return webp(self.over(labels, own, side), QUALITY)

    def outlines(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The share of the masks `(N, H, W)` whose outline runs through each pixel of the large picture, 0 to 1."""
        shares = np.zeros(self.size(SIDE)[::-1])
        for mask in self.thin(masks):
            large = nearest(mask, self.size(SIDE))
            shares += large & ~binary_erosion(large, iterations=_EDGE, border_value=1)
        return shares / len(masks)

    def scale(self, values: NDArray[Any], cmap: str, top: float) -> bytes:
        """A map `(H, W)` of values from 0 to `top`."""
        small = shrunk(np.nan_to_num(np.asarray(self.thin(values), np.float64)), self.size(TILE))
        return webp(colormaps[cmap](np.clip(small / top, 0, 1))[..., :3], QUALITY)


def _fitted(shape: Sequence[int], side: int) -> tuple[int, int]:
    """Width and height of a picture of an image of this height and width."""
    height, width = shape[:2]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
