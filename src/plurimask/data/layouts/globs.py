"""Any tree of files: one pattern for the images and one for each rater's masks.

    images  scans/*/t1/*.png         masks  anna = scans/*/anna/*_mask.tif

What the wildcards of two patterns stand for pairs a mask with its image, and is its name: scans/p1/t1/7.png and
scans/p1/anna/7_mask.tif are p1/7.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from plurimask.data.example import Patterns
from plurimask.data.layouts.dataset_json import COLOURS_NAME, FILE_NAME
from plurimask.data.layouts.files import UNSPLIT, FileItem, Layout
from plurimask.data.layouts.folder import IMAGES, MASKS, SINGLE_RATER
from plurimask.data.layouts.listing import Unread, ending, readable, walk_images
from plurimask.errors import InputError, shown
from plurimask.files.reading import read_json
from plurimask.files.writing import is_within

_WILDCARD = re.compile(r"(\*\*/|\*\*|\*|\?)")
MAX_DEEP, MAX_STARS = 4, 8
"""Each more multiplies the ways in which a name may be matched."""
_WILDCARDS = {"**/": "((?:[^/]+/)*)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}


def masks_by_rater(words: Sequence[str]) -> dict[str, str]:
    """Rater to pattern, of words such as "anna=masks/anna/*.png"; a pattern alone is that of the only rater.

    Raises:
        InputError: a rater occurs twice, or several patterns have no rater.
    """
    found: dict[str, str] = {}
    for word in words:
        rater, _, pattern = word.partition("=") if "=" in word else (SINGLE_RATER * (len(words) == 1), "", word)
        if rater in found or not rater or not pattern:
            raise InputError(
                f"{word}: expected each rater once, with a pattern, as in anna=masks/anna/*.png (--masks takes all "
                "words up to the next option)"
            )
        found[rater] = pattern
    return found


def read_globs(patterns: Patterns, root: Path, channel_names: tuple[str, ...] | None = None) -> Layout:
    """The files that the patterns match; images without any mask are left out, and said.

    Args:
        patterns: relative to `root` or absolute. `*` stands for a part of one name, `**/` for any folders; those of
            masks have as many wildcards as that of the images.
        root: the folder that the patterns start from.
        channel_names: if they are declared.

    Raises:
        InputError: a pattern matches nothing, or two files have the same name, or a mask has no image.
    """
    images, masks = patterns.images, patterns.masks
    if not masks:
        raise InputError("no pattern for masks: give one for each rater, such as anna=masks/anna/*.png")
    unread = Unread()
    found = find_matching(images, root, unread)
    by_rater = {rater: find_matching(pattern, root, unread) for rater, pattern in masks.items()}
    for rater, files in by_rater.items():
        for key, path in files.items():
            if key not in found:
                raise InputError(
                    f"{path}: a mask of {rater} without an image: {masks[rater]!r} has {'/'.join(key)}, "
                    f"{images!r} has {', '.join('/'.join(each) for each in list(found)[:3])}, ...: let the wildcards "
                    "stand for the same parts of the names"
                )
    items, without = [], []
    for key, path in found.items():
        name, of_one = "/".join(key), tuple(files.get(key) for files in by_rater.values())
        if any(of_one):
            items.append(FileItem(name, name, (path,), of_one))
        else:
            without.append(name)
    notes = list(unread.notes())
    if without:
        notes.append(f"{len(without)} of {len(found)} images have no mask and were left out: {', '.join(without[:3])}")
    return Layout("patterns", {UNSPLIT: items}, tuple(masks), channel_names, tuple(notes), patterns)


def import_layout(layout: Layout, out: Path, root: Path, read_as: str | None = None) -> int:
    """Copies the files of `layout` into the plain folder layout at `out`; the number of images.

    `dataset.json` and `labelmap.txt` of `root` go with them; `read_as` is written into the former ("foreground").

    Raises:
        InputError: `out` holds files already.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: not empty: give a new folder")
    for split, items in layout.items.items():
        base = out / split
        for item in items:
            for number, path in enumerate(item.images):
                channel = IMAGES if len(item.images) == 1 else (layout.channel_names or ())[number]
                _copy(path, base / channel / f"{item.name}{_ending(path)}", out)
            for rater, mask in zip(layout.rater_names, item.masks, strict=True):
                folder = base / MASKS if layout.rater_names == (SINGLE_RATER,) else base / MASKS / rater
                if mask is not None:
                    _copy(mask, folder / f"{item.name}{_ending(mask)}", out)
    for name in (FILE_NAME, COLOURS_NAME):
        if (root / name).is_file():
            _copy(root / name, out / name, out)
    if read_as is not None:
        declared = read_json(out / FILE_NAME, "correct it") if (out / FILE_NAME).is_file() else {}
        (out / FILE_NAME).write_text(json.dumps({**declared, "masks": read_as}, indent=2) + "\n", encoding="utf-8")
    return sum(map(len, layout.items.values()))


def _copy(source: Path, target: Path, out: Path) -> None:
    """A file, or the folder of a series."""
    if not is_within(target, out):
        raise InputError(f"{target}: lies outside of {out}: give the rater a plain name")
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def _ending(path: Path) -> str:
    return "" if path.is_dir() else ending(path.name)


def find_matching(pattern: str, root: Path, unread: Unread) -> dict[tuple[str, ...], Path]:
    """What the wildcards of `pattern` stand for, to the file.

    Raises:
        InputError: it has no wildcard, or matches nothing, or two files that it does not tell apart.
    """
    start = _WILDCARD.search(pattern)
    if start is None:
        raise InputError(f"the pattern {pattern!r} has no wildcard: write * for what differs between images, in quotes")
    names = pattern.replace("**", "").split("/")
    if pattern.count("**") > MAX_DEEP or any(name.count("*") > MAX_STARS for name in names):
        raise InputError(
            f"the pattern {shown(pattern)} has too many wildcards, expected {MAX_DEEP} of ** and {MAX_STARS} of * in "
            "one name at most: write more of the names"
        )
    base = root / pattern[: start.start()].rpartition("/")[0]
    expression = re.compile("".join(_WILDCARDS.get(part, re.escape(part)) for part in _WILDCARD.split(pattern)))
    found: dict[tuple[str, ...], Path] = {}
    for path, is_image in walk_images(base):
        name = path.as_posix() if pattern.startswith("/") else path.relative_to(root).as_posix()
        match = expression.fullmatch(readable(name))
        if match is None:
            continue
        if not is_image:
            unread.endings[ending(path.name) or "without ending"] += 1
            continue
        key = [part.rstrip("/") for part in match.groups() if part.rstrip("/")]
        if path.is_file() and path.name.lower().endswith(
            key[-1].lower()
        ):  # the last wildcard stands for the ending too
            key[-1] = key[-1][: -len(ending(path.name))]
        if tuple(key) in found:
            raise InputError(f"{path} and {found[tuple(key)]} are both {'/'.join(key)}: keep one of the two")
        found[tuple(key)] = path
    if not found:
        raise InputError(f"the pattern {pattern!r} matches no image below {base}: correct it (and quote it in a shell)")
    return dict(sorted(found.items()))
