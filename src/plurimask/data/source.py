"""Recognises what kind of data set a path is, and opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from plurimask.data.example import DataDescription, DataSource, ExampleSet
from plurimask.data.flipping import NONE, law_of, parse_flips, with_flips, without_flips
from plurimask.data.layouts import cityscapes
from plurimask.data.layouts.cityscapes import is_cityscapes, open_cityscapes
from plurimask.data.layouts.dataset_json import read_dataset_file
from plurimask.data.layouts.files import UNSPLIT, Found, contents, open_layout
from plurimask.data.layouts.folder import is_folder_layout, read_folder
from plurimask.data.layouts.lidc_crops import is_lidc_crops, read_lidc_crops
from plurimask.data.layouts.npz import open_arrays
from plurimask.data.layouts.yeast import is_yeast, open_yeast
from plurimask.data.split import Selection, apply_split, draw_split, group_names
from plurimask.errors import InputError

WHOLE = "all"
"""The only split of data without split folders that no split was stored for."""

SPLITS = ("train", "val", "test")
_SPELLINGS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}

_LOOKED_FOR = (
    "[SPLIT/]images/ with [SPLIT/]masks/ (SPLIT: train, val, test), train.npz with val.npz, one .npz file, "
    "SPLIT/images/ with SPLIT/gt/ (LIDC crops), leftImg8bit/ with gtFine/ (Cityscapes), and [SPLIT/]inputs/ with "
    "[SPLIT/]instances/ and [SPLIT/]classes/ (trapped yeast)"
)

DEFAULT_FLIPS: dict[str, tuple[str, ...]] = {cityscapes.LAYOUT: ("street",)}
"""The flips of the layouts whose published task has some; all others have none."""


def open_data(
    path: Path | str,
    *,
    group: str | None = None,
    seed: int = 0,
    stored_split: Mapping[str, Sequence[str]] | None = None,
    expected: DataDescription | None = None,
    flips: Sequence[str] | None = None,
) -> DataSource:
    """The data set at `path`: a folder in one of the known layouts, or an `.npz` file.

    All masks and the headers of all images are read here, so that what does not fit together is found at once; of
    Cityscapes, which is large, only the names of the files are.

    Args:
        path: the folder or file.
        group: a regular expression searched in each name; its first capture group, or whole match, is the group that a
            split must not tear apart (the patient). By default what the data say, else each image by itself.
        seed: of the split that is drawn where the data come without split folders.
        stored_split: names by split, used in place of a drawn split; images that it does not name are in no split. Data
            of which it names no image are one split, "all". Data with split folders keep those.
        expected: the description that a run was trained with: masks are read in its sense, and its flips are used.
        flips: classes of the only rater that turn into a twin class at random, as words for
            `plurimask.data.flipping.parse_flips`. By default those of the layout's published task: "street" for
            Cityscapes, else none.

    Raises:
        InputError: the path is no known layout, or its content does not fit together.
    """
    path = Path(path)
    stored = None if expected is None else without_flips(expected)
    found = _find(path, stored)
    if expected is not None and found.description.channel_names != expected.channel_names:
        raise InputError(
            f"{path}: the channels are {', '.join(found.description.channel_names)}, the run was trained on "
            f"{', '.join(expected.channel_names)}: give images with those channels, in this order"
        )
    if expected is not None:
        law = law_of(expected)
    else:
        words = DEFAULT_FLIPS.get(found.description.layout, (NONE,)) if flips is None else flips
        law = parse_flips(words, found.description.class_names)
    return with_flips(_split(found, path, group, seed, stored_split), law)


def _split(
    found: Found, path: Path, group: str | None, seed: int, stored_split: Mapping[str, Sequence[str]] | None
) -> DataSource:
    sets = dict(found.sets)
    if group is not None:
        sets = {split: _regrouped(examples, group) for split, examples in sets.items()}
    if UNSPLIT not in sets:
        return DataSource(found.description, {split: sets[split] for split in SPLITS if split in sets}, drawn=False)
    everything = sets[UNSPLIT]
    if stored_split is not None and set(everything.names).isdisjoint(chain.from_iterable(stored_split.values())):
        return DataSource(found.description, {WHOLE: everything}, drawn=False)
    indices = _draw(everything, seed, path) if stored_split is None else apply_split(everything.names, stored_split)
    return DataSource(
        found.description, {split: Selection(everything, part) for split, part in indices.items()}, drawn=True
    )


def _draw(examples: ExampleSet, seed: int, path: Path) -> dict[str, list[int]]:
    try:
        return draw_split(examples.groups, seed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _regrouped(examples: ExampleSet, pattern: str) -> Selection:
    return Selection(examples, range(len(examples)), group_names(examples.names, pattern))


def _find(path: Path, expected: DataDescription | None) -> Found:
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder: check the path")
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise InputError(f"{path}: a single file, looked for {_LOOKED_FOR}: give the folder that holds the data")
        return open_arrays({UNSPLIT: path}, read_dataset_file(path.parent), expected)
    if is_cityscapes(path):
        return open_cityscapes(path, expected)
    declared = read_dataset_file(path)
    folders = split_folders(path)
    if folders and all(is_lidc_crops(folder) for folder in folders.values()):
        return open_layout(read_lidc_crops(folders), declared, expected)
    if any(is_folder_layout(folder) for folder in folders.values()):
        _refuse_both(path, folders)
        return open_layout(read_folder(folders, declared), declared, expected)
    if is_folder_layout(path):
        return open_layout(read_folder({UNSPLIT: path}, declared), declared, expected)
    if is_lidc_crops(path):
        return open_layout(read_lidc_crops({UNSPLIT: path}), declared, expected)
    if any(is_yeast(folder) for folder in folders.values()):
        _refuse_both(path, folders)
        return open_yeast(folders, expected)
    if is_yeast(path):
        return open_yeast({UNSPLIT: path}, expected)
    files = _npz_files(path)
    if files:
        return open_arrays(files, declared, expected)
    inside = "".join(f"; {folder.name}/ holds {contents(folder)}" for folder in folders.values())
    raise InputError(
        f"{path}: not recognised as a data set: looked for {_LOOKED_FOR}; found {contents(path)}{inside}: "
        "bring the files into one of these layouts"
    )


def split_folders(path: Path) -> dict[str, Path]:
    """The folders of the splits in `path`, in the order of `SPLITS`.

    Raises:
        InputError: one split is there under two names.
    """
    return _one_each(
        {split: [path / name for name in names if (path / name).is_dir()] for split, names in _SPELLINGS.items()}
    )


def _npz_files(path: Path) -> dict[str, Path]:
    """The `.npz` file of each split, or the only one there is."""
    files = _one_each(
        {
            split: [path / f"{name}.npz" for name in names if (path / f"{name}.npz").is_file()]
            for split, names in _SPELLINGS.items()
        }
    )
    everything = sorted(path.glob("*.npz"))
    return {UNSPLIT: everything[0]} if not files and len(everything) == 1 else files


def _one_each(candidates: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    for found in candidates.values():
        if len(found) > 1:
            raise InputError(f"{found[0]} and {found[1]} are the same split: keep one of them")
    return {split: found[0] for split, found in candidates.items() if found}


def _refuse_both(path: Path, folders: Mapping[str, Path]) -> None:
    if is_folder_layout(path) or is_yeast(path):
        names = ", ".join(folder.name for folder in folders.values())
        labels = "masks" if is_folder_layout(path) else "instances"
        raise InputError(
            f"{path}: {labels}/ lies beside split folders ({names}): move it into one of them, or give one of them"
        )
