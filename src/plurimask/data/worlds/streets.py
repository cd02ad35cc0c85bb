"""A built-in world of streets with seven classes, small and quick: one annotator, every class visible in the image.

Each image shows a straight road to a vanishing point with a pavement on either side, buildings behind it up to a ragged
skyline, and some trees, cars and persons that grow towards the camera. Some images have an unjudged border. Nothing is
ambiguous by itself: `plurimask.data.flipping` makes it so.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.worlds.common import Array, Masks, check_numbers, stream, world_source
from plurimask.distribution import IGNORE

CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "person")
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON = range(len(CLASSES))

MIN_SIZE = (24, 48)
"""Height and width in pixels below which things would be smaller than a pixel."""

COLOURS = ((150, 185, 220), (150, 110, 90), (80, 80, 88), (175, 165, 150), (60, 110, 55), (170, 30, 40), (60, 45, 120))
"""R, G, B of each class before light, shades and noise."""

NOISE = 7.0
"""Standard deviation of the noise of each pixel and channel, in grey levels."""

BORDER_SHARE = 0.3
"""The share of images with a border that the annotator did not judge."""

_SCENE, _TEXTURE, _BORDER = range(3)


class StreetWorld(ExampleSet):
    """Images `(3, H, W)` of R, G, B from 0 to 255 with the labels `(1, H, W)` of one annotator.

    Nothing is stored: an example is drawn when it is asked for and depends on the seed, its index and the size alone.

    Args:
        num_images: how many examples there are, at least 1.
        seed: not negative; worlds of different seeds share no image.
        size: height and width in pixels, at least 24 x 48.
    """

    def __init__(self, num_images: int, seed: int, size: tuple[int, int] = (48, 96)) -> None:
        sides = (("height", size[0], MIN_SIZE[0]), ("width", size[1], MIN_SIZE[1]))
        check_numbers("streets", ("num_images", num_images, 1), ("seed", seed, 0), *sides)
        self.seed, self.size = seed, size
        self.names = tuple(f"street-{seed}-{index:05d}" for index in range(num_images))
        self.groups = self.names

    def __getitem__(self, index: int) -> Example:
        labels, shade = _scene(self.size, self._stream(index, _SCENE))
        image = _paint(labels, shade, self._stream(index, _TEXTURE))
        _hide_border(labels, self._stream(index, _BORDER))
        return Example(self.names[index], torch.from_numpy(image), torch.from_numpy(labels)[None])

    def _stream(self, index: int, purpose: int) -> np.random.Generator:
        return stream(self.seed, len(self), index, purpose)


def street_source(
    num_train: int = 200, num_val: int = 40, num_test: int = 0, seed: int = 0, size: tuple[int, int] = (48, 96)
) -> DataSource:
    """The world as a data set of one annotator with the splits "train", "val" and "test", which share no image.

    Images cost nothing until they are asked for; without any for "test" there is no such split. `seed` is not negative,
    and sources of different seeds share no image. `size` is that of `StreetWorld`, which says what is refused.
    """
    about = DataDescription(
        layout="built-in streets",
        class_names=CLASSES,
        class_values=tuple(range(len(CLASSES))),
        ignore_value=IGNORE,
        has_background=False,
        encoding=f"class indices 0 to {len(CLASSES) - 1}, {IGNORE} not judged, as the built-in world defines them",
        channel_names=("R", "G", "B"),
        rater_names=("annotator",),
    )
    counts = (num_train, num_val, num_test)
    return world_source("streets", lambda count, own: StreetWorld(count, own, size), counts, seed, about)


def _scene(size: tuple[int, int], random: np.random.Generator) -> tuple[Masks, Array]:
    """Labels `(H, W)`, and by how much each thing is lighter or darker than its class, `(H, W)` in grey levels."""
    height, width = size
    rows, columns = np.mgrid[:height, :width] + 0.5
    horizon, vanishing = random.uniform(0.36, 0.5) * height, random.uniform(0.4, 0.6) * width
    labels, shade = np.full(size, SKY, np.uint8), np.zeros(size)
    start = 0.0
    while start < width:  # one building after the other, higher towards the camera, down to the ground
        stop = start + random.uniform(0.08, 0.2) * width
        nearness = abs((start + stop) / 2 - vanishing) / width
        top = horizon - height * (random.uniform(0.04, 0.16) + random.uniform(0.2, 0.5) * nearness)
        _put(labels, shade, (columns >= start) & (columns < stop) & (rows >= top), BUILDING, random.normal(0, 12))
        start = stop
    depth = np.clip((rows - horizon) / (height - horizon), 0, 1)  # 0 at the horizon, 1 at the camera
    road, pavement = random.uniform(0.28, 0.42) * width, random.uniform(0.1, 0.22) * width
    offset = np.abs(columns - vanishing - (width / 2 - vanishing) * depth)
    _put(labels, shade, (depth > 0) & (offset < (road + pavement) * depth + 1), PAVEMENT, random.normal(0, 6))
    _put(labels, shade, (depth > 0) & (offset < road * depth), ROAD, random.normal(0, 6))
    for near in np.sort(random.uniform(0.15, 0.95, random.integers(2, 9))):  # from far to near, so that near hides far
        base, middle = horizon + near * (height - horizon), vanishing + (width / 2 - vanishing) * near
        side, kind = random.choice([-1, 1]), random.choice([TREE, CAR, PERSON])
        place = random.uniform(0.1, 0.85) * road if kind == CAR else road + random.uniform(0.2, 0.9) * pavement
        shape = _thing(int(kind), rows - base, columns - (middle + side * place * near), near * height)
        _put(labels, shade, shape, int(kind), random.normal(0, 18))
    return labels, shade


def _thing(kind: int, below: Array, right: Array, scale: float) -> NDArray[np.bool_]:
    """Where a thing is, given rows below its foot, columns right of its middle and the image's height in its depth."""
    above, aside = -below / scale, np.abs(right) / scale
    standing = above >= 0
    if kind == TREE:
        crown = np.hypot((above - 0.55) / 0.28, aside / 0.22) < 1
        return crown | (standing & (above < 0.4) & (aside < 0.035))
    if kind == CAR:
        return standing & (((above < 0.15) & (aside < 0.24)) | ((above < 0.27) & (aside < 0.15)))
    return standing & (((above < 0.34) & (aside < 0.07)) | (np.hypot(above - 0.38, aside) < 0.055))


def _put(labels: Masks, shade: Array, where: NDArray[np.bool_], kind: int, value: float) -> None:
    labels[where], shade[where] = kind, value


def _paint(labels: Masks, shade: Array, random: np.random.Generator) -> NDArray[np.float32]:
    """The image `(3, H, W)`, whole grey levels: colours, windows and leaves, light, noise."""
    height, width = labels.shape
    rows, columns = np.mgrid[:height, :width]
    texture = np.where((labels == BUILDING) & (rows % 4 < 2) & (columns % 4 < 2), -35.0, 0.0)
    texture += np.where(labels == TREE, random.normal(0, 16, labels.shape), 0.0)
    light = random.uniform(0.8, 1.15) + random.uniform(-0.1, 0.1) * (columns / width - 0.5)
    colour = np.array(COLOURS, np.float64)[labels].transpose(2, 0, 1)
    image = light * (colour + shade + texture) + random.normal(0, NOISE, colour.shape)
    grey: NDArray[np.float32] = np.clip(np.rint(image), 0, 255).astype(np.float32)
    return grey


def _hide_border(labels: Masks, random: np.random.Generator) -> None:
    """Some images: 1 to 3 pixels all around are not judged."""
    if random.random() < BORDER_SHARE:
        depth = int(random.integers(1, 4))
        inside = labels[depth:-depth, depth:-depth].copy()
        labels[:] = IGNORE
        labels[depth:-depth, depth:-depth] = inside
