"""Examples that lie in image files: read when asked for, kept in memory up to a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from plurimask.data.encoding import MaskEncoding, decide_encoding
from plurimask.data.example import DataDescription, Example, ExampleSet, Patterns
from plurimask.data.forms import MaskForm, MaskSummary, decide_form, most_objects, note_own_values
from plurimask.data.images import (
    image_files,
    image_numbers,
    image_pixel_size,
    image_shape,
    read_image,
    read_stored_mask,
)
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.known import FileStates
from plurimask.data.layouts.cache import CACHE_BYTES, ArrayCache
from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.scan import known_scans, scan_all
from plurimask.data.layouts.shapes import refuse_mixed, refuse_sizes
from plurimask.errors import InputError
from plurimask.sets.unjudged import IGNORE

Array = npt.NDArray[Any]

MAX_RATERS = 1000
UNSPLIT = ""
"""The name of the only "split" of a data set that comes without split folders."""


@dataclass(frozen=True)
class Found:
    """A data set as it lies on disk, before a split is drawn."""

    description: DataDescription
    sets: Mapping[str, ExampleSet]
    """By split, or all under `UNSPLIT`."""
    notes: tuple[str, ...] = ()
    """As in `DataSource`."""


@dataclass(frozen=True)
class FileItem:
    """The files of one example."""

    name: str
    group: str
    images: tuple[Path, ...]
    """One file with all channels, or one file per channel."""
    masks: tuple[Path | None, ...]
    """One per rater; None where the rater is absent."""


@dataclass(frozen=True)
class Reading:
    """How the files of a data set become examples, the same for all of them."""

    encoding: MaskEncoding
    form: MaskForm
    as_gray: bool = False
    """Whether images of three channels, which are the same, are read as one."""


class FileSet(ExampleSet):
    """The examples of one split that lie in files."""

    def __init__(self, items: Sequence[FileItem], reading: Reading, cache: ArrayCache) -> None:
        self.items, self.reading, self.cache = tuple(items), reading, cache
        self.names = tuple(item.name for item in items)
        self.groups = tuple(item.group for item in items)

    def __getitem__(self, index: int) -> Example:
        import torch

        item = self.items[index]
        image = join_channels([self.cache.get(path, read_image) for path in item.images], item.images)
        if self.reading.as_gray:
            image = image[:1]
        labels = np.full((len(item.masks), *image.shape[1:]), IGNORE, dtype=np.uint8)
        for rater, path in enumerate(item.masks):
            if path is not None:
                values = self.reading.form.values(self.cache.get(path, read_stored_mask))
                refuse_sizes(path, values.shape, item.images[0], image.shape[1:])
                labels[rater] = self.reading.encoding.encode(values, str(path))
        return Example(item.name, torch.from_numpy(image), torch.from_numpy(labels))

    def shape(self, index: int) -> tuple[int, ...]:
        return image_shape(self.items[index].images[0])[1:]

    def pixel_size(self, index: int) -> PixelSize | None:
        return image_pixel_size(self.items[index].images[0])

    def files(self, index: int) -> tuple[Path, ...]:
        found = (*self.items[index].images, *filter(None, self.items[index].masks))
        return tuple(file for path in found for file in image_files(path))


def join_channels(channels: Sequence[Array], paths: Sequence[Path]) -> npt.NDArray[np.float32]:
    """The channels of one image, `(K, *spatial)`, as a new array of float32.

    Raises:
        InputError: a value is no number that float32 holds well.
    """
    return np.concatenate(
        [image_numbers(channel, str(path)) for channel, path in zip(channels, paths, strict=True)], dtype=np.float32
    )


@dataclass(frozen=True)
class Layout:
    """What a reader of a folder layout knows before any file is opened."""

    name: str
    items: Mapping[str, Sequence[FileItem]]
    rater_names: tuple[str, ...]
    channel_names: tuple[str, ...] | None
    """None: named by the number of channels."""
    notes: tuple[str, ...] = ()
    """As in `DataSource`."""
    patterns: Patterns | None = None
    """As in `DataDescription`."""


class _Seen(NamedTuple):
    """What is known once all masks and the headers of all images were read."""

    summaries: dict[MaskSummary, str]
    """Each with the first mask that has it."""
    counts: dict[int, FileItem]
    """Numbers of channels, each with the first image that has it."""
    rank: int
    """Spatial dimensions of all images."""
    marks: list[frozenset[int]]
    """For each rater the values of what they marked."""
    note: tuple[str, ...]


def _scanned(items: Sequence[FileItem], num_raters: int, cache: ArrayCache, states: FileStates | None) -> _Seen:
    summaries: dict[MaskSummary, str] = {}
    counts: dict[int, FileItem] = {}
    ranks: list[int] = []
    marks: list[frozenset[int]] = [frozenset() for _ in range(num_raters)]
    files = [(item.images, item.masks) for item in items]
    known = known_scans(files, states)
    scans = scan_all(files, lambda path: cache.get(path, read_stored_mask), known)
    for item, (shape, found) in zip(items, scans, strict=True):
        counts.setdefault(shape[0], item)
        ranks.append(len(shape) - 1)
        for rater, (summary, path) in enumerate(zip(found, item.masks, strict=True)):
            if summary is not None:
                summaries.setdefault(summary, str(path))
                if not summary.values <= marks[rater]:
                    marks[rater] |= summary.values - {0, IGNORE}
    known.save()
    refuse_mixed(ranks, [item.images[0] for item in items])
    return _Seen(summaries, counts, ranks[0], marks, tuple(known.note("the contents")))


def open_layout(
    layout: Layout,
    declared: DatasetFile,
    expected: DataDescription | None,
    keep: bool = True,
    states: FileStates | None = None,
) -> Found:
    """Reads all masks and the headers of all images, decides the encoding, and gives the examples of each split.

    What files held when they were read earlier is known if they have not been changed since (`plurimask.data.known`).
    With `keep`, decoded files are kept in memory, up to a number of bytes, for who reads them again and again.

    Raises:
        InputError: a file is damaged; sizes, channels or mask values do not fit together.
    """
    cache = ArrayCache(CACHE_BYTES if keep else 0)
    items = [item for split in layout.items.values() for item in split]
    seen = _scanned(items, len(layout.rater_names), cache, states)
    summaries, counts, rank = seen.summaries, seen.counts, seen.rank
    as_gray = set(counts) == {1, 3} or (
        set(counts) == {3} and expected is not None and len(expected.channel_names) == 1
    )
    as_gray = as_gray and _all_gray(items, cache)
    if len(counts) > 1 and not as_gray:
        (first, one), (second, other) = list(counts.items())[:2]
        raise InputError(
            f"{one.images[0]} has {first} channels, {other.images[0]} has {second}: "
            f"save all images with the same channels{' (all gray, or all in colour)' if rank == 2 else ''}"
        )
    form = decide_form(summaries, declared, expected)
    values: dict[frozenset[int], str] = {}
    for summary, where in summaries.items():
        values.setdefault(form.values_of(summary), where)
    if form.known_values:
        values.setdefault(form.known_values, next(iter(summaries.values())))
    encoding = decide_encoding(
        values, declared, expected, in_colour=form.kind == "colours", num_objects=most_objects(summaries)
    )
    encoding = replace(encoding, sentence=form.sentence + encoding.sentence)
    channels = name_channels(1 if as_gray else next(iter(counts)), layout.channel_names, rank == 2)
    notes = (*layout.notes, *seen.note)
    notes += ("images with R = G = B are read as gray, as the others are",) * as_gray
    if form.kind == "values" and declared.labels is None and len(encoding.class_names) > 2:
        notes += tuple(note_own_values(layout.rater_names, seen.marks))
    reading = Reading(encoding, form, as_gray)
    description = describe(layout.name, encoding, channels, layout.rater_names)
    return Found(
        description.model_copy(update={"patterns": layout.patterns, "spatial_dims": rank}),
        {split: FileSet(part, reading, cache) for split, part in layout.items.items()},
        notes,
    )


def _all_gray(items: Sequence[FileItem], cache: ArrayCache) -> bool:
    """Whether all images in one file of three channels have R = G = B."""
    return all(len(item.images) > 1 or is_gray(cache.get(item.images[0], read_image)) for item in items)


def is_gray(channels: Array) -> bool:
    """Whether `(K, *spatial)` is one channel, or the same three times."""
    return len(channels) == 1 or (len(channels) == 3 and bool((channels == channels[:1]).all()))


def describe(
    layout: str, encoding: MaskEncoding, channel_names: tuple[str, ...], rater_names: tuple[str, ...]
) -> DataDescription:
    if len(rater_names) > MAX_RATERS:
        raise InputError(
            f"the data have {len(rater_names):,} raters, expected at most {MAX_RATERS:,}, all of whom are compared "
            "with each other: is a folder or an axis of images taken for raters?"
        )
    return DataDescription(
        layout=layout,
        class_names=encoding.class_names,
        class_values=encoding.class_values,
        ignore_value=encoding.ignore_value,
        has_background=encoding.has_background,
        encoding=encoding.sentence,
        channel_names=channel_names,
        rater_names=rater_names,
        masks=encoding.masks,
    )


def name_channels(count: int, names: tuple[str, ...] | None, of_pictures: bool = True) -> tuple[str, ...]:
    """The names of `count` channels: those given, or "intensity", or R, G, B of pictures, or numbers.

    Raises:
        InputError: other than `count` names are given.
    """
    if names is None:
        known = {1: ("intensity",), 3: ("R", "G", "B")} if of_pictures or count == 1 else {}
        return known.get(count) or tuple(f"channel {index}" for index in range(count))
    if len(names) != count:
        raise InputError(
            f"dataset.json names {len(names)} channels ({', '.join(names)}), the images have {count}: "
            "name each channel of the files, or give one folder per channel"
        )
    return names
