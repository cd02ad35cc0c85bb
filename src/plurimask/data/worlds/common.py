"""What the built-in worlds share: checked numbers, a stream for each purpose, splits, radial coordinates and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from plurimask.data.example import DataDescription, DataSource, ExampleSet
from plurimask.errors import InputError

Array: TypeAlias = NDArray[np.float64]
Masks: TypeAlias = NDArray[np.uint8]

READERS = ("reader1", "reader2", "reader3", "reader4")


def check_numbers(world: str, *numbers: tuple[str, int, int]) -> None:
    """Raise `InputError` where a number is too small: name, value and the least it may be, in a world of `world`."""
    for name, value, least in numbers:
        if value < least:
            raise InputError(f"{name}={value}: a world of {world} needs {name} >= {least}")


class World(ExampleSet):
    """Examples that are drawn when they are asked for: nothing is stored.

    Args:
        name: what the images are called.
        num_images: how many examples there are.
        seed: worlds of different seeds share no image.
    """

    def __init__(self, name: str, num_images: int, seed: int) -> None:
        self.seed = seed
        self.names = self.groups = tuple(f"{name}-{seed}-{index:05d}" for index in range(num_images))

    def stream(self, index: int, purpose: int) -> np.random.Generator:
        """The random numbers for one purpose in one image: each has its own, so that one recipe can change alone."""
        index = range(len(self))[index]  # -1 is the last image; an IndexError beyond the end
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index, purpose)))


def world_source(
    world: str, part: Callable[[int, int], ExampleSet], counts: tuple[int, int, int], seed: int, about: DataDescription
) -> DataSource:
    """A world of `world` as a data set with the splits "train", "val" and "test", from `part(num_images, seed)`."""
    check_numbers(world, ("seed", seed, 0))
    splits = {
        name: part(count, 3 * seed + number)
        for number, (name, count) in enumerate(zip(("train", "val", "test"), counts, strict=True))
        if name != "test" or count
    }
    return DataSource(about, splits, drawn=False)


def binary_description(world: str, name: str) -> DataDescription:
    """Of a world of grey images in which four readers mark one class."""
    return DataDescription(
        layout=f"built-in {world}",
        class_names=("background", name),
        class_values=(0, 255),
        ignore_value=None,
        has_background=True,
        encoding=f"binary masks, 0 background and 255 {name}, as the built-in world defines them",
        channel_names=("intensity",),
        rater_names=READERS,
    )


def turned(down: Array, right: Array, angle: float, aspect: float = 1.0) -> tuple[Array, Array]:
    """Coordinates along an axis at `angle` and across it, the first `aspect` times shorter, the second longer."""
    along = (np.cos(angle) * right + np.sin(angle) * down) / aspect
    return along, (np.cos(angle) * down - np.sin(angle) * right) * aspect


def radial_coordinate(
    along: Array, across: Array, radius: float, waves: Mapping[int, float], generator: np.random.Generator
) -> Array:
    """0 in the middle, 1 on an irregular contour at a mean distance of about `radius` pixels, `(H, W)`.

    `along` and `across` are pixels from the middle and broadcast; `waves` maps the number of waves around the contour
    to their largest amplitude, as a share of the radius.
    """
    theta = np.arctan2(across, along)
    contour = np.ones_like(theta)
    for number, largest in waves.items():
        amplitude, phase = generator.uniform(0, largest), generator.uniform(0, 2 * np.pi)
        contour += amplitude * np.cos(number * theta + phase)
    return np.hypot(along, across) / (radius * contour)


def blurred_noise(size: int, scale: float, generator: np.random.Generator) -> Array:
    """White noise `(size, size)` blurred over `scale` pixels."""
    noise: Array = gaussian_filter(generator.standard_normal((size, size)), scale, mode="wrap", truncate=3)
    return noise


def smooth_noise(size: int, scale: float, generator: np.random.Generator) -> Array:
    """Correlated noise `(size, size)` of length `scale` pixels, standard deviation about 1 over all images."""
    # The standard deviation of blurred white noise is 1 / (2 sqrt(pi) scale).
    return blurred_noise(size, scale, generator) * float(2 * np.sqrt(np.pi) * scale)
