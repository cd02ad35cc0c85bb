"""A built-in world of ambiguous lesions whose readers follow a known law, in terms of what can be seen in the image.

One lesion an image: a bright, irregular ellipse whose edge falls off over a halo, on tissue with grain and vessels.
A pixel's radial coordinate rho is its distance from the centre in units of the distance to the half-bright contour in
the same direction; with relative halo h the brightness above the background is contrast * s(rho), where

    s(rho) = min(1, max(0, (1 + h - rho) / (2 h)))           1 in the core, 1/2 at rho = 1, 0 outside the halo.

A reader, independently of all others,

    1. sees no lesion with probability p, linear in the contrast: 0.85 for the faintest, 0.02 for the clearest;
    2. else draws the contour at a level t ~ Uniform(1 - h, 1 + h): the mask is {rho <= t}, between core and rim.

So P(pixel in the mask) = (1 - p) s(rho): the share of readers who include a pixel, among those who see the lesion, is
its share of the contrast. Existence is read from the contrast, extent from the halo, and both are visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

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

MIN_SIZE = 32
"""Below this (pixels) the core of the smallest lesion would be less than a few pixels."""

CONTRAST_RANGE = (10.0, 70.0)
"""Grey levels of the core above the tissue; the tissue's grain has a standard deviation of 5."""

EMPTY_RANGE = (0.85, 0.02)
"""The probability that a reader sees nothing, at the two ends of CONTRAST_RANGE; linear in between."""

RADIUS_RANGE = (0.11, 0.19)
"""Mean distance from the centre to the half-bright contour, as a share of the image's size."""

HALO_RANGE = (0.06, 0.42)
"""The halo's half width as a share of the radius: h."""

MAX_SHIFT = 0.09
"""How far the lesion's centre may lie from the image's, along each axis, as a share of the size."""

_PROPERTIES, _TEXTURE, _READERS = range(3)


@dataclass(frozen=True, eq=False)
class LesionTruth:
    """The exact distribution of readers' masks for one image, and the visible properties that determine it."""

    contrast: float
    """Grey levels of the core above the tissue, in CONTRAST_RANGE."""
    radius: float
    """Mean distance from the centre to the half-bright contour, pixels."""
    halo: float
    """The halo's half width as a share of the radius, in HALO_RANGE: h in the formulas above."""
    centre: tuple[float, float]
    """Row and column, pixels."""
    coordinate: Array
    """`(H, W)`: rho, 0 at the centre and 1 on the half-bright contour."""

    @property
    def empty_probability(self) -> float:
        """The probability that a reader sees no lesion: from 0.85 at the lowest contrast to 0.02 at the highest."""
        return float(np.interp(self.contrast, CONTRAST_RANGE, EMPTY_RANGE))

    @property
    def profile(self) -> Array:
        """`(H, W)`: s(rho), the share of the contrast at each pixel, and of the readers (who see it) who include it."""
        return np.clip((1 + self.halo - self.coordinate) / (2 * self.halo), 0, 1)

    def mean(self) -> Array:
        """`(H, W)`: the exact probability that a reader marks each pixel, (1 - p) s(rho)."""
        return (1 - self.empty_probability) * self.profile

    def sample(self, num_samples: int, generator: np.random.Generator) -> Masks:
        """`(N, H, W)`, 0 or 1: exact, independent draws from the readers' distribution."""
        sees = generator.random(num_samples) >= self.empty_probability
        level = generator.uniform(1 - self.halo, 1 + self.halo, num_samples)
        level = np.where(sees, level, -1.0)  # rho >= 0: no pixel lies within a negative level
        return (self.coordinate <= level[:, None, None]).astype(np.uint8)


class LesionWorld(ExampleSet):
    """Images `(1, size, size)` of one lesion each, grey levels 0 to 255, with the masks of independent readers.

    Nothing is stored: an example is drawn when it is asked for, in about a millisecond, and depends on the seed, its
    index, the size and the number of readers alone.

    Args:
        num_images: how many examples there are, at least 1.
        seed: not negative; worlds of different seeds share no image.
        size: height and width in pixels, at least 32.
        num_readers: masks per image, at least 1.
    """

    def __init__(self, num_images: int, seed: int, size: int = 64, num_readers: int = len(READERS)) -> None:
        numbers = (("num_images", num_images, 1), ("seed", seed, 0), ("size", size, MIN_SIZE))
        check_numbers("lesions", *numbers, ("num_readers", num_readers, 1))
        self.seed, self.size, self.num_readers = seed, size, num_readers
        self.names = tuple(f"lesion-{seed}-{index:05d}" for index in range(num_images))
        self.groups = self.names

    def __getitem__(self, index: int) -> Example:
        truth = self.truth(index)
        tissue = _tissue(self.size, self._stream(index, _TEXTURE))
        image = np.clip(np.rint(tissue + truth.contrast * truth.profile), 0, 255).astype(np.float32)
        labels = truth.sample(self.num_readers, self._stream(index, _READERS))
        return Example(self.names[index], torch.from_numpy(image)[None], torch.from_numpy(labels))

    def truth(self, index: int) -> LesionTruth:
        """The distribution that the readers' masks of image `index` were drawn from."""
        generator = self._stream(index, _PROPERTIES)
        contrast = generator.uniform(*CONTRAST_RANGE)
        radius = generator.uniform(*RADIUS_RANGE) * self.size
        halo = generator.uniform(*HALO_RANGE)
        middle = (self.size - 1) / 2
        row, column = middle + generator.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * self.size
        coordinate = _radial_coordinate(self.size, (row, column), radius, generator)
        return LesionTruth(contrast, radius, halo, (row, column), coordinate)

    def _stream(self, index: int, purpose: int) -> np.random.Generator:
        return stream(self.seed, len(self), index, purpose)


def lesion_source(
    num_train: int = 2000, num_val: int = 100, num_test: int = 0, seed: int = 0, size: int = 64
) -> DataSource:
    """The world as a data set with four readers and the splits "train", "val" and "test", which share no image.

    Images cost nothing until they are asked for; without any for "test" there is no such split. `seed` is not negative,
    and sources of different seeds share no image. `size` is that of `LesionWorld`, which says what is refused.
    """
    counts, about = (num_train, num_val, num_test), binary_description("lesions", "lesion")
    return world_source("lesions", lambda count, own: LesionWorld(count, own, size), counts, seed, about)


def write_folder(source: DataSource, path: Path) -> None:
    """Save a source as `SPLIT/images/NAME.png` and `SPLIT/masks/READER/NAME.png`, the layout of a user's own folder.

    Args:
        source: as `lesion_source` gives: one channel of whole grey levels from 0 to 255, every rater present.
        path: a new or empty folder.

    Raises:
        InputError: if the folder has files in it, or the images would not survive as 8-bit PNG.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder: give a new one, so that no older files are mixed with these")
    values = np.array(source.description.class_values, np.uint8)
    raters = source.description.rater_names
    for split, examples in source.splits.items():
        images, masks = path / split / "images", [path / split / "masks" / rater for rater in raters]
        for folder in (images, *masks):
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(len(examples)):
            example = examples[index]
            Image.fromarray(_eight_bit(example)).save(images / f"{example.name}.png")
            for folder, labels in zip(masks, example.labels.numpy(), strict=True):
                Image.fromarray(values[labels]).save(folder / f"{example.name}.png")


def _eight_bit(example: Example) -> Masks:
    image = example.image.numpy()
    grey: Masks | None = (
        image[0].astype(np.uint8) if len(image) == 1 and image.min() >= 0 and image.max() <= 255 else None
    )
    if grey is None or not np.array_equal(grey, image[0]):
        raise InputError(
            f"{example.name}: {len(image)} channel(s) with values from {image.min()} to {image.max()}; "
            "write_folder saves one channel of whole grey levels from 0 to 255"
        )
    return grey


def _radial_coordinate(size: int, centre: tuple[float, float], radius: float, generator: np.random.Generator) -> Array:
    """rho `(size, size)` of a random ellipse with a smoothly irregular contour of mean distance about `radius`."""
    rows, columns = np.ogrid[:size, :size]
    down, right = rows - centre[0], columns - centre[1]
    aspect, angle = np.exp(generator.uniform(0, 0.22)), generator.uniform(0, np.pi)
    waves = {number: 0.16 / number for number in (2, 3, 4, 5)}
    return radial_coordinate(*turned(down, right, angle, aspect), radius, waves, generator)


def _tissue(size: int, generator: np.random.Generator) -> Array:
    """Background `(size, size)` in grey levels: a random level, slow shading, fine grain and a few faint vessels."""
    level = generator.uniform(60, 100)
    shading = smooth_noise(size, size / 6, generator) * 6
    grain = smooth_noise(size, 0.8, generator) * 5
    tissue = level + shading + grain
    for _ in range(generator.integers(1, 4)):
        tissue += _vessel(size, generator)
    return tissue


def _vessel(size: int, generator: np.random.Generator) -> Array:
    """A thin bright curve across the image, `(size, size)` in grey levels above the tissue."""
    rows, columns = np.ogrid[:size, :size]
    middle, angle = (size - 1) / 2, generator.uniform(0, 2 * np.pi)
    along, across = turned(rows - middle, columns - middle, angle)
    offset, bend = generator.uniform(-0.45, 0.45) * size, generator.uniform(-0.7, 0.7) / size
    width, brightness = generator.uniform(0.6, 1.1), generator.uniform(8, 20)
    vessel: Array = brightness * np.exp(-0.5 * ((across - offset - bend * along**2) / width) ** 2)
    return vessel
