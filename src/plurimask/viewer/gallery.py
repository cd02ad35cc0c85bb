"""The images that are looked at: of the data, whose names are known before any is read, and what was dropped in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from plurimask.data import ExampleSet, ImageSet, Place
from plurimask.data.example import Example, NotADataSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.layouts.folder import IMAGES
from plurimask.data.unlabelled import list_images
from plurimask.errors import InputError, unknown_name
from plurimask.files.writing import is_within
from plurimask.runs.load import find_split, open_run_data
from plurimask.runs.record import RunRecord
from plurimask.viewer.errors import Refused
from plurimask.viewer.uploads import FIRST_NUMBER, Uploads

_PREFERRED = ("val", "test")
"""The splits that are shown where none is named: those that were not trained on."""


@dataclass(frozen=True)
class Stored:
    """One image as it is stored."""

    name: str
    image: Tensor
    """`(K, H, W)`, float32, in the values of the file."""
    example: Example | None
    """With the maps of its raters, `(R, H, W)`; None where there are no masks."""
    pixel_size: PixelSize | None


@dataclass(frozen=True)
class Opened:
    """A data set, or images, that can be looked at."""

    images: ExampleSet | ImageSet
    rater_names: tuple[str, ...]
    notes: tuple[str, ...]
    name: str
    root: Path
    """Below which all files lie that may be read."""


class Gallery:
    """Images by number: those of the data from 0 on, and behind them those that were dropped in.

    Args:
        record: of the run in whose sense data are read.
        uploads: what is dropped in.
    """

    def __init__(self, record: RunRecord, uploads: Uploads) -> None:
        self.record, self.uploads = record, uploads
        self.opened: Opened | None = None
        self.error: str | None = None
        self.is_opening = False

    @property
    def state(self) -> str:
        """ "opening", "ready" or "failed"."""
        return "failed" if self.error else "opening" if self.is_opening else "ready"

    def open(self, place: Place, split: str | None) -> None:
        """Open the data; in a thread, since the masks of large data sets take their time."""
        self.is_opening = True
        try:
            self.opened = open_shown(self.record, place, split)
        except InputError as error:
            self.error = str(error)
            raise
        finally:
            self.is_opening = False

    def start_opening(self, place: Place, split: str | None) -> threading.Thread:
        """`open` in a thread, which is returned; what it raises is in `error`."""

        def work() -> None:
            try:
                self.open(place, split)
            except InputError:
                pass
            except Exception as error:  # told on the page, where somebody waits
                self.error = f"the data could not be opened ({type(error).__name__}): see the terminal"
                raise

        self.is_opening = True
        thread = threading.Thread(target=work, name="plurimask-opening", daemon=True)
        thread.start()
        return thread

    @property
    def data_names(self) -> Sequence[str]:
        """Of the images of the data."""
        return () if self.opened is None else self.opened.images.names

    @property
    def is_labelled(self) -> bool:
        """Whether the data have masks."""
        return self.opened is not None and isinstance(self.opened.images, ExampleSet)

    @property
    def numbers(self) -> list[int]:
        """All there are: uploads first, the newest at the top, then the data in their order."""
        return [*self.uploads.numbers, *range(len(self.data_names))]

    def is_upload(self, number: int) -> bool:
        """Whether an image was dropped in."""
        return number >= FIRST_NUMBER

    def name(self, number: int) -> str:
        """Of an image; `NotFound` if there is none of this number."""
        if 0 <= number < len(self.data_names):
            return self.data_names[number]
        return self.uploads.name(number)

    def read(self, number: int) -> Stored:
        """An image with all that is stored of it.

        Raises:
            NotFound: there is none of this number.
            Refused: one of its files lies outside of the folder that was given, once links are followed.
            InputError: it is damaged, or has other channels than the run was trained on.
        """
        name, opened = self.name(number), self.opened
        if opened is None or self.is_upload(number):
            image, pixel_size = self.uploads.read(number, self.record.data.channel_names)
            return Stored(name, image, None, pixel_size)
        images = opened.images
        for path in images.files(number):
            if not is_within(path, opened.root):
                raise Refused(f"{name}: its file leads out of the folder that was given: copy it there")
        pixel_size = images.pixel_size(number)
        if isinstance(images, ImageSet):
            return Stored(name, images[number], None, pixel_size)
        example = images[number]
        return Stored(name, example.image, example, pixel_size)


def open_shown(record: RunRecord, place: Place, split: str | None) -> Opened:
    """Data with masks, or images without, whatever lies at a place: in the sense of a run.

    Args:
        record: of the run.
        place: where the data lie.
        split: which part of a data set; None: "val", or else "test", or else the first that there is.

    Raises:
        InputError: neither can be read, or there is no such split.
    """
    path, names, notes = place.path, record.data.channel_names, tuple[str, ...]()
    if place.images is None or place.masks or place.images == "none":
        try:
            source = open_run_data(record, place)
        except NotADataSet as error:
            if split is not None:
                raise
            if path.is_dir() and (path / IMAGES).is_dir():
                notes = (f"masks are not shown: {error}",)
        else:
            chosen = split or next((name for name in _PREFERRED if name in source.splits), next(iter(source.splits)))
            examples = find_split(source, chosen)
            name = f"{chosen} of {path.resolve().name}"
            return Opened(examples, source.description.rater_names, source.notes, name, path)
    elif split is not None:
        raise unknown_name("split", split, ["val (of data with --masks)"])
    images = list_images(path, names, None if place.images == "none" else place.images)
    return Opened(images, (), (*notes, *images.notes), path.resolve().name, path)
