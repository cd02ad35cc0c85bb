"""The folder layout: images and masks with the same names, one sub-folder per rater, one per split.

    [SPLIT/]images/NAME.ext                  or, with several channel_names in dataset.json, [SPLIT/]CHANNEL/NAME.ext
    [SPLIT/]masks/NAME.ext                   or, with several raters, [SPLIT/]masks/RATER/NAME.ext
    dataset.json                             optional, with nnU-Net's keys

NAME may contain sub-folders. A rater who has no file for an image is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.files import FileItem, Layout, contents, find_images, natural_key
from plurimask.errors import InputError

IMAGES, MASKS = "images", "masks"
SINGLE_RATER = "rater 1"
"""The name of the only rater where masks have no rater folders."""


def is_folder_layout(folder: Path) -> bool:
    """Whether `folder` is one split of this layout."""
    return (folder / MASKS).is_dir()


def read_folder(splits: Mapping[str, Path], declared: DatasetFile) -> Layout:
    """The files of each split.

    Raises:
        InputError: a folder is missing or empty, or the names of images, channels and masks do not fit together.
    """
    images = {split: find_channels(folder, declared.channel_names) for split, folder in splits.items()}
    masks = {split: _find_masks(folder, images[split]) for split, folder in splits.items()}
    raters = sorted({rater for found in masks.values() for rater in found}, key=natural_key)
    if SINGLE_RATER in raters and len(raters) > 1:
        one = next(split for split in splits if SINGLE_RATER in masks[split])
        other = next(split for split in splits if SINGLE_RATER not in masks[split])
        raise InputError(
            f"{splits[one] / MASKS} holds masks, {splits[other] / MASKS} a folder per rater: "
            "put the former into a rater's folder too"
        )
    items = {split: _items(images[split], masks[split], raters, splits[split]) for split in splits}
    return Layout("folder", items, tuple(raters), declared.channel_names)


def find_channels(folder: Path, channel_names: tuple[str, ...] | None) -> dict[str, tuple[Path, ...]]:
    """The files of each image by name: from `images/`, or one from each channel's folder where these exist.

    Raises:
        InputError: there is no such folder, no image in it, or an image lacks a channel.
    """
    names = channel_names or ()
    present = [name for name in names if (folder / name).is_dir()]
    if (folder / IMAGES).is_dir() and len(present) < max(2, len(names)):
        found: dict[str, tuple[Path, ...]] = {name: (path,) for name, path in find_images(folder / IMAGES).items()}
        if not found:
            raise InputError(
                f"{folder / IMAGES}: no images found, looked for PNG, TIFF, JPEG and BMP files; "
                f"it holds {contents(folder / IMAGES)}: add images, one file each"
            )
        return found
    if not present:
        wanted = f"{IMAGES}/" + (f" or the channel folders {', '.join(names)}" if names else "")
        raise InputError(
            f"{folder}: looked for {wanted}, found {contents(folder)}: put the images into {IMAGES}/, "
            "or name the channels' folders in dataset.json under channel_names"
        )
    return _join_channels(folder, names)


def _join_channels(folder: Path, names: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
    channels = {}
    for name in names:
        if not (folder / name).is_dir():
            raise InputError(
                f"{folder}: the channel folder {name!r} of dataset.json is missing, found {contents(folder)}: "
                "add it, or correct channel_names"
            )
        channels[name] = find_images(folder / name)
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


def _find_masks(folder: Path, images: Mapping[str, tuple[Path, ...]]) -> dict[str, dict[str, Path]]:
    """Rater to image name to file; `SINGLE_RATER` if the masks lie in `masks/` itself."""
    found = find_images(folder / MASKS)
    if not found:
        raise InputError(
            f"{folder / MASKS}: no masks found, looked for {MASKS}/NAME.png and {MASKS}/RATER/NAME.png; "
            f"found {contents(folder / MASKS)}: add a mask for each image"
        )
    # A sub-folder of masks/ is a rater, or else a part of the image's name: the images tell.
    direct = sum(name in images for name in found)
    by_rater = sum(name.partition("/")[2] in images for name in found)
    if direct >= by_rater and (direct or any("/" not in name for name in found)):
        _refuse_orphans(folder, found, images)
        return {SINGLE_RATER: found}
    raters: dict[str, dict[str, Path]] = {}
    for name, path in found.items():
        rater, _, image = name.partition("/")
        if not image:
            raise InputError(f"{path}: a mask beside the raters' folders: move it into the folder of its rater")
        raters.setdefault(rater, {})[image] = path
    for masks in raters.values():
        _refuse_orphans(folder, masks, images)
    return raters


def _refuse_orphans(folder: Path, masks: Mapping[str, Path], images: Mapping[str, tuple[Path, ...]]) -> None:
    for name, path in masks.items():
        if name not in images:
            beside = ", ".join(list(images)[:3])
            raise InputError(
                f"{path}: a mask without an image: there is no image {name!r} in {folder} (there are {beside}, ...): "
                "give both the same name, or remove the mask"
            )


def _items(
    images: Mapping[str, tuple[Path, ...]], masks: Mapping[str, Mapping[str, Path]], raters: list[str], folder: Path
) -> list[FileItem]:
    items = []
    for name, paths in images.items():
        of_one = tuple(masks.get(rater, {}).get(name) for rater in raters)
        if not any(of_one):
            raise InputError(
                f"{paths[0]}: an image without a mask in {folder / MASKS}: add {name}.png there, or remove the image"
            )
        items.append(FileItem(name, name, paths, of_one))
    return items
