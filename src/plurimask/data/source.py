"""Recognises what kind of data set a path is, and opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from plurimask.data.example import DataDescription, DataSource, ExampleSet, NotADataSet, Patterns
from plurimask.data.flipping import NONE, law_of, parse_flips, with_flips, without_flips
from plurimask.data.known import FileStates
from plurimask.data.layouts import cityscapes
from plurimask.data.layouts.cityscapes import is_cityscapes, open_cityscapes
from plurimask.data.layouts.dataset_json import MASKS as MASK_READINGS
from plurimask.data.layouts.dataset_json import DatasetFile, read_dataset_file
from plurimask.data.layouts.files import UNSPLIT, Found, Layout, open_layout
from plurimask.data.layouts.folder import IMAGES, MASKS, is_folder_layout, read_folder
from plurimask.data.layouts.globs import read_globs
from plurimask.data.layouts.lidc_crops import is_lidc_crops, read_lidc_crops
from plurimask.data.layouts.listing import Unread, contents, find_images, subfolders, unreadable
from plurimask.data.layouts.nnunet import is_nnunet, read_nnunet
from plurimask.data.layouts.npz import open_arrays
from plurimask.data.layouts.splits import SPLITS, by_split, note_others, split_folders
from plurimask.data.layouts.yeast import is_yeast, open_yeast
from plurimask.data.split import Selection, apply_split, draw_split, group_names
from plurimask.errors import InputError
from plurimask.files.reading import refuse_special

WHOLE = "all"
"""The only split of data without split folders that no split was stored for."""

_LOOKED_FOR = (
    "[SPLIT/]images/ with [SPLIT/]masks/ (SPLIT: train, val, test), images/SPLIT/ with masks/SPLIT/, train.npz with "
    "val.npz, one .npz file, imagesTr/ with labelsTr/ (nnU-Net), SPLIT/images/ with SPLIT/gt/ (LIDC crops), "
    "leftImg8bit/ with gtFine/ (Cityscapes), and [SPLIT/]inputs/ with [SPLIT/]instances/ and [SPLIT/]classes/ "
    "(trapped yeast)"
)


@dataclass(frozen=True)
class Place:
    """Where data lie and how their masks are read, where a path alone does not say it."""

    path: Path
    """The folder or file; with patterns, the folder that they start from, and in which `dataset.json` lies."""
    read_as: str | None = None
    """"foreground": every value of a mask but 0 is the foreground, as in instance masks; "values". By default as
    `dataset.json` says, else "values"."""
    images: str | None = None
    """A pattern for the files of images, such as "scans/*/image.png", in place of a known layout. By default the
    patterns that a run was trained with, if there are any; "none" for a known layout all the same."""
    masks: Mapping[str, str] = field(default_factory=dict)
    """Rater to a pattern for the files of their masks; what `*` and `**` stand for pairs them with the images."""
    keep: bool = True
    """Whether decoded files are kept in memory, as far as there is room: not by who reads each of them once."""
    states: FileStates | None = None
    """Where the sizes and times of change of files are kept, for who looks at all of them again at once."""


DEFAULT_FLIPS: dict[str, tuple[str, ...]] = {cityscapes.LAYOUT: ("street",)}
"""The flips of the layouts whose published task has some; all others have none."""


def open_data(
    path: Path | str | Place,
    *,
    group: str | None = None,
    seed: int = 0,
    stored_split: Mapping[str, Sequence[str]] | None = None,
    expected: DataDescription | None = None,
    flips: Sequence[str] | None = None,
) -> DataSource:
    """The data set at `path`: a folder in one of the known layouts, or an `.npz` file.

    All masks and the headers of all images are read here, so that what does not fit together is found at once; of
    Cityscapes, which is large, only the names of the files are. What an earlier call has read is known
    (`plurimask.data.known`), which is said in the notes.

    Args:
        path: the folder or file, or what a path alone does not say.
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
        NotADataSet: the path is no known layout.
        InputError: its content does not fit together.
    """
    place = path if isinstance(path, Place) else Place(Path(path))
    path = place.path
    stored = None if expected is None else without_flips(expected)
    try:
        found = _find(place, stored)
    except OSError as error:
        raise unreadable(error) from error
    if expected is not None and found.description.channel_names != expected.channel_names:
        raise InputError(
            f"{path}: the channels are {', '.join(found.description.channel_names)}, the run was trained on "
            f"{', '.join(expected.channel_names)}: give images with those channels, in this order"
        )
    if expected is not None and found.description.spatial_dims != expected.spatial_dims:
        kinds = {2: "pictures", 3: "volumes"}
        raise InputError(
            f"{path}: {kinds[found.description.spatial_dims]}, the run was trained on {kinds[expected.spatial_dims]}: "
            "give data like those"
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
    notes = found.notes
    kept = {split: sets[split] for split in SPLITS if split in sets}
    if UNSPLIT not in sets and ("train" not in sets or "val" in sets):
        return DataSource(found.description, kept, drawn=False, notes=notes)
    everything = sets[UNSPLIT if UNSPLIT in sets else "train"]
    if stored_split is not None and UNSPLIT not in sets:
        stored_split = {split: stored_split[split] for split in ("train", "val") if split in stored_split}
    foreign = stored_split is not None and set(everything.names).isdisjoint(chain.from_iterable(stored_split.values()))
    if UNSPLIT not in sets and (foreign or (stored_split is None and len(set(everything.groups)) < 2)):
        return DataSource(found.description, kept, drawn=False, notes=notes)
    if foreign:
        return DataSource(found.description, {WHOLE: everything}, drawn=False, notes=notes)
    indices = _draw(everything, seed, path) if stored_split is None else apply_split(everything.names, stored_split)
    drawn: dict[str, ExampleSet] = {split: Selection(everything, part) for split, part in indices.items()}
    if UNSPLIT not in sets:
        count = len(drawn.get("val", ()))
        notes = (*notes, f"there is no split val: {count} of the {len(everything)} images of train were drawn for it")
        drawn |= {split: examples for split, examples in kept.items() if split not in drawn}
    if stored_split is None and group is None:
        notes = (*notes, *_torn_folders(everything))
    return DataSource(found.description, drawn, drawn=True, notes=notes)


def _torn_folders(examples: ExampleSet) -> list[str]:
    """A note where images lie in folders, several in one, and nothing says that these belong together."""
    folders = [name.partition("/")[0] for name in examples.names if "/" in name]
    if len(folders) < len(examples) or not 1 < len(set(folders)) < len(folders) or examples.groups != examples.names:
        return []
    return [
        f"images of one folder, such as {folders[0]}/, are in train and in val: if a folder is a patient, keep it "
        "together by --group '^[^/]+'"
    ]


def _draw(examples: ExampleSet, seed: int, path: Path) -> dict[str, list[int]]:
    try:
        return draw_split(examples.groups, seed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _regrouped(examples: ExampleSet, pattern: str) -> Selection:
    return Selection(examples, range(len(examples)), group_names(examples.names, pattern))


def _find(place: Place, expected: DataDescription | None) -> Found:
    path, masks = place.path, place.read_as
    if masks not in (None, *MASK_READINGS):
        raise InputError(f"masks are read as {masks!r}, expected {' or '.join(MASK_READINGS)}")
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder: check the path")
    refuse_special(path)
    declared = _declared(path if path.is_dir() else path.parent, masks)
    opening = declared, expected, place.keep, place.states
    patterns = _patterns(place, expected)
    if patterns is not None:
        return open_layout(_read_patterns(patterns, place, declared), *opening)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise NotADataSet(f"{path}: a single file, looked for {_LOOKED_FOR}: give the folder that holds the data")
        return open_arrays({UNSPLIT: path}, declared, expected)
    folders = split_folders(path)
    if is_cityscapes(path):
        _refuse_read_as(place, "Cityscapes")
        return open_cityscapes(path, expected)
    if is_nnunet(path):
        return open_layout(read_nnunet(path, declared), *opening)
    if folders and all(is_lidc_crops(folder) for folder in folders.values()):
        return _noted(path, folders, open_layout(read_lidc_crops(folders), *opening))
    if any(is_folder_layout(folder) for folder in folders.values()):
        _refuse_both(path, folders)
        return _noted(path, folders, open_layout(read_folder(folders, declared), *opening))
    if is_folder_layout(path):
        return open_layout(read_folder({UNSPLIT: path}, declared), *opening)
    if is_lidc_crops(path):
        return open_layout(read_lidc_crops({UNSPLIT: path}), *opening)
    if any(is_yeast(folder) for folder in folders.values()):
        _refuse_both(path, folders)
        _refuse_read_as(place, "trapped yeast")
        return _noted(path, folders, open_yeast(folders, expected))
    if is_yeast(path):
        _refuse_read_as(place, "trapped yeast")
        return open_yeast({UNSPLIT: path}, expected)
    files = _npz_files(path)
    if files:
        return _noted(path, files, open_arrays(files, declared, expected))
    rename = _rename(path)
    inside = "".join(f"; {folder.name}/ holds {contents(folder)}" for folder in folders.values())
    unread = Unread()
    find_images(path, unread)
    raise NotADataSet(
        f"{path}: not recognised as a data set: looked for {_LOOKED_FOR}; found {contents(path)}{inside}: "
        f"{unread.hint()}{rename}bring the files into one of these layouts, or name them by patterns "
        "(--images and --masks)"
    )


def _patterns(place: Place, expected: DataDescription | None) -> Patterns | None:
    """Those of `place`, or else those that a run was trained with."""
    if place.masks and place.images in (None, NONE):
        raise InputError("patterns for masks, but none for the images: give both (--images and --masks)")
    if place.images is None:
        return expected.patterns if expected is not None and place.path.is_dir() else None
    return None if place.images == NONE else Patterns(images=place.images, masks=dict(place.masks))


def _read_patterns(patterns: Patterns, place: Place, declared: DatasetFile) -> Layout:
    try:
        return read_globs(patterns, place.path, declared.channel_names)
    except InputError as error:
        if place.images is not None:
            raise
        raise InputError(
            f"{error}; the patterns are those that the run was trained with: give others by --images and --masks, or "
            "--images none for folders images/ and masks/"
        ) from error


def _refuse_read_as(place: Place, layout: str) -> None:
    if place.read_as is not None:
        raise InputError(
            f"{place.path}: {layout}, whose masks have one meaning: they cannot be read as {place.read_as}"
        )


def _rename(path: Path) -> str:
    """What to call the folder of the masks, where that is all that is missing; else empty."""
    others = [folder for folder in subfolders(path) if folder.name != IMAGES]
    if len(others) != 1 or not (path / IMAGES).is_dir() or not find_images(others[0]):
        return ""
    return f"if {others[0].name}/ holds the masks, call it {MASKS}/; else "


def _declared(folder: Path, masks: str | None) -> DatasetFile:
    declared = read_dataset_file(folder)
    return declared if masks is None else replace(declared, masks=masks)


def _npz_files(path: Path) -> dict[str, Path]:
    """The `.npz` file of each split, or the only one there is."""
    everything = sorted(path.glob("*.npz"))
    return by_split(everything) or ({UNSPLIT: everything[0]} if len(everything) == 1 else {})


def _noted(path: Path, splits: Mapping[str, Path], found: Found) -> Found:
    """`found`, with a note on what lies beside the splits and is not read."""
    unread = Unread()
    note_others(path, [split.name for split in splits.values()], unread, among_splits=True)
    further = [file for file in sorted(path.glob("*.npz")) if file not in splits.values()]
    for file in further:
        unread.endings[f".npz ({file.name})"] += 1
    return replace(found, notes=(*found.notes, *unread.notes()))


def _refuse_both(path: Path, folders: Mapping[str, Path]) -> None:
    if is_folder_layout(path) or is_yeast(path):
        names = ", ".join(folder.name for folder in folders.values())
        labels = "masks" if is_folder_layout(path) else "instances"
        raise InputError(
            f"{path}: {labels}/ lies beside split folders ({names}): move it into one of them, or give one of them"
        )
