"""What is predicted for an image, in the pixels of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.data import ImageSet
from plurimask.data.images.geometry import Grid
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.resampling import resized
from plurimask.distribution import entropy
from plurimask.method import SegmentationMethod
from plurimask.prediction.predict import Sampling, predict_images, require_probabilities

_BLOCK_ELEMENTS = 2**22


@dataclass(frozen=True)
class Predicted:
    """What was predicted for one image, in the window of it that the run sees (all of it, without a centre crop).

    Everything is in the pixels of the image, whatever size the run brings images to: label maps by the nearest pixel,
    probabilities and what follows from them by linear interpolation.
    """

    name: str
    image: NDArray[Any]
    """`(K, h, w)`, or `(K, d, h, w)` of a volume, and so on; as stored."""
    samples: NDArray[np.uint8]
    """`(N, h, w)`."""
    mean: NDArray[Any]
    """`(C, h, w)`, class probabilities."""
    entropy: NDArray[Any]
    """`(h, w)`, nats."""
    window: tuple[slice, ...]
    size: tuple[int, ...]
    """Of the whole image: height and width, or depth, height and width."""
    mutual_information: NDArray[Any]
    """`(h, w)`, nats: the part of the entropy that comes from samples that disagree."""
    variance: NDArray[Any]
    """`(C, h, w)`, of each class's probability over the samples, 0 to 1/4."""
    pixel_size: PixelSize | None = None
    """Where the image's file says so."""
    sampling: Sampling | None = None
    """How the samples were drawn, where that is known."""
    files: tuple[Path, ...] = ()
    """That the image was read from, where it lies in files."""
    grid: Grid | None = None
    """Of a volume, where its voxels lie, if that is known."""
    notes: tuple[str, ...] = ()
    """What is only approximated, in sentences for people."""


def predict(
    method: SegmentationMethod,
    images: ImageSet,
    preprocessing: Preprocessing,
    sampling: Sampling,
    on_phase: Callable[[str], object] = str,
    on_read: Callable[[str, Tensor], object] = lambda name, image: None,
) -> Iterator[Predicted]:
    """Samples of each image, their mean, and how sure they are.

    The method is trained and in evaluation mode, `preprocessing` is its run's. An image's samples depend on the seed
    and its name alone. `on_phase` is told what is being done, in words for a progress bar, and `on_read` each image as
    the method will see it, before it does.
    """
    shown: dict[str, tuple[Tensor, int]] = {}

    def prepared() -> Iterator[tuple[str, Tensor]]:
        for number, name in enumerate(images.names):
            shown[name] = images[number], number
            seen = preprocessing.image(shown[name][0], name, images.pixel_size(number))
            on_read(name, seen)
            yield name, seen

    for names, samples, statistics, prediction, notes, _ in predict_images(method, prepared(), sampling, on_phase):
        maps = [statistics.mean(), statistics.mutual_information()[:, None], statistics.variance()]
        require_probabilities(maps[0], names)
        del statistics, prediction  # and with them the image's features, which are larger than all that is written
        for number, name in enumerate(names):
            image, place = shown.pop(name)
            on_phase(f"{name}: writing")
            found = [samples[:, number], *(each[number] for each in maps)]
            about = images.pixel_size(place), sampling, images.files(place), images.grid(place), notes
            yield _brought_back(name, image, preprocessing, found, about)
            del image, found  # before the next is read and computed
        del samples, maps


def _brought_back(
    name: str, image: Tensor, preprocessing: Preprocessing, maps: Sequence[Tensor], about: tuple[Any, ...]
) -> Predicted:
    """Samples, mean, mutual information and variance of an image in its own pixels, with what is known `about` it."""
    cut, size = preprocessing.cut(image), tuple(image.shape[1:])
    labels, probabilities, shared, spread = (resized(each.cpu(), cut.shape[1:]) for each in maps)
    return Predicted(
        name,
        cut.numpy(),
        labels.numpy(),
        probabilities.numpy(),
        entropy_of(probabilities).numpy(),
        preprocessing.window(size),
        size,
        shared[0].numpy(),
        spread.numpy(),
        *about,
    )


def entropy_of(probabilities: Tensor) -> Tensor:
    """Entropy `(h, w)` in nats of class probabilities `(C, h, w)`, some rows at a time."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, probabilities[:, 0].numel()))
    return torch.cat([entropy(block, dim=0) for block in torch.split(probabilities, rows, dim=1)])
