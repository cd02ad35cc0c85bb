"""A built-in world of trapped yeast with the labels of one annotator, who is unsure where the image is.

Brightfield, as in the images that `plurimask.data.layouts.yeast` reads, and at their scale: an image shows the whole of
one of them. Two drop-shaped traps with bright halos stand side by side, and zero to six roundish cells with dark rims
lie between and above them; some float out of focus, and of these some are faint. What else floats about (smudges,
specks, rings like tiny cells) is nobody's label. Classes: background, trap, cell.

The annotator outlines every object apart from all others. Let d_j be the distance of a pixel from the true outline of
object j, negative inside, in units of 1/128 of the image's side (pixels at size 128), and theta its direction as seen
from the object's middle. The annotator

* leaves out each cell with the probability 1 - q_j; q_j is linear in the cell's strength (its contrast over that of a
  cell in focus): 0.5 for the faintest, strength 0.25, and 1 from strength 0.7 on. Traps have q_j = 1;
* draws the outline of what is not left out at d_j = o_j(theta), a smooth Gaussian process of standard deviation s_j:

      o(theta) = s (w_0 a_0 + sum over k = 1..4 of w_k (a_k cos k theta + b_k sin k theta)),   a, b ~ N(0, 1),

  with sum of w_k^2 = 1, so that the object as a whole is drawn too large or too small, and wavy;
  s_j = 0.35 + 0.25 B + 0.6 (1 - strength_j) units, where B in [0.3, 1.4] units is the blur of the image;
* marks as a cell what is in any drawn cell, and as a trap what is in a drawn trap and in no cell.

All draws are independent. So with p_j = q_j Phi(-d_j / s_j), Phi the normal distribution function, a pixel is

    a cell with P = 1 - prod over cells (1 - p_j),     a trap with (1 - P) (1 - prod over traps (1 - p_j)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.layouts.yeast import CELL, CHANNEL_NAMES, CLASS_NAMES, RATER_NAMES, TRAP
from plurimask.data.worlds.common import Array, Masks, check_numbers, stream, world_source
from plurimask.data.worlds.trap_painting import paint
from plurimask.data.worlds.trap_scene import NUM_DIRECTIONS, Cell, Layer, Scene, draw_scene, lay

MIN_SIZE = 64
"""Height and width of an image in pixels, at least: rims are one pixel wide then."""

STRENGTHS = (0.25, 0.7)
"""Of the faintest cells, and from which on no cell is left out."""

INCLUSION = (0.5, 1.0)
"""The probability that a cell is drawn, at the two ends of STRENGTHS; linear in between."""

BORDER_NOISE, BLUR_NOISE, FAINT_NOISE = 0.35, 0.25, 0.6
"""s of an outline in units of 1/128 of the side: at its least, per unit of blur, and per lack of strength."""

WAVE_WEIGHTS = (0.5, 0.5, 0.5, 0.4, 0.3)
"""w_0 to w_4; their squares sum to 1."""

_SCENE, _PAINT, _ANNOTATOR = range(3)


@dataclass(frozen=True, eq=False)
class TrapTruth:
    """The exact distribution of the annotator's labels of one image, and the k objects that determine it."""

    scene: Scene
    layers: tuple[Layer, ...]
    """The objects on the pixels: the traps, then the cells."""
    size: int
    """H and W."""

    @property
    def classes(self) -> Masks:
        """`(k,)`: 1 of a trap, 2 of a cell."""
        return np.array([CELL if isinstance(each, Cell) else TRAP for each in self.scene.objects], np.uint8)

    @property
    def strengths(self) -> Array:
        """`(k,)`: contrast over that of an object in focus, 0.25 to 1; 1 of a trap."""
        return np.array([each.strength if isinstance(each, Cell) else 1.0 for each in self.scene.objects])

    @property
    def inclusions(self) -> Array:
        """`(k,)`: q, the probability that the annotator draws an object at all."""
        inclusions: Array = np.interp(self.strengths, STRENGTHS, INCLUSION)
        return inclusions

    @property
    def border_noise(self) -> Array:
        """`(k,)`: s, the standard deviation of a drawn outline, in units of 1/128 of the side."""
        noise: Array = BORDER_NOISE + BLUR_NOISE * self.scene.blur + FAINT_NOISE * (1 - self.strengths)
        return noise

    def labels(self) -> Masks:
        """`(H, W)`: without noise: every object at its true outline."""
        labels = np.zeros((self.size, self.size), np.uint8)
        for value, layer in zip(self.classes, self.layers, strict=True):
            labels[layer.window][layer.distance <= 0] = value
        return labels

    def mean(self) -> Array:
        """`(3, H, W)`: the exact probability of each class in each pixel."""
        absent = np.ones((len(CLASS_NAMES), self.size, self.size))
        objects = zip(self.classes, self.layers, self.inclusions, self.border_noise, strict=True)
        for value, layer, inclusion, noise in objects:
            absent[value][layer.window] *= 1 - inclusion * ndtr(-layer.distance / noise)
        no_trap, no_cell = absent[TRAP], absent[CELL]
        return np.stack([no_cell * no_trap, no_cell * (1 - no_trap), 1 - no_cell])

    def sample(self, num_samples: int, generator: np.random.Generator) -> Masks:
        """`(N, H, W)`, classes 0 to 2: exact, independent draws of the annotator."""
        labels = np.zeros((num_samples, self.size, self.size), np.uint8)
        objects = list(zip(self.classes, self.layers, self.inclusions, self.border_noise, strict=True))
        for drawn in labels:
            for value, layer, inclusion, noise in objects:
                offsets = noise * _draw_waves(generator)
                if generator.random() < inclusion:
                    drawn[layer.window][layer.distance <= offsets[layer.direction]] = value
        return labels


class TrapWorld(ExampleSet):
    """Images `(1, size, size)` of trapped yeast, each of mean 0 and standard deviation 1, with one annotator's labels.

    Nothing is stored: an example is drawn when it is asked for, in 10 to 15 ms at size 128, and depends on
    the seed, its index and the size alone. Another size shows the same objects with the same true outlines.

    Args:
        num_images: how many examples there are, at least 1.
        seed: not negative; worlds of different seeds share no image.
        size: height and width in pixels, at least 64.

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(self, num_images: int, seed: int, size: int = 128) -> None:
        check_numbers("trapped yeast", ("num_images", num_images, 1), ("seed", seed, 0), ("size", size, MIN_SIZE))
        self.seed, self.size = seed, size
        self.names = tuple(f"traps-{seed}-{index:05d}" for index in range(num_images))
        self.groups = self.names

    def __getitem__(self, index: int) -> Example:
        truth = self.truth(index)
        image = paint(truth.scene, truth.layers, self.size, self._stream(index, _PAINT)).astype(np.float32)
        labels = truth.sample(1, self._stream(index, _ANNOTATOR))
        return Example(self.names[index], torch.from_numpy(image)[None], torch.from_numpy(labels))

    def truth(self, index: int) -> TrapTruth:
        """The distribution that the labels of image `index` were drawn from."""
        scene = draw_scene(self._stream(index, _SCENE))
        return TrapTruth(scene, tuple(lay(each, self.size) for each in scene.objects), self.size)

    def _stream(self, index: int, purpose: int) -> np.random.Generator:
        return stream(self.seed, len(self), index, purpose)


def trap_source(
    num_train: int = 2000, num_val: int = 100, num_test: int = 0, seed: int = 0, size: int = 128
) -> DataSource:
    """The world as a data set with one annotator and the splits "train", "val" and "test", which share no image.

    Classes, channel and annotator are those of the real data, so a run trained here can be evaluated there.

    Images cost nothing until they are asked for; without any for "test" there is no such split. `seed` is not negative,
    and sources of different seeds share no image. `size` is that of `TrapWorld`, which says what is refused.
    """
    about = DataDescription(
        layout="built-in trapped yeast",
        class_names=CLASS_NAMES,
        class_values=(0, TRAP, CELL),
        ignore_value=None,
        has_background=True,
        encoding="0 background, 1 trap, 2 cell, as the built-in world defines them; a cell lies over a trap",
        channel_names=CHANNEL_NAMES,
        rater_names=RATER_NAMES,
    )
    counts = (num_train, num_val, num_test)
    return world_source("trapped yeast", lambda count, own: TrapWorld(count, own, size), counts, seed, about)


_WAVES = np.arange(1, len(WAVE_WEIGHTS))[:, None] * (np.arange(NUM_DIRECTIONS) + 0.5) * (2 * np.pi / NUM_DIRECTIONS)
# `(9, 512)`: the weighted waves in all directions.
_BASIS = (
    np.concatenate([np.ones((1, NUM_DIRECTIONS)), np.cos(_WAVES), np.sin(_WAVES)])
    * np.concatenate([WAVE_WEIGHTS, WAVE_WEIGHTS[1:]])[:, None]
)


def _draw_waves(generator: np.random.Generator) -> Array:
    """`(512,)`: how far an outline is off in each direction, in standard deviations."""
    waves: Array = generator.standard_normal(len(_BASIS)) @ _BASIS
    return waves
