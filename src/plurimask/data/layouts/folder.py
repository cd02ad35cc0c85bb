"""The folder layout: images and masks with the same names, one sub-folder per rater, one per split.

    [SPLIT/]images/NAME.ext                  or, with several channel_names in dataset.json, [SPLIT/]CHANNEL/NAME.ext
    [SPLIT/]masks/NAME.ext                   or, with several raters, [SPLIT/]masks/RATER/NAME.ext
    dataset.json                             optional, with nnU-Net's keys

Splits may also lie inside: images/SPLIT/NAME.ext with masks/SPLIT/ or masks/RATER/SPLIT/. NAME may contain sub-folders.
A rater who has no file for an image is absent; an image for which nobody has one is left out. Names may differ as
`plurimask.data.layouts.pairing` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.files import UNSPLIT, FileItem, Layout
from plurimask.data.layouts.listing import Unread, contents, find_images, natural_key, readable, subfolders
from plurimask.data.layouts.pairing import pair
from plurimask.data.layouts.splits import SPLITS, note_others, parts_by_split, split_of, without_split
from plurimask.errors import InputError

IMAGES, MASKS = "images", "masks"
SINGLE_RATER = "rater 1"
"""The name of the only rater where masks have no rater folders."""

_Images = Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class _Files:
    """What one split holds."""

    folder: Path
    images: _Images
    masks: Mapping[str, Path]
    """By path below `masks/`, without the split."""


def is_folder_layout(folder: Path) -> bool:
    """Whether `folder` is one split of this layout."""
    return (folder / MASKS).is_dir()


def read_folder(splits: Mapping[str, Path], declared: DatasetFile) -> Layout:
    """The files of each split.

    Raises:
        InputError: a folder is missing or empty, or the names of images, channels and masks do not fit together.
    """
    unread = Unread()
    files = {split: _list_files(folder, declared, unread) for split, folder in splits.items()}
    if UNSPLIT in files:
        files = _inside(files[UNSPLIT])
    notes: list[str] = []
    if "test" in files and not files["test"].masks and len(files) > 1:
        notes.append(f"test: none of its {len(files.pop('test').images)} images has a mask: the split was left out")
    masks = {split: _masks_by_rater(each, notes, unread) for split, each in files.items()}
    raters = sorted({rater for found in masks.values() for rater in found}, key=natural_key)
    if SINGLE_RATER in raters and len(raters) > 1:
        one = next(split for split in files if SINGLE_RATER in masks[split])
        other = next(split for split in files if SINGLE_RATER not in masks[split])
        raise InputError(
            f"{files[one].folder / MASKS} holds masks, {files[other].folder / MASKS} a folder per rater: "
            "put the former into a rater's folder too"
        )
    if raters != [SINGLE_RATER]:
        notes += _empty_raters(splits.values(), raters)
    items = {split: _items(split, each, masks[split], raters, notes) for split, each in files.items()}
    return Layout("folder", items, tuple(raters), declared.channel_names, (*notes, *unread.notes()))


def _list_files(folder: Path, declared: DatasetFile, unread: Unread) -> _Files:
    images = find_channels(folder, declared.channel_names, unread)
    note_others(folder, (IMAGES, MASKS, *(declared.channel_names or ())), unread)
    return _Files(folder, images, find_images(folder / MASKS, unread))


def _inside(files: _Files) -> dict[str, _Files]:
    """The splits whose folders lie below `images/` and `masks/`; all as `UNSPLIT` if there are none."""
    split_of_image = parts_by_split(files.images, files.folder / IMAGES)
    if split_of_image is None:
        return {UNSPLIT: files}
    masks: dict[str, dict[str, Path]] = {}
    for name, path in files.masks.items():
        split, rest = without_split(name)
        if split not in split_of_image.values():
            raise InputError(
                f"{path}: a mask outside of the split folders of the images "
                f"({', '.join(sorted(set(split_of_image.values())))}): move it into one of them"
            )
        masks.setdefault(str(split), {})[rest] = path
    return {
        split: _Files(
            files.folder,
            {name.partition("/")[2]: paths for name, paths in files.images.items() if split_of_image[name] == split},
            masks.get(split, {}),
        )
        for split in SPLITS
        if split in split_of_image.values()
    }


def find_channels(
    folder: Path, channel_names: tuple[str, ...] | None, unread: Unread | None = None
) -> dict[str, tuple[Path, ...]]:
    """The files of each image by name: from `images/`, or one from each channel's folder where these exist.

    Raises:
        InputError: there is no such folder, no image in it, or an image lacks a channel.
    """
    unread = Unread() if unread is None else unread
    names = channel_names or ()
    present = [name for name in names if is_channel_folder(folder, name)]
    if (folder / IMAGES).is_dir() and len(present) < max(2, len(names)):
        images = find_images(folder / IMAGES, unread)
        if not images:
            raise InputError(
                f"{folder / IMAGES}: no images found, looked for PNG, TIFF, JPEG, BMP, GIF and NIfTI files; "
                f"it holds {contents(folder / IMAGES)}: {unread.hint()}add images, one file each"
            )
        return {name: (path,) for name, path in images.items()}
    if not present:
        wanted = f"{IMAGES}/" + (f" or the channel folders {', '.join(names)}" if names else "")
        raise InputError(
            f"{folder}: looked for {wanted}, found {contents(folder)}: put the images into {IMAGES}/, "
            "or name the channels' folders in dataset.json under channel_names"
        )
    return _join_channels(folder, names, unread)


def is_channel_folder(folder: Path, name: str) -> bool:
    """Whether there is a folder of this name in `folder` itself, not elsewhere: the name comes from a file."""
    return name not in ("", ".", "..") and "/" not in name and (folder / name).is_dir()


def _join_channels(folder: Path, names: tuple[str, ...], unread: Unread) -> dict[str, tuple[Path, ...]]:
    channels = {}
    for name in names:
        if not is_channel_folder(folder, name):
            raise InputError(
                f"{folder}: the channel folder {name!r} of dataset.json is missing, found {contents(folder)}: "
                "add it, or correct channel_names"
            )
        channels[name] = find_images(folder / name, unread)
    everything = sorted({image for found in channels.values() for image in found})
    if not everything:
        raise InputError(f"{folder}: no images in the channel folders {', '.join(names)}: add PNG or TIFF files")
    for image in everything:
        missing = [name for name in names if image not in channels[name]]
        if missing:
            raise InputError(
                f"{folder}: the image {image!r} has no channel {missing[0]!r}: add {missing[0]}/{image}.png"
            )
    return {image: tuple(channels[name][image] for name in names) for image in everything}


def _masks_by_rater(files: _Files, notes: list[str], unread: Unread) -> dict[str, dict[str, Path]]:
    """Rater to image name to file; `SINGLE_RATER` if the masks lie in `masks/` itself."""
    where, found, images = files.folder / MASKS, files.masks, files.images
    if not found:
        raise InputError(
            f"{where}: no masks found, looked for {MASKS}/NAME.png and {MASKS}/RATER/NAME.png; "
            f"found {contents(where)}: {unread.hint()}add a mask for each image"
        )
    # A sub-folder of masks/ is a rater, or else a part of the image's name: the images tell.
    direct = sum(name in images for name in found)
    by_rater = sum(name.partition("/")[2] in images for name in found)
    if not direct and not by_rater and (paired := pair(found, images)):
        _say_paired(paired, notes)
        return {rater or SINGLE_RATER: of_one for rater, of_one in paired.items()}
    if direct >= by_rater and (direct or any("/" not in name for name in found)):
        _refuse_orphans(files, found)
        return {SINGLE_RATER: dict(found)}
    raters: dict[str, dict[str, Path]] = {}
    for name, path in found.items():
        raters.setdefault(name.partition("/")[0], {})[name.partition("/")[2]] = path
    pairs = {rater: pair(of_one, images) for rater, of_one in raters.items()}
    if not direct and not by_rater and not any(pairs.values()):
        _refuse_orphans(files, found)
    for rater, of_one in raters.items():
        if "" in of_one:
            raise InputError(f"{of_one['']}: a mask beside the raters' folders: move it into the folder of its rater")
        paired = pairs[rater]
        if paired is None or len(paired) > 1:
            _refuse_orphans(files, of_one)
        else:
            if not of_one.keys() <= images.keys():
                _say_paired(paired, notes)
            raters[rater] = paired[""]
    return raters


def _empty_raters(folders: Iterable[Path], raters: list[str]) -> list[str]:
    """A note on each folder of a rater in which no mask was found."""
    known = [each for folder in folders for each in subfolders(folder / MASKS)]
    empty = [each for each in known if readable(each.name) not in raters and not split_of(each.name)]
    return [f"{each} holds no mask that is read: {each.name} is absent there" for each in empty if not _holds(each)]


def _holds(folder: Path) -> bool:
    return bool(find_images(folder))


def _say_paired(paired: Mapping[str, Mapping[str, Path]], notes: list[str]) -> None:
    image, path = next(iter(next(iter(paired.values())).items()))
    beginning = "masks and images were paired by the common part of their names"
    if not any(note.startswith(beginning) for note in notes):
        notes.append(f"{beginning}, such as {image} with {readable(path.name)}")


def _refuse_orphans(files: _Files, masks: Mapping[str, Path]) -> None:
    for name, path in masks.items():
        if name not in files.images:
            beside = ", ".join(list(files.images)[:3])
            raise InputError(
                f"{path}: a mask without an image: there is no image {name!r} in {files.folder} (there are {beside}, "
                "...): give both the same name, or remove the mask"
            )


def _items(
    split: str, files: _Files, masks: Mapping[str, Mapping[str, Path]], raters: list[str], notes: list[str]
) -> list[FileItem]:
    items, without = [], []
    for name, paths in files.images.items():
        of_one = tuple(masks.get(rater, {}).get(name) for rater in raters)
        if any(of_one):
            items.append(FileItem(name, name, paths, of_one))
        else:
            without.append(name)
    if without:
        listed = ", ".join(without[:3]) + (", ..." if len(without) > 3 else "")
        notes.append(
            f"{f'{split}: ' if split != UNSPLIT else ''}{len(without)} of {len(files.images)} images have no mask and "
            f"were left out: {listed}"
        )
    return items
