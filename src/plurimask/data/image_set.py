"""Images with names, read when asked for: what prediction knows of them."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plurimask.data.images.geometry import Grid
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.reading import ImageReader, WholeReader
from plurimask.errors import InputError, shown

if TYPE_CHECKING:
    from torch import Tensor

_OUTPUT_ENDINGS = (".png", ".tif", ".json", ".nii.gz", ".zarr", ".geojson")
_PAGE_ENDINGS = (".csv", ".html", ".json")


class ImageSet(abc.ABC):
    """Images with their names, read when asked for; sizes may differ."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was left out, in sentences for people."""

    def __len__(self) -> int:
        return len(self.names)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Tensor:
        """`(K, *spatial)`, float32, in the values of the file.

        Raises:
            InputError: the file is damaged or holds NaN or infinity.
        """

    def pixel_size(self, index: int) -> PixelSize | None:
        """Of an image, where its file says so."""
        return None

    def grid(self, index: int) -> Grid | None:
        """Where the voxels of a volume lie, where its file says so; None of a picture."""
        return None

    def files(self, index: int) -> tuple[Path, ...]:
        """That an image is read from each time; none where it is in memory."""
        return ()

    def reader(self, index: int) -> ImageReader:
        """Of parts of an image; by default of one that is decoded whole."""
        image = self[index].numpy()
        return WholeReader(image.shape, lambda: image)


class SomeImages(ImageSet):
    """Some of the images of another set."""

    def __init__(self, base: ImageSet, indices: Sequence[int]) -> None:
        self.base, self.indices = base, tuple(indices)
        self.names = tuple(base.names[index] for index in self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.base[self.indices[index]]

    def grid(self, index: int) -> Grid | None:
        return self.base.grid(self.indices[index])

    def reader(self, index: int) -> ImageReader:
        return self.base.reader(self.indices[index])

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.base.pixel_size(self.indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        return self.base.files(self.indices[index])


def refuse_collisions(names: Sequence[str]) -> None:
    """Raise InputError if the outputs of two images, each in a folder of its name, would lie over each other."""
    known = set(names)
    for name in names:
        folder, _, own = name.rpartition("/")
        if (folder in known and own.endswith(_OUTPUT_ENDINGS)) or name.partition("/")[0].endswith(_PAGE_ENDINGS):
            raise InputError(
                f"the image {shown(name)} has the name of a file that is written for predictions: rename it"
            )


def wrong_channels(where: str, count: int, channel_names: Sequence[str]) -> InputError:
    return InputError(
        f"{where}: {count} channels, expected {len(channel_names)} ({', '.join(channel_names)}): "
        "give images with the channels that the run was trained on"
    )
