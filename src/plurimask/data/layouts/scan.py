"""What the files of examples hold, without their pixels: read once, and known from then on (`plurimask.data.known`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from plurimask.data.forms import MaskSummary, summarise
from plurimask.data.images import StoredMask, is_image_file
from plurimask.data.known import FileStates, KnownFiles, common_folder
from plurimask.data.layouts.shapes import channel_shape, refuse_apart, refuse_sizes

Files = tuple[Sequence[Path], Sequence[Path | None]]
"""Images and masks of one example; None where a rater is absent."""
MAX_THREADS = 4
AT_ONCE = 1024
"""Examples that are handed to threads together."""


class Scan(NamedTuple):
    """What the files of one example hold."""

    shape: tuple[int, ...]
    """Of the image, `(K, *spatial)`."""
    masks: tuple[MaskSummary | None, ...]


def known_scans(items: Sequence[Files], states: FileStates | None) -> KnownFiles:
    """What is known of the files of a data set, whose `states` may be known already."""
    ends = [images[0] for images, _ in (*items[:1], *items[-1:])]
    return KnownFiles("scans", common_folder(ends), states=states)


def scan_all(items: Sequence[Files], read_mask: Callable[[Path], StoredMask], known: KnownFiles) -> Iterator[Scan]:
    """The files of each example in turn; those are read that are not known.

    Raises:
        InputError: a file is damaged, or the files of an example do not fit together.
    """
    decoded: dict[int, Scan] = {}
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), AT_ONCE):
            some = items[start : start + AT_ONCE]
            values = [known.get(_files(item)) for item in some]
            unknown = [item for item, value in zip(some, values, strict=True) if value is None]
            read = iter(list(pool.map(lambda item: scan(item, read_mask), unknown)))
            for item, value in zip(some, values, strict=True):
                if value is None:
                    found = next(read)
                    known.put(_files(item), _plain(found))
                elif (known_scan := decoded.get(id(value))) is not None:
                    found = known_scan
                else:
                    found = decoded[id(value)] = _scan_of(value)
                yield found


def scan(item: Files, read_mask: Callable[[Path], StoredMask]) -> Scan:
    """Read the files of one example; errors as for `scan_all`."""
    images, masks = item
    shape = channel_shape(images)
    return Scan(
        shape, tuple(None if path is None else _summary(path, images[0], shape[1:], read_mask) for path in masks)
    )


def _summary(path: Path, image: Path, size: Sequence[int], read_mask: Callable[[Path], StoredMask]) -> MaskSummary:
    mask = read_mask(path)
    refuse_sizes(path, mask.shape, image, size)
    advice = "resample it, or, where its voxels are those of the image, give it the image's header"
    refuse_apart(path, image, f"a mask must lie on the grid of its image: {advice}")
    return summarise(mask)


def _files(item: Files) -> list[Path]:
    images, masks = item
    return [file for path in (*images, *filter(None, masks)) for file in _own_files(path)]


def _own_files(path: Path) -> list[Path]:
    """The file itself; of a DICOM series, which is a folder, the folder and all that lies in it."""
    if is_image_file(path.name) or not path.is_dir():
        return [path]
    return [path, *sorted(one for one in path.iterdir() if one.is_file())]


def _plain(found: Scan) -> Any:
    return [list(found.shape), [None if one is None else _plain_summary(one) for one in found.masks]]


def _plain_summary(one: MaskSummary) -> Any:
    """As JSON knows it, values as ranges: `_summary_of` is the way back."""
    ranges: list[list[int]] = []
    for value in sorted(one.values):
        if ranges and ranges[-1][1] == value:
            ranges[-1][1] = value + 1
        else:
            ranges.append([value, value + 1])
    return [one.kind, ranges, [list(pair) for pair in one.colours], one.num_maps, one.numbered_objects]


def _scan_of(value: Any) -> Scan:
    shape, masks = value
    return Scan(tuple(shape), tuple(None if one is None else _summary_of(one) for one in masks))


def _summary_of(value: Any) -> MaskSummary:
    kind, ranges, colours, num_maps, objects = value
    values = frozenset(number for start, stop in ranges for number in range(start, stop))
    return MaskSummary(kind, values, tuple((index, colour) for index, colour in colours), num_maps, objects)
