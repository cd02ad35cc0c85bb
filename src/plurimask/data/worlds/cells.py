"""A built-in world of cells that readers count one by one: many ambiguities in one image, each on its own.

Phase contrast of yeast, as in a test of viability: k roundish cells lie apart from each other in a shallow chamber. A
living cell shines inside its dark rim; as it dies its inside fades to the grey of the medium. Where to draw the line is
up to the reader. The *contrast* of a cell is the brightness of its inside above the medium, in grey levels; it can be
seen, and it determines the probability p that a reader counts the cell as alive: linear in the contrast, 0.2 for the
dimmest and 0.8 for the brightest.

A reader draws, independently of all other readers, k coins c_j ~ Bernoulli(p_j), one for each cell, independent of each
other. With A_j the region of cell j (all of it, rim included; regions are disjoint and do not touch), the mask is

    y = union of the A_j with c_j = 1,        P(y) = prod_j p_j^c_j (1 - p_j)^(1 - c_j).

So there are 2^k readings of an image, all of them possible, and a pixel of A_j is marked with probability p_j. Outlines
are not in doubt: all that is uncertain is which cells count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.data.example import DataSource, Example, ExampleSet
from plurimask.data.worlds.common import (
    READERS,
    Array,
    Masks,
    binary_description,
    check_numbers,
    radial_coordinate,
    smooth_noise,
    stream,
    turned,
    world_source,
)
from plurimask.errors import InputError

MAX_CELLS = 16
"""Of one image: four rows of four."""

MIN_SIZE = 32
"""Height and width of an image in pixels, at least."""

MIN_PLACE = 12
"""Height and width in pixels of the place that each cell has for itself, at least: less leaves no inside."""

CONTRAST_RANGE = (12.0, 66.0)
"""Grey levels of a cell's inside above the medium; grain and texture have standard deviations of 3 and 5."""

PROBABILITY_RANGE = (0.2, 0.8)
"""The probability that a reader counts a cell, at the two ends of CONTRAST_RANGE; linear in between."""

_PROPERTIES, _TEXTURE, _READERS = range(3)

_GAP = 1.0  # pixels that a cell keeps from each border of its place
_ASPECT, _WAVES = 1.12, {2: 0.03, 3: 0.03, 4: 0.02}  # at most: axis over mean radius, and waves of the contour
_REACH = _ASPECT * (1 + sum(_WAVES.values()))  # of the contour from the centre, in mean radii, at most
_WINDOW = 1.7  # up to this radial coordinate a cell changes the image


@dataclass(frozen=True, eq=False)
class CellTruth:
    """The exact distribution of readers' masks for one image of k cells, and the properties that determine it."""

    contrasts: Array
    """`(k,)`: grey levels of the inside above the medium, in CONTRAST_RANGE."""
    centres: Array
    """`(k, 2)`: row and column, pixels."""
    coordinates: Array
    """`(k, H, W)`: distance from each cell's centre, 1 on its outline; infinite where the cell does not show."""

    @property
    def probabilities(self) -> Array:
        """`(k,)`: that a reader counts each cell, from 0.2 at the lowest contrast to 0.8 at the highest."""
        probabilities: Array = np.interp(self.contrasts, CONTRAST_RANGE, PROBABILITY_RANGE)
        return probabilities

    @property
    def regions(self) -> NDArray[np.bool_]:
        """`(k, H, W)`: the pixels of each cell; no pixel is in two, and none touches another cell's."""
        inside: NDArray[np.bool_] = self.coordinates <= 1
        return inside

    def mean(self) -> Array:
        """`(H, W)`: the exact probability that a reader marks each pixel: its cell's, and 0 outside of all cells."""
        probability: Array = np.einsum("k,khw->hw", self.probabilities, self.regions)
        return probability

    def sample(self, num_samples: int, generator: np.random.Generator) -> Masks:
        """`(N, H, W)`, 0 or 1: exact, independent draws from the readers' distribution."""
        counted = generator.random((num_samples, len(self.contrasts))) < self.probabilities
        nowhere = np.zeros((num_samples, 1), np.uint8)
        regions = self.regions
        cell = np.where(regions.any(0), regions.argmax(0), len(regions))  # (H, W): whose pixel it is, k for nobody's
        masks: Masks = np.concatenate([counted.astype(np.uint8), nowhere], axis=1)[:, cell]
        return masks


class CellWorld(ExampleSet):
    """Images `(1, size, size)` of some cells each, grey levels 0 to 255, with the masks of independent readers.

    Nothing is stored: an example is drawn when it is asked for, in a few milliseconds, and depends on the seed, its
    index, the size and the numbers of cells and readers alone.

    Args:
        num_images: how many examples there are, at least 1.
        seed: not negative; worlds of different seeds share no image.
        size: height and width in pixels, at least 32, and 12 for each cell in a row.
        num_cells: k, in every image, from 1 to 16. They lie in a jittered grid with as many columns as rows, or one
            more; 12 in three rows of four.
        num_readers: masks per image, at least 1.

    Raises:
        InputError: a number is out of its range, or the cells find no room in the image.
    """

    def __init__(
        self, num_images: int, seed: int, size: int = 64, num_cells: int = 12, num_readers: int = len(READERS)
    ) -> None:
        numbers = (("num_images", num_images, 1), ("seed", seed, 0), ("size", size, MIN_SIZE))
        check_numbers("cells", *numbers, ("num_cells", num_cells, 1), ("num_readers", num_readers, 1))
        if num_cells > MAX_CELLS:
            raise InputError(f"num_cells={num_cells}: a world of cells needs num_cells <= {MAX_CELLS}")
        rows, columns = _grid(num_cells)
        if size < MIN_PLACE * columns:
            raise InputError(
                f"size={size}: {num_cells} cells in {rows} rows of {columns} need size >= {MIN_PLACE * columns}; "
                "give a larger size or fewer cells"
            )
        self.seed, self.size, self.num_cells, self.num_readers = seed, size, num_cells, num_readers
        self.names = tuple(f"cells-{seed}-{index:05d}" for index in range(num_images))
        self.groups = self.names

    def __getitem__(self, index: int) -> Example:
        truth = self.truth(index)
        image = np.clip(np.rint(_paint(truth, self._stream(index, _TEXTURE))), 0, 255).astype(np.float32)
        labels = truth.sample(self.num_readers, self._stream(index, _READERS))
        return Example(self.names[index], torch.from_numpy(image)[None], torch.from_numpy(labels))

    def truth(self, index: int) -> CellTruth:
        """The distribution that the readers' masks of image `index` were drawn from."""
        generator = self._stream(index, _PROPERTIES)
        contrasts = generator.uniform(*CONTRAST_RANGE, self.num_cells)
        places = _places(self.num_cells, self.size, generator)
        coordinates = np.full((self.num_cells, self.size, self.size), np.inf)
        centres = np.empty((self.num_cells, 2))
        for place, centre, coordinate in zip(places, centres, coordinates, strict=True):
            _lay_cell(place, centre, coordinate, generator)
        return CellTruth(contrasts, centres, coordinates)

    def _stream(self, index: int, purpose: int) -> np.random.Generator:
        return stream(self.seed, len(self), index, purpose)


def cell_source(
    num_train: int = 2000, num_val: int = 100, num_test: int = 0, seed: int = 0, size: int = 64, num_cells: int = 12
) -> DataSource:
    """The world as a data set with four readers and the splits "train", "val" and "test", which share no image.

    Images cost nothing until they are asked for; without any for "test" there is no such split. `seed` is not negative,
    and sources of different seeds share no image. `size` and `num_cells` are those of `CellWorld`, as errors are.
    """
    counts, about = (num_train, num_val, num_test), binary_description("cells", "cell")
    return world_source("cells", lambda count, own: CellWorld(count, own, size, num_cells), counts, seed, about)


class _Place(NamedTuple):
    """A rectangle of the image that one cell has for itself, in pixels."""

    centre: tuple[float, float]  # row and column
    half: tuple[float, float]  # height and width, less the gap: how far from the centre the cell may reach


def _grid(num_cells: int) -> tuple[int, int]:
    """Rows and columns of the smallest grid with room for all that has as many columns as rows, or one more."""
    columns = math.ceil(math.sqrt(num_cells))
    return math.ceil(num_cells / columns), columns


def _places(num_cells: int, size: int, generator: np.random.Generator) -> list[_Place]:
    """A place for each cell, in the order of rows; which ones of the grid stay empty is random."""
    rows, columns = _grid(num_cells)
    height, width = size / rows, size / columns
    chosen = np.sort(generator.permutation(rows * columns)[:num_cells])
    return [
        _Place(
            ((index // columns + 0.5) * height - 0.5, (index % columns + 0.5) * width - 0.5),
            (height / 2 - _GAP, width / 2 - _GAP),
        )
        for index in chosen.tolist()
    ]


def _lay_cell(place: _Place, centre: Array, coordinate: Array, generator: np.random.Generator) -> None:
    """Draw a cell's size, position and shape, and fill in its `centre (2,)` and `coordinate (H, W)`."""
    radius = generator.uniform(0.7, 1) * min(place.half) / _REACH
    room = np.array(place.half) - _REACH * radius
    centre[:] = place.centre + room * generator.uniform(-1, 1, 2)
    aspect, angle = generator.uniform(1, _ASPECT), generator.uniform(0, np.pi)
    reach = _WINDOW * _REACH * radius
    first = np.maximum(np.ceil(centre - reach), 0).astype(int)
    last = np.minimum(np.floor(centre + reach), np.array(coordinate.shape) - 1).astype(int)
    rows, columns = np.ogrid[first[0] : last[0] + 1, first[1] : last[1] + 1]
    down, right = rows - centre[0], columns - centre[1]
    along, across = turned(down, right, angle, aspect)
    window = radial_coordinate(along, across, radius, _WAVES, generator)
    window[window > _WINDOW] = np.inf
    coordinate[first[0] : last[0] + 1, first[1] : last[1] + 1] = window


def _paint(truth: CellTruth, generator: np.random.Generator) -> Array:
    """The image `(H, W)` in grey levels: medium with debris, and each cell's inside, texture, rim and halo."""
    size = truth.coordinates.shape[-1]
    rho = truth.coordinates.min(0)  # of the nearest cell; infinite far from all
    contrast = truth.contrasts[truth.coordinates.argmin(0)]
    inside = np.clip((0.95 - rho) / 0.25, 0, 1)  # 1 within, 0 from the rim on
    texture = smooth_noise(size, 0.8, generator) * 5
    rim = -42 * np.exp(-0.5 * ((rho - 0.95) / 0.13) ** 2)
    halo = 9 * np.exp(-0.5 * ((rho - 1.3) / 0.13) ** 2)
    debris = np.where(rho > 1.2, _debris(size, generator), 0)
    image: Array = _medium(size, generator) + inside * (contrast + texture) + rim + halo + debris
    return image


def _medium(size: int, generator: np.random.Generator) -> Array:
    """Empty chamber `(size, size)` in grey levels: a random level, slow shading and the camera's grain."""
    shading = smooth_noise(size, size / 5, generator) * 6
    medium: Array = generator.uniform(95, 135) + shading + generator.standard_normal((size, size)) * 3
    return medium


def _debris(size: int, generator: np.random.Generator) -> Array:
    """A few specks, dark or bright, `(size, size)` in grey levels above the medium."""
    rows, columns = np.ogrid[:size, :size]
    specks = np.zeros((size, size))
    for _ in range(generator.integers(2, 7)):
        row, column = generator.uniform(0, size - 1, 2)
        width, brightness = generator.uniform(0.5, 0.9), generator.uniform(-35, 25)
        specks += brightness * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    return specks
