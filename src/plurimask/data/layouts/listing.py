"""The files in a folder, by names that people can read; what is not read is counted."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from plurimask.data.images import SUFFIXES, is_image_file
from plurimask.data.images.dicom import is_dicom, may_be_slice
from plurimask.errors import InputError, shown

MAX_NAME = 200
"""Bytes: file systems allow 255, of which some are for endings."""
MAX_WAYS = 8
"""In which links may lead to one folder."""
VOLUMES = (".mha", ".mhd", ".nrrd", ".mgz", ".h5", ".hdf5", ".zarr")
"""Endings of volumes that are not read."""
_DOUBLE = (".nii.gz", ".ome.tif", ".ome.tiff", ".tar.gz")


class Unread:
    """What lies among the images and masks and is not read: files by ending, and folders."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.folders: list[Path] = []

    def notes(self) -> tuple[str, ...]:
        """A sentence for files, and one for folders, if there are any."""
        notes = []
        if self.endings:
            count = sum(self.endings.values())
            listed = ", ".join(f"{number} {ending}" for ending, number in self.endings.most_common(8))
            notes.append(f"{count} file{'s were' if count > 1 else ' was'} not read: {listed}{self._advice()}")
        if self.folders:
            listed = ", ".join(f"{folder.name}/" for folder in self.folders[:6])
            notes.append(f"not read: {listed}" + (f" and {len(self.folders) - 6} more" * (len(self.folders) > 6)))
        return tuple(notes)

    def hint(self) -> str:
        """What to say of them where nothing else was found; empty if nothing is known of them."""
        volumes = [ending for ending in self.endings if ending in VOLUMES]
        if ".dcm" in self.endings:
            return "slices of a DICOM series (.dcm) lie in a folder of their own, which is one image; "
        return f"volumes ({', '.join(volumes)}) are not read, save them as .nii.gz; " if volumes else ""

    def _advice(self) -> str:
        volumes = any(ending in VOLUMES for ending in self.endings)
        return f" (read are {', '.join(SUFFIXES)}" + ("; save other volumes as .nii.gz)" if volumes else ")")


def find_images(folder: Path, unread: Unread | None = None) -> dict[str, Path]:
    """The image files in `folder` and below, by relative path without ending (with `/`), in sorted order.

    Names are in Unicode's composed form; bytes that are no UTF-8 are taken for Latin-1. Hidden files are left out,
    files with other endings counted in `unread`. A folder of DICOM slices is one image, of the name of the folder.

    Raises:
        InputError: a folder cannot be read, or two files have the same name.
    """
    found: dict[str, Path] = {}
    for parent, files in _walk_images(folder):
        prefix = "".join(f"{readable(part)}/" for part in parent.parts[len(folder.parts) :])
        for file, is_image in files:
            if not is_image:
                if unread is not None:
                    unread.endings[ending(file) or "without ending"] += 1
                continue
            name = prefix + readable(file[: -len(ending(file))] if is_image_file(file) else file)
            if name in found:
                raise InputError(f"{parent / file} and {found[name]} have the same name: keep one of the two")
            found[name] = parent / file
    return dict(sorted(found.items()))


def walk_images(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The files in `folder` and below as `walk_files`, and whether they are images; but each folder that holds slices
    of a DICOM series, in place of them, as one image. `folder` itself is none.

    Raises:
        InputError: as `walk_files`.
    """
    for parent, files in _walk_images(folder):
        yield from ((parent / file, is_image) for file, is_image in files)


def _walk_images(folder: Path) -> Iterator[tuple[Path, list[tuple[str, bool]]]]:
    """The same by the folders that they lie in: their names, and whether they are images."""
    for parent, names in _walk(folder):
        files, has_slices = [], False
        for name in names:
            if is_image_file(name):
                files.append((name, True))
            elif parent != folder and may_be_slice(name) and is_dicom(parent / name):
                has_slices = True
            else:
                files.append((name, False))
        if has_slices:
            yield parent.parent, [(parent.name, True)]
        yield parent, files


def walk_files(folder: Path) -> Iterator[Path]:
    """The files in `folder` and below that are not hidden; links are followed, but not in circles.

    Raises:
        InputError: a folder cannot be read, or links lead to it in more than `MAX_WAYS` ways.
    """
    for parent, names in _walk(folder):
        yield from (parent / name for name in names)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The same by the folders that they lie in: their names, in order."""
    if _leads_back(folder.parent, folder.name):
        raise InputError(f"{folder}: a link to a folder that holds it: remove it")
    ways: Counter[str] = Counter()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        here = os.path.realpath(parent)
        ways[here] += 1
        if ways[here] > MAX_WAYS:  # there may be more ways than anybody can go
            raise InputError(f"{parent}: links below {folder} lead there in more than {MAX_WAYS} ways: remove some")
        folders[:] = [name for name in sorted(folders) if name[0] != "." and not _leads_back(Path(parent), name)]
        yield Path(parent), sorted(file for file in files if file[0] != ".")


def ending(file: str) -> str:
    """The ending of a file's name, in lower case, both parts of ".ome.tif" and the like."""
    lower = file.lower()
    if lower.count(".") > 1 and (double := next((each for each in _DOUBLE if lower.endswith(each)), None)):
        return double
    return lower[lower.rfind(".") :] if lower.rfind(".") > 0 else ""


def readable(name: str) -> str:
    """`name` in Unicode's composed form and without line breaks, whatever bytes the file's name is made of."""
    if name.isascii() and name.isprintable():
        return name
    latin = re.sub("[\udc80-\udcff]", lambda byte: chr(ord(byte[0]) - 0xDC00), name)
    return unicodedata.normalize("NFC", re.sub(r"[\x00-\x1f\x7f]", "_", latin))


def unreadable(error: OSError) -> InputError:
    """The error for a file or folder that the system does not give."""
    reason = "permission denied" if isinstance(error, PermissionError) else error.strerror or str(error)
    return InputError(
        f"{error.filename}: cannot be read ({reason}): ask for the right to read it, or move it out of the data set"
    )


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # in no such folder nothing is found
        raise unreadable(error) from error


def _leads_back(parent: Path, name: str) -> bool:
    """Whether the folder is a link to one that holds it."""
    if not (parent / name).is_symlink():
        return False
    here, target = os.path.realpath(parent), os.path.realpath(parent / name)
    return os.path.commonpath([here, target]) == target


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` that are not hidden, in order of their names; without links to one that holds them.

    Raises:
        InputError: `folder` cannot be read.
    """
    try:
        folders = sorted(each for each in folder.iterdir() if each.name[0] != "." and each.is_dir())
        return [each for each in folders if not _leads_back(folder, each.name)]
    except OSError as error:
        _refuse(error)
        return []


def contents(folder: Path, limit: int = 6) -> str:
    """The first few entries of `folder`, for an error message."""
    if not folder.is_dir():
        return "no such folder"
    try:
        entries = sorted(each.name + "/" * each.is_dir() for each in folder.iterdir() if each.name[0] != ".")
    except PermissionError:
        return "nothing that may be read"
    if not entries:
        return "nothing"
    return ", ".join(entries[:limit]) + (f" and {len(entries) - limit} more" if len(entries) > limit else "")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts "reader 2" before "reader 10"."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"[0-9]+|[^0-9]+", name))


def refuse_odd_names(names: Collection[str], where: str) -> None:
    """Raise InputError if a name, which becomes that of a folder where something is predicted, occurs twice or is none
    that a folder may have."""
    for name in names:
        parts = name.split("/")
        if not name.isprintable() or any(part in ("", ".", "..") or len(part.encode()) > MAX_NAME for part in parts):
            raise InputError(
                f"{where}: the name {shown(name)}, expected words that a folder may be called, of at most "
                f"{MAX_NAME} bytes: give each image a plain name"
            )
    refuse_repeated(names, where)


def refuse_repeated(names: Iterable[str], where: str) -> None:
    """Raise InputError if a name occurs twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{where}: the name {shown(repeated[0])} occurs twice: give each image its own name")
