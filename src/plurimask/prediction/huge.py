"""The prediction of an image that is too large for memory: what it is made of, and the arrays that it is written to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plurimask.data import DataDescription
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.reading import ImageReader
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError
from plurimask.prediction.budget import CHUNK, Budget
from plurimask.prediction.omezarr import Layout, Maps
from plurimask.prediction.predict import Sampling
from plurimask.prediction.seen import SeenImage
from plurimask.prediction.tiles import TilePlan
from plurimask.prediction.whole import mask_values

MEAN, OTHERS = "mean.ome.zarr", ("entropy.ome.zarr", "mutual_information.ome.zarr", "variance.ome.zarr")
SHOWN_PIXELS, OBJECT_PIXELS = 2**18, 2**20
"""Of the finest levels of which pictures are made, and on which objects are found."""


@dataclass(frozen=True)
class HugeImage:
    """An image that is read in parts."""

    name: str
    reader: ImageReader
    pixel_size: PixelSize | None = None


class HugePrediction:
    """The prediction of one large image into a folder.

    Args:
        image: to predict.
        preprocessing: of the run.
        description: of the run's data.
        budget: of memory.
        sampling: how many samples, from which seed.
    """

    def __init__(
        self,
        image: HugeImage,
        preprocessing: Preprocessing,
        description: DataDescription,
        budget: Budget,
        sampling: Sampling,
    ) -> None:
        self.image, self.description, self.budget, self.sampling = image, description, budget, sampling
        _refuse_undecodable(image, budget)
        self.seen = SeenImage(image.reader, preprocessing, image.name)
        self.size = self.seen.size
        self.layout = Layout(self.size, (CHUNK[len(self.size)],) * len(self.size), image.pixel_size)

    def level_of(self, most: int) -> int:
        """The finest level of at most so many pixels."""
        sizes = [math.prod(self.layout.level_size(level)) for level in range(self.layout.num_levels)]
        return next((level for level, pixels in enumerate(sizes) if pixels <= most), len(sizes) - 1)

    def factors(self, level: int) -> tuple[int, ...]:
        """Pixels along each axis that one of a level is for."""
        return tuple(self.layout.factor(level, axis) for axis in range(len(self.size)))

    def labels(self) -> list[str]:
        """Names of the label images: of the most likely map, then of the samples."""
        digits = max(2, len(str(self.sampling.num_samples - 1)))
        return ["mask", *(f"sample-{number:0{digits}d}" for number in range(self.sampling.num_samples))]

    def arrays(self, folder: Path, plan: TilePlan) -> dict[str, Maps]:
        """All arrays of the image, made if they are not there: of label images by their names, of others by theirs. No
        two tiles of the plan lie in one block, so that several processes may write them at once."""
        classes, values = self.description.num_classes, mask_values(self.description)
        layout = replace(self.layout, block=plan.block(CHUNK[len(self.size)]))
        arrays = {MEAN: Maps(folder / MEAN, layout, np.float16, classes)}
        for label in self.labels():
            arrays[label] = Maps(folder / MEAN / "labels" / label, layout, values.dtype)
        for name in OTHERS:
            planes = classes if name.startswith("variance") else 0
            arrays[name] = Maps(folder / name, layout, np.float16, planes)
        return arrays


def _refuse_undecodable(image: HugeImage, budget: Budget) -> None:
    """Raise `InputError` if an image has to be decoded whole, and that alone is too much."""
    whole = image.reader.whole_bytes
    if whole > 0.6 * budget.free:
        raise InputError(
            f"{image.name}: a file of this kind has to be decoded whole, which takes {whole / 1e9:.1f} GB, too much "
            f"beside the program in {budget.total / 1e9:.1f} GB: save it as a TIFF in tiles or as Zarr, or give more "
            "--memory"
        )
