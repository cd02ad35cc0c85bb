"""Which folders are splits, by their names, and what lies beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from plurimask.data.layouts.dataset_json import COLOURS_NAME, FILE_NAME
from plurimask.data.layouts.listing import Unread, ending, subfolders
from plurimask.errors import InputError

SPLITS = ("train", "val", "test")
SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev"),
    "test": ("test", "testing"),
}
"""In any case."""

_DATA_FOLDERS = ("images", "masks", "gt", "inputs", "instances")

_KNOWN_FILES = (FILE_NAME, COLOURS_NAME)


def split_of(name: str) -> str | None:
    """The split that a folder or file of this name holds; None if it is no such name."""
    return next((split for split, spellings in SPELLINGS.items() if name.lower() in spellings), None)


def by_split(paths: Iterable[Path]) -> dict[str, Path]:
    """Those of `paths` whose names (without ending) are splits, in the order of `SPLITS`.

    Raises:
        InputError: one split is there under two names.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        split = split_of(path.stem if path.is_file() else path.name)
        if split in found:
            raise InputError(f"{found[split]} and {path} are the same split: keep one of them")
        if split is not None:
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def split_folders(path: Path) -> dict[str, Path]:
    """The folders of the splits in `path`, in the order of `SPLITS`.

    Raises:
        InputError: one split is there under two names, or the folder cannot be read.
    """
    return by_split(subfolders(path))


def note_others(path: Path, used: Collection[str], unread: Unread, among_splits: bool = False) -> None:
    """Notes the folders in `path` that are not among the names `used`, and the files that are no part of a data set.

    Raises:
        InputError: one of them, beside split folders, looks like a split itself.
    """
    for folder in subfolders(path):
        if folder.name in used:
            continue
        inside = [name for name in _DATA_FOLDERS if (folder / name).is_dir()]
        if among_splits and inside:
            raise InputError(
                f"{folder}: holds {inside[0]}/ but is no split that is known ({', '.join(SPLITS)}), and would not be "
                f"read: rename it, or move it out of {path}"
            )
        unread.folders.append(folder)
    for file in sorted(path.iterdir()):
        if file.is_file() and file.name[0] != "." and file.name not in _KNOWN_FILES and file.suffix != ".npz":
            unread.endings[f"{ending(file.name) or 'without ending'} ({file.name})"] += 1


def parts_by_split(names: Iterable[str], where: Path) -> Mapping[str, str] | None:
    """The split of each name if all lie in split folders ("train/a"); None if none does.

    Raises:
        InputError: some do and others do not, or a split is there under two names.
    """
    first = {name: name.partition("/")[0] if "/" in name else "" for name in names}
    known = {folder: split for folder in sorted(set(first.values())) if (split := split_of(folder)) is not None}
    if not known:
        return None
    other = next((name for name, folder in first.items() if folder not in known), None)
    if other is not None:
        raise InputError(
            f"{where}: holds split folders ({', '.join(known)}) and beside them {other!r}: move everything into split "
            "folders, or the others out of the data set"
        )
    if len(set(known.values())) < len(known):
        raise InputError(f"{where}: {' and '.join(known)} hold one split twice: keep one of them")
    return {name: known[folder] for name, folder in first.items()}


def without_split(name: str) -> tuple[str | None, str]:
    """The split and the rest of "train/a", "anna/train/a" or "train/anna/a"."""
    parts = name.split("/")
    for position in range(min(2, len(parts) - 1)):
        split = split_of(parts[position])
        if split is not None:
            return split, "/".join(parts[:position] + parts[position + 1 :])
    return None, name
