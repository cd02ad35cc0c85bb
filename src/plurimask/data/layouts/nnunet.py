"""nnU-Net's raw data, for PNG and TIFF: one file per channel, numbered.

imagesTr/NAME_0000.png, NAME_0001.png, ...     labelsTr/NAME.png
imagesTs/NAME_0000.png, ...                    labelsTs/NAME.png, if there are any: the split "test"
dataset.json                                   channel_names and labels
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.files import FileItem, Layout
from plurimask.data.layouts.listing import Unread, contents, find_images
from plurimask.data.layouts.splits import note_others
from plurimask.errors import InputError

_FOLDERS = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}
_NUMBERED = re.compile(r"(.+)_(\d{4})")


def is_nnunet(folder: Path) -> bool:
    """Whether `folder` is the root of this layout."""
    return (folder / "imagesTr").is_dir()


def read_nnunet(path: Path, declared: DatasetFile) -> Layout:
    """The files of "train" and, if it has labels, "test"; each case is a group.

    Raises:
        InputError: an image has no labels, labels have no image, or channels are missing.
    """
    items, unread, notes = {}, Unread(), []
    for split, (images, labels) in _FOLDERS.items():
        found = group_channels(find_images(path / images, unread), path / images)
        masks = find_images(path / labels, unread)
        if found and not masks and split == "test":
            notes.append(f"{images}/: {len(found)} images without {labels}/ were left out")
        elif found or masks or split == "train":
            items[split] = _items(found, masks, path / images, path / labels, unread)
    note_others(path, [name for pair in _FOLDERS.values() for name in pair], unread)
    return Layout("nnU-Net", items, ("annotator",), declared.channel_names, (*notes, *unread.notes()))


def group_channels(files: Mapping[str, Path], where: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each case, by its name, in the order of the channels' numbers.

    Raises:
        InputError: a name has no number, or a case lacks a channel.
    """
    cases: dict[str, dict[int, Path]] = {}
    for name, path in files.items():
        match = _NUMBERED.fullmatch(name)
        if match is None:
            raise InputError(f"{path}: expected a name that ends in the channel's number, _0000: rename or remove it")
        cases.setdefault(match[1], {})[int(match[2])] = path
    count = max((len(channels) for channels in cases.values()), default=0)
    for name, channels in cases.items():
        missing = [number for number in range(count) if number not in channels]
        if missing:
            raise InputError(
                f"{where}: the image {name!r} has no channel {missing[0]:04d}: add {name}_{missing[0]:04d}"
            )
    return {name: tuple(channels[number] for number in range(count)) for name, channels in cases.items()}


def is_numbered(names: Mapping[str, Path]) -> bool:
    """Whether all names end in the number of a channel."""
    return bool(names) and all(_NUMBERED.fullmatch(name) for name in names)


def _items(
    images: Mapping[str, tuple[Path, ...]], masks: Mapping[str, Path], where: Path, labels: Path, unread: Unread
) -> list[FileItem]:
    if not images or not masks:
        empty = where if not images else labels
        raise InputError(
            f"{empty}: no PNG or TIFF files found; it holds {contents(empty)}: {unread.hint()}add one for each image"
        )
    for name, path in masks.items():
        if name not in images:
            raise InputError(f"{path}: labels without an image: add {where.name}/{name}_0000.png, or remove them")
    missing = next((name for name in images if name not in masks), None)
    if missing is not None:
        raise InputError(
            f"{images[missing][0]}: an image without labels: add {labels.name}/{missing}.png, or remove it"
        )
    return [FileItem(name, name, paths, (masks[name],)) for name, paths in images.items()]
