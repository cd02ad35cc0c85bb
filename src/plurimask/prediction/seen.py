"""A large image as a run sees it, read box by box."""

from __future__ import annotations

import torch
from torch import Tensor

from plurimask.data.images.reading import ImageReader
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError
from plurimask.prediction.omezarr import regions
from plurimask.prediction.tiles import Box


class SeenImage:
    """What a network sees of an image that is read in parts.

    Raises:
        InputError: the run does something to images for which it needs all of their pixels at once.
    """

    def __init__(self, reader: ImageReader, preprocessing: Preprocessing, name: str) -> None:
        self.reader, self.preprocessing, self.name = reader, preprocessing, name
        self.size = reader.shape[1:]
        window = preprocessing.window(self.size)
        if preprocessing.resize is not None or preprocessing.spacing is not None:
            raise InputError(
                f"{name}: too large for --memory at once, and the run brings images to a size or spacing of its own, "
                "for which it needs all of them: give more --memory, or parts of the image"
            )
        if any(side.stop - side.start < length for side, length in zip(window, self.size, strict=True)):
            raise InputError(
                f"{name}: too large for --memory at once, and the run sees the centre of images alone: give that part"
            )
        self.largest = self._largest() if preprocessing.image_scaling == "maximum" else None
        self.last: tuple[Box, Tensor] | None = None
        """The box that was read last, and its values as stored."""

    def _largest(self) -> Tensor:
        """The largest value of each channel, `(K,)`."""
        found = torch.full((self.reader.shape[0],), -torch.inf)
        for box in regions(self.size):
            found = torch.maximum(found, torch.from_numpy(self.reader.read(box, self.name)).flatten(1).amax(1))
        return found

    def __call__(self, box: Box) -> Tensor:
        """The pixels `(K, *box)`, float32, normalised."""
        image = torch.from_numpy(self.reader.read(box, self.name))
        self.last = box, image
        if self.largest is not None:
            shape = -1, *[1] * (image.ndim - 1)
            image = image / torch.where(self.largest > 0, self.largest, 1.0).view(shape)
        ready = self.preprocessing.normalise(image)
        if not bool(torch.isfinite(ready).all()):
            raise InputError(
                f"{self.name}: values as large as {float(image.abs().max()):.3g} are infinite once they are normalised "
                "by the run's mean and standard deviation: leave the image out, or train on images like it"
            )
        return ready

    def small(self, box: Box, factor: tuple[int, ...]) -> Tensor:
        """Every so many pixels of a box that lies in the one read last, as stored; the box begins at a multiple."""
        assert self.last is not None
        read, image = self.last
        own = (
            slice(side.start - of.start, side.stop - of.start, step)
            for side, of, step in zip(box, read, factor, strict=True)
        )
        return image[(slice(None), *own)].clone()
