"""The crops of LIDC-IDRI as published with the hierarchical probabilistic U-Net (Kohl et al., arXiv:1905.13077).

    SPLIT/images/PATIENT/z-Z_cCROP.png
    SPLIT/gt/PATIENT/z-Z_cCROP_lK.png         K = 0..3 (some copies: 1..4), 0 and 255

The index K is no person: which of a scan's readers comes first differs from scan to scan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from plurimask.data.layouts.files import FileItem, Layout
from plurimask.data.layouts.listing import Unread, contents, find_images, natural_key
from plurimask.errors import InputError

_MASK_NAME = re.compile(r"^(?P<name>.+)_l(?P<rater>\d+)$")


def is_lidc_crops(folder: Path) -> bool:
    """Whether `folder` is one split of this layout."""
    found = find_images(folder / "gt") if (folder / "images").is_dir() else {}
    return any(_MASK_NAME.match(name) for name in found)


def read_lidc_crops(splits: Mapping[str, Path]) -> Layout:
    """The files of each split; the group is the patient.

    Raises:
        InputError: a mask has no image or an unexpected name, or an image has no mask.
    """
    unread = Unread()
    masks = {split: _find_masks(folder / "gt", unread) for split, folder in splits.items()}
    raters = sorted(
        {rater for found in masks.values() for of_one in found.values() for rater in of_one}, key=natural_key
    )
    items = {
        split: _items(find_images(folder / "images", unread), folder, masks[split], raters)
        for split, folder in splits.items()
    }
    return Layout("LIDC crops", items, tuple(f"l{rater}" for rater in raters), None, unread.notes())


def _find_masks(folder: Path, unread: Unread) -> dict[str, dict[str, Path]]:
    """Image name to rater to file."""
    found: dict[str, dict[str, Path]] = {}
    for name, path in find_images(folder, unread).items():
        match = _MASK_NAME.match(name)
        if match is None:
            raise InputError(f"{path}: expected a name that ends in _l0 to _l3, the rater: rename or remove the file")
        found.setdefault(match["name"], {})[match["rater"]] = path
    return found


def _items(
    images: Mapping[str, Path], folder: Path, masks: Mapping[str, Mapping[str, Path]], raters: list[str]
) -> list[FileItem]:
    if not images:
        raise InputError(f"{folder / 'images'}: no images found; it holds {contents(folder / 'images')}: add PNG files")
    for name, of_one in masks.items():
        if name not in images:
            raise InputError(
                f"{next(iter(of_one.values()))}: a mask without an image: add images/{name}.png, or remove it"
            )
    items = []
    for name, path in images.items():
        if name not in masks:
            raise InputError(f"{path}: an image without a mask: add gt/{name}_l0.png, or remove the image")
        of_one = masks[name]
        items.append(FileItem(name, name.split("/")[0], (path,), tuple(of_one.get(rater) for rater in raters)))
    return items
