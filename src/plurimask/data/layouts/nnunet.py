"""nnU-Net's raw data, as it is: one file per channel, numbered; pictures (PNG, TIFF) and volumes (NIfTI).

imagesTr/NAME_0000.nii.gz, NAME_0001.nii.gz, ...     labelsTr/NAME.nii.gz
imagesTs/NAME_0000.nii.gz, ...                       labelsTs/NAME.nii.gz, if there are any: the split "test"
dataset.json                                         channel_names and labels

nnU-Net knows one label map for each case. Those of several raters lie beside it, where nnU-Net does not look, in a
folder for each rater, `labelsTr_RATER/NAME.nii.gz`, or in `labelsTr/` under longer names, `NAME_raterNN.nii.gz` or as
BIDS has it `NAME_desc-RATER[_dseg].nii.gz`. Where there are such, a plain `labelsTr/NAME.nii.gz` is not read: it is
what was made of all raters for nnU-Net, and no rater itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.files import FileItem, Layout
from plurimask.data.layouts.listing import (
    Unread,
    contents,
    ending,
    find_images,
    natural_key,
    readable,
    subfolders,
)
from plurimask.data.layouts.splits import note_others
from plurimask.errors import InputError

_FOLDERS = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}
IMAGES = tuple(images for images, _ in _FOLDERS.values())
"""The folders of images."""
_NUMBERED = re.compile(r"(.+)_(\d{4})")
_RATER = re.compile(r"(.+?)_(?:(rater[0-9A-Za-z]+)|desc-([0-9A-Za-z]+)(?:_(?:dseg|mask|seg|label))?)")
SINGLE_RATER = "annotator"
"""The name of the only rater."""


def is_nnunet(folder: Path) -> bool:
    """Whether `folder` is the root of this layout."""
    return (folder / "imagesTr").is_dir()


def read_nnunet(path: Path, declared: DatasetFile) -> Layout:
    """The files of "train" and, if it has labels, "test"; each case is a group.

    Raises:
        InputError: an image has no labels, labels have no image, or channels are missing.
    """
    unread = Unread()
    notes: list[str] = []
    images: dict[str, dict[str, tuple[Path, ...]]] = {}
    masks: dict[str, dict[str, dict[str, Path]]] = {}
    for split, (folder, labels) in _FOLDERS.items():
        found = group_channels(find_images(path / folder, unread), path / folder)
        by_rater = _labels_by_rater(path, labels, found, notes, unread)
        if found and not by_rater and split == "test":
            notes.append(f"{folder}/: {len(found)} images without {labels}/ were left out")
        elif found or by_rater or split == "train":
            _refuse_empty(found, by_rater, path / folder, path / labels, unread)
            images[split], masks[split] = found, by_rater
    raters = sorted({rater for of_split in masks.values() for rater in of_split}, key=natural_key)
    if SINGLE_RATER in raters and len(raters) > 1:
        raise InputError(
            f"{path}: labels of several raters in one split ({', '.join(raters[:4])}), of one in the other: give "
            "labelsTs the same raters, or move it away"
        )
    items = {split: _items(images[split], masks[split], raters, path / _FOLDERS[split][1]) for split in images}
    used = [name for pair in _FOLDERS.values() for name in pair]
    of_raters = tuple(f"{labels}_" for _, labels in _FOLDERS.values())
    used += [each.name for each in subfolders(path) if each.name.startswith(of_raters)]
    note_others(path, used, unread)
    return Layout("nnU-Net", items, tuple(raters), declared.channel_names, (*notes, *unread.notes()))


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


def _labels_by_rater(
    path: Path, labels: str, images: Mapping[str, tuple[Path, ...]], notes: list[str], unread: Unread
) -> dict[str, dict[str, Path]]:
    """Rater to case to file.

    Raises:
        InputError: labels have no image, or one rater has two for a case.
    """
    found: dict[str, dict[str, Path]] = {}
    plain = find_images(path / labels, unread)
    for name, file in list(plain.items()):
        match = None if name in images else _RATER.fullmatch(name)
        if match is None:
            continue
        del plain[name]
        _add(found, match[2] or match[3], match[1], file, images)
    for folder in subfolders(path):
        rater = readable(folder.name.removeprefix(f"{labels}_"))
        if folder.name.startswith(f"{labels}_") and rater:
            for name, file in find_images(folder, unread).items():
                _add(found, rater, name, file, images)
    for name, file in plain.items():
        _add({}, SINGLE_RATER, name, file, images)
    if not found:
        return {SINGLE_RATER: plain} if plain else {}
    if plain:
        notes.append(f"{labels}/: {len(plain)} label maps without a rater were not read, as there are those of raters")
    return found


def _add(
    found: dict[str, dict[str, Path]], rater: str, name: str, file: Path, images: Mapping[str, tuple[Path, ...]]
) -> None:
    if name not in images:
        raise InputError(f"{file}: labels without an image: add {name}_0000{ending(file.name)}, or remove them")
    other = found.setdefault(rater, {}).setdefault(name, file)
    if other != file:
        raise InputError(f"{file} and {other} are both of {rater}: keep one of the two")


def _refuse_empty(
    images: Mapping[str, object], masks: Mapping[str, object], where: Path, labels: Path, unread: Unread
) -> None:
    if not images or not masks:
        empty = where if not images else labels
        raise InputError(
            f"{empty}: no PNG, TIFF or NIfTI files found; it holds {contents(empty)}: {unread.hint()}add one for each "
            "image"
        )


def _items(
    images: Mapping[str, tuple[Path, ...]], masks: Mapping[str, Mapping[str, Path]], raters: list[str], labels: Path
) -> list[FileItem]:
    items = []
    for name, paths in images.items():
        of_one = tuple(masks.get(rater, {}).get(name) for rater in raters)
        if not any(of_one):
            raise InputError(
                f"{paths[0]}: an image without labels: add {labels.name}/{name}{ending(paths[0].name)}, or remove it"
            )
        items.append(FileItem(name, name, paths, of_one))
    return items
