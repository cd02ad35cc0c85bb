"""What the built-in trapped yeast looks like: the shapes of traps and cells, and how light draws them.

All lengths are in *units* of 1/128 of the image's side, so a scene is the same at every size. The authors' real images
(576 x 576 pixels, 4.5 pixels a unit) were measured for what stands here: two traps side by side, tips up, 35 units wide
and 56 high; cells of 9 to 22 units radius on and between them. Brightness is in units of the contrast that the real
images have after standardisation; the medium is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plurimask.data.worlds.common import Array

Directions: TypeAlias = NDArray[np.uint16]

SIDE = 128.0
"""Units from one border of the image to the other."""

REACH = 18.0
"""Units outside of an outline, up to which an object changes the image."""

NUM_DIRECTIONS = 512
"""Directions, as seen from the middle of an object, that are told apart."""

MAX_CELLS = 6
RADIUS_RANGE = (9.0, 22.0)
"""Mean radius of a cell, units."""

BLUR_RANGE = (0.3, 1.4)
"""Standard deviation of the blur of a whole image, units."""

_TRAP_CENTRES, _TRAP_SPREAD = ((96.0, 39.0), (96.0, 88.0)), 2.5  # row and column; and how far they move together
_ROUNDING = 5.0  # radius of a trap's corners
# Right half of a trap without its rounding, from the tip to the foot: row and column from the centre.
_TRAP_SIDE = ((-23.0, 2.6), (-14.5, 7.4), (-6.0, 10.8), (3.0, 12.4), (11.0, 12.7), (17.0, 9.6), (22.8, 1.5))
_MARGIN = 2.0  # units that a cell keeps from the border of the image
_NUM_PLACES = 400  # places that are tried for each cell
_COUNTS = (0.08, 0.2, 0.22, 0.19, 0.14, 0.1, 0.07)  # the shares of images with 0 to 6 cells
_FLOATING = 0.16  # the share of cells that are out of focus


@dataclass(frozen=True, eq=False)
class Trap:
    """A rounded polygon."""

    centre: Array
    """`(2,)`: row and column, units."""
    corners: Array
    """`(V, 2)`: of the polygon that is then made thicker by its rounding; from the centre, in order."""

    @property
    def extent(self) -> float:
        return float(np.hypot(*self.corners.T).max()) + _ROUNDING

    def distance(self, rows: Array, columns: Array) -> Array:
        """Units from the outline, negative inside; coordinates are units from the centre, and broadcast."""
        nearest = np.full(np.broadcast_shapes(rows.shape, columns.shape), np.inf)
        inside = np.zeros(nearest.shape, bool)
        for (row, column), (next_row, next_column) in zip(self.corners, np.roll(self.corners, -1, 0), strict=True):
            down, right = next_row - row, next_column - column
            from_row, from_column = rows - row, columns - column
            along = np.clip((from_row * down + from_column * right) / (down**2 + right**2), 0, 1)
            nearest = np.minimum(nearest, (from_row - along * down) ** 2 + (from_column - along * right) ** 2)
            # A ray to the right leaves a polygon as often as it enters it, unless it starts inside.
            if down != 0:
                between = (from_row >= 0) != (rows >= next_row)
                inside ^= between & (from_column < from_row * right / down)
        distance: Array = np.where(inside, -1.0, 1.0) * np.sqrt(nearest) - _ROUNDING
        return distance


@dataclass(frozen=True, eq=False)
class Cell:
    """A roundish shape and its appearance."""

    centre: Array
    """`(2,)`: row and column, units."""
    radius: float
    """Units, the mean of all directions."""
    waves: Array
    """`(3, 2)`: amplitude, relative to the radius, and phase of the outline's waves, two to four a turn."""
    defocus: float
    """Units: how far its edges are spread, besides the image's blur; 0 in focus."""
    strength: float
    """Contrast, 1 of a cell in focus; the faintest have 0.25."""

    @property
    def extent(self) -> float:
        return self.radius * float(1 + self.waves[:, 0].sum())

    def distance(self, rows: Array, columns: Array) -> Array:
        """Units from the outline, negative inside; coordinates are units from the centre, and broadcast."""
        angle = np.arctan2(rows, columns)
        contour = sum(
            amplitude * np.cos(number * angle + phase) for number, (amplitude, phase) in enumerate(self.waves, 2)
        )
        distance: Array = np.hypot(rows, columns) - self.radius * (1 + contour)
        return distance


@dataclass(frozen=True, eq=False)
class Scene:
    """The objects of one image and what the microscope does to all of them."""

    traps: tuple[Trap, ...]
    cells: tuple[Cell, ...]
    blur: float
    """Standard deviation, units, in BLUR_RANGE."""

    @property
    def objects(self) -> tuple[Trap | Cell, ...]:
        """Traps first."""
        return (*self.traps, *self.cells)


@dataclass(frozen=True, eq=False)
class Layer:
    """One object on the pixels of an image."""

    window: tuple[slice, slice]
    """Rows and columns in which the object shows."""
    distance: Array
    """Of each pixel of the window from the outline, units, negative inside."""
    direction: Directions
    """Of each pixel of the window as seen from the object's middle, 0 to 511: to the right, then downwards."""


def draw_scene(generator: np.random.Generator) -> Scene:
    """Two traps, and zero to six cells that touch nothing but may nearly do."""
    shift = generator.uniform(-_TRAP_SPREAD, _TRAP_SPREAD, 2)
    tilt = generator.normal(0, 0.02)
    traps = tuple(_draw_trap(np.array(centre) + shift, tilt, generator) for centre in _TRAP_CENTRES)
    number = int(generator.choice(MAX_CELLS + 1, p=_COUNTS))
    cells: list[Cell] = []
    for _ in range(number):
        cell = _draw_cell(generator)
        centre = _find_place(cell, (*traps, *cells), generator)
        if centre is not None:
            cells.append(Cell(centre, cell.radius, cell.waves, cell.defocus, cell.strength))
    return Scene(traps, tuple(cells), float(generator.uniform(*BLUR_RANGE)))


def lay(shape: Trap | Cell, size: int) -> Layer:
    """`shape` in an image of `size` x `size` pixels."""
    reach, unit = shape.extent + REACH, SIDE / size
    first = np.clip(np.floor((shape.centre - reach) / unit), 0, size).astype(int)
    last = np.clip(np.ceil((shape.centre + reach) / unit), 0, size).astype(int)
    rows = ((np.arange(first[0], last[0]) + 0.5) * unit - shape.centre[0])[:, None]
    columns = ((np.arange(first[1], last[1]) + 0.5) * unit - shape.centre[1])[None, :]
    turns = np.arctan2(rows, columns) / (2 * np.pi) % 1
    direction = np.asarray(turns * NUM_DIRECTIONS, np.uint16) % NUM_DIRECTIONS
    return Layer((slice(first[0], last[0]), slice(first[1], last[1])), shape.distance(rows, columns), direction)


def _draw_trap(centre: Array, tilt: float, generator: np.random.Generator) -> Trap:
    right = np.array(_TRAP_SIDE)
    left = right[::-1] * (1, -1)
    corners = np.concatenate([right, left]) + generator.normal(0, 0.5, (2 * len(right), 2))
    rotation = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return Trap(centre, corners @ rotation)


def _draw_cell(generator: np.random.Generator) -> Cell:
    """A cell without a place."""
    low, high = RADIUS_RANGE
    radius = low + (high - low) * generator.beta(1.6, 2.6)
    amplitudes = generator.uniform(0, 1, 3) * (0.11, 0.03, 0.015)
    waves = np.stack([amplitudes, generator.uniform(0, 2 * np.pi, 3)], axis=1)
    defocus, strength = generator.uniform(1.2, 2.4), generator.uniform(0.25, 1)
    if generator.random() >= _FLOATING:
        defocus, strength = 0.0, 1.0
    return Cell(np.zeros(2), float(radius), waves, defocus, strength)


def _find_place(cell: Cell, others: tuple[Trap | Cell, ...], generator: np.random.Generator) -> Array | None:
    """A free place for the middle of `cell`: cells gather in the gap of the traps and above, close to others."""
    border = cell.extent + _MARGIN
    places = generator.uniform(border, SIDE - border, (_NUM_PLACES, 2))
    places[:, 0] = np.minimum(places[:, 0], generator.uniform(border, 104, _NUM_PLACES))  # rather above than below
    room = np.full(_NUM_PLACES, np.inf)
    for other in others:
        room = np.minimum(room, other.distance(places[:, 0] - other.centre[0], places[:, 1] - other.centre[1]))
    room -= cell.extent + generator.uniform(0, 0.9)
    gap = np.mean([other.centre for other in others if isinstance(other, Trap)], axis=0) - (16, 0)
    cost = room + 0.4 * np.hypot(*(places - gap).T)
    cost = np.where(room > 0, cost + generator.uniform(0, 6, _NUM_PLACES), np.inf)
    best = int(cost.argmin())
    return places[best] if np.isfinite(cost[best]) else None
