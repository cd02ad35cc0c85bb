"""Which images of a folder of predictions are finished: a record in each image's folder, written last.

A record says with what the image was predicted (run, seed, settings, version) and from which state of its files. An
image is done again if anything of that has changed or a file is missing; what is half-written has no record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from plurimask.data import Example, ExampleSet, ImageSet
from plurimask.errors import InputError, shown
from plurimask.files.writing import is_temporary, is_within, refuse_unwritable, remove_temporaries, replace_file
from plurimask.prediction.records import FOLDER as TILES

RECORD = "finished.json"
MARKER = "predictions.json"
"""In the folder of all predictions: with what they are made."""
TABLE, INDEX = "uncertainty.csv", "index.html"
PART_TABLES = "uncertainty.part-*-of-*.csv"
"""Until the table of all images is there."""
PAGES = (TABLE, INDEX)
"""Of all images: there only while every image is finished."""

Stamp = list[list[int]] | str
"""Size and time of change of each file of an image; of an image in memory a digest."""
MadeWith = Mapping[str, Any]
"""What an image's files depend on beside the image, as JSON knows it."""


def stamp_of(images: ImageSet | ExampleSet, index: int) -> Stamp:
    """The state of what an image is read from."""
    files = images.files(index)
    if files:
        return [[about.st_size, about.st_mtime_ns] for about in map(os.stat, files)]
    found = images[index]
    digest = hashlib.sha256()
    for values in (found.image, found.labels) if isinstance(found, Example) else (found,):
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:32]


def begin(out: Path, name: str) -> Path:
    """The folder of an image whose files are about to be written: what speaks of it as finished goes.

    Raises:
        InputError: the image's name leads out of the folder.
    """
    folder = out / name
    if not is_within(folder, out):
        raise InputError(f"{name!r} is no name for a folder in {out}: rename the image")
    for path in (*(out / page for page in PAGES), folder / RECORD):
        path.unlink(missing_ok=True)
    if folder.is_dir():
        remove_temporaries(folder, ())
    return folder


def finish(folder: Path, made_with: MadeWith, stamp: Stamp, row: Mapping[str, Any]) -> None:
    """Record that all files of an image are there. `row` is what the table of all images says of it."""
    there = [one.name for one in os.scandir(folder) if one.is_file() or one.name.endswith(".zarr")]
    files = sorted(name for name in there if name != RECORD and not is_temporary(name))
    known = {name: None if value != value else value for name, value in row.items()}  # JSON has no NaN
    content = {"made_with": dict(made_with), "image": stamp, "files": files, "row": known}
    replace_file(folder / RECORD, json.dumps(content, ensure_ascii=False).encode())


def record_of(folder: Path) -> dict[str, Any] | None:
    """The record of a finished image; None if there is none that can be read."""
    try:
        content = json.loads((folder / RECORD).read_bytes())
        complete = isinstance(content, dict) and {"made_with", "image", "files", "row"} <= content.keys()
    except (OSError, ValueError, RecursionError):
        return None
    return content if complete else None


def why_not(folder: Path, made_with: MadeWith, stamp: Stamp) -> str | None:
    """Why an image has to be predicted, in words; None: it is finished, "" if nothing of it is there."""
    content = record_of(folder)
    if content is None:
        return "were not written to their end" if folder.is_dir() and any(os.scandir(folder)) else ""
    if changed := differences(content["made_with"], made_with):
        return f"were made with other settings ({changed[0]})" if changed[0] != "run" else "are of another run"
    if content["image"] != stamp:
        return "have another image file now"
    there = {one.name for one in os.scandir(folder)}
    if TILES in there:
        return "were not written to their end"
    return None if there.issuperset(map(str, content["files"])) else "have lost a file"


def differences(found: Any, expected: MadeWith) -> list[str]:
    """The names of what differs, in the order of `expected`."""
    known = found if isinstance(found, dict) else {}
    return [name.replace("_", " ") for name, value in expected.items() if name not in known or known[name] != value]


def mark(out: Path, made_with: MadeWith) -> None:
    """Say in the folder of all predictions with what those are made that are written from now on."""
    if _marker(out) != made_with:
        replace_file(out / MARKER, json.dumps(dict(made_with), indent=2).encode())


def claim(out: Path, made_with: MadeWith, overwrite: bool, is_alone: bool) -> None:
    """Make sure that predictions with these settings may be written into `out`, beside what is there.

    Args:
        is_alone: whether no other part of the same cohort may be writing there now.

    Raises:
        InputError: nothing can be written there, or it holds other files, or predictions with other settings, and may
            not be overwritten.
    """
    refuse_unwritable(out)
    if out.is_file():
        raise InputError(f"--out {out}: a file; give the name of a folder")
    found = _marker(out)
    entries = [] if not out.is_dir() else [one.name for one in os.scandir(out) if not is_temporary(one.name)]
    if found is None and entries and not overwrite and MARKER not in entries:
        raise InputError(f"{out} holds files already: give another --out, or --overwrite to replace it")
    changed = differences(found, made_with) if MARKER in entries else []
    if changed and not overwrite:
        name = changed[0].replace(" ", "_")
        was = shown(found.get(name)) if isinstance(found, dict) else "unknown"
        what = "of another run" if name == "run" else f"with {changed[0]} {was}, not {shown(made_with[name])}"
        raise InputError(
            f"{out} holds predictions {what}: give another --out, or --overwrite to predict those images again"
        )
    if is_alone and out.is_dir():
        remove_temporaries(out, ())


def _marker(out: Path) -> Any:
    with suppress(OSError, ValueError, RecursionError):
        return json.loads((out / MARKER).read_bytes())
    return None


def outcome_words(reasons: Sequence[str | None], part_words: str = "") -> list[str]:
    """What is said of skipped images, and of those that are done again and why."""
    skipped = sum(reason is None for reason in reasons)
    lines = []
    if skipped:
        lines.append(
            f"{skipped:,} of {len(reasons):,} images{part_words} are finished, with the same run, settings and image "
            "file: they are skipped"
        )
    counts: dict[str, int] = {}
    for reason in filter(None, reasons):
        counts[reason] = counts.get(reason, 0) + 1
    lines += [f"predicted again: {count:,} whose predictions {reason}" for reason, count in counts.items()]
    return lines
