"""A mask that a person chose, written in the values of the data's masks, with a record of what was chosen. Nothing is
written over without being asked to, and what was written can be undone."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from plurimask.data import DataDescription
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.files.reading import is_there, parse_json, require_file
from plurimask.files.writing import is_within, replace_file
from plurimask.prediction.rasters import write_png
from plurimask.prediction.whole import mask_values
from plurimask.viewer.errors import Answer, Exists, NotFound
from plurimask.viewer.latents import LIMIT, MAX_DRAWS

MAX_UNDO = 64
"""Saves that can be undone."""
_Number = Annotated[int, Field(ge=0, lt=4096)]


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SampleChoice(_Choice):
    """One sample as it is."""

    kind: Literal["sample"]
    sample: _Number


class ReadingChoice(_Choice):
    """The sample that stands for a reading."""

    kind: Literal["reading"]
    reading: _Number


class MeanChoice(_Choice):
    """The most likely classes of the mean; with a threshold, those of all but the background where it is reached."""

    kind: Literal["mean"]
    threshold: float | None = Field(None, ge=0, le=1)


class JoinedChoice(_Choice):
    """Where any, or every, sample has something."""

    kind: Literal["union", "intersection"]
    samples: tuple[_Number, ...] | None = Field(None, min_length=1, max_length=4096)


class LatentChoice(_Choice):
    """What is decoded at a point of the plane of latents."""

    kind: Literal["latent"]
    x: float = Field(ge=-LIMIT, le=LIMIT)
    y: float = Field(ge=-LIMIT, le=LIMIT)
    base: _Number | None = None


class ScalesChoice(_Choice):
    """What is decoded from draws of each scale."""

    kind: Literal["scales"]
    levels: tuple[Annotated[int, Field(ge=0, lt=MAX_DRAWS)] | None, ...] = Field(min_length=1, max_length=16)


Choice = Annotated[
    SampleChoice | ReadingChoice | MeanChoice | JoinedChoice | LatentChoice | ScalesChoice, Field(discriminator="kind")
]


def chosen_map(
    choice: SampleChoice | ReadingChoice | MeanChoice | JoinedChoice,
    samples: NDArray[np.uint8],
    likely: NDArray[np.uint8],
    mean: NDArray[np.uint16],
    medoids: Sequence[int],
    has_background: bool,
) -> NDArray[np.uint8]:
    """The label map `(h, w)` that a choice stands for.

    Args:
        choice: what was chosen.
        samples: `(N, h, w)`.
        likely: `(h, w)`, the label map of the mean.
        mean: `(C, h, w)`, class probabilities in 65,535ths, as they are sent.
        medoids: the sample that stands for each reading.
        has_background: whether class 0 is one.

    Raises:
        NotFound: there is no such sample or reading.
        Answer: a threshold or a union needs a background class.
    """
    if isinstance(choice, SampleChoice):
        return _one(samples, choice.sample, "sample")
    if isinstance(choice, ReadingChoice):
        _require(choice.reading, len(medoids), "reading")
        return _one(samples, medoids[choice.reading], "sample")
    if isinstance(choice, MeanChoice):
        if choice.threshold is None:
            return likely
        if not has_background:
            raise Answer("a threshold needs a background class, which these data do not have: leave it out")
        marked = 65535 - mean[0].astype(np.int64) >= choice.threshold * 65535
        return np.where(marked, 1 + mean[1:].argmax(0), 0).astype(np.uint8)
    for number in choice.samples or ():
        _require(number, len(samples), "sample")
    own = samples if choice.samples is None else samples[list(choice.samples)]
    return _joined(own, len(mean), choice.kind == "union", has_background)


def _one(samples: NDArray[np.uint8], number: int, what: str) -> NDArray[np.uint8]:
    _require(number, len(samples), what)
    chosen: NDArray[np.uint8] = samples[number]
    return chosen


def _require(number: int, count: int, what: str) -> None:
    if number >= count:
        raise NotFound(f"there is no {what} {number}: they are numbered 0 to {count - 1}")


def _joined(own: NDArray[np.uint8], num_classes: int, is_union: bool, has_background: bool) -> NDArray[np.uint8]:
    if not has_background:
        if is_union:
            raise Answer("a union needs a background class, which these data do not have: choose a sample or the mean")
        return np.where((own == own[:1]).all(0), own[0], IGNORE).astype(np.uint8)
    votes = np.stack([(own == index).sum(0) for index in range(1, num_classes)])
    marked = votes.sum(0) >= (1 if is_union else len(own))
    return np.where(marked, 1 + votes.argmax(0), 0).astype(np.uint8)


@dataclass(frozen=True)
class Saved:
    """A mask that was written here."""

    number: int
    """Of the image."""
    choice: Mapping[str, Any]
    file: str


@dataclass(frozen=True)
class _Step:
    """What it takes to undo one."""

    token: int
    number: int
    name: str
    before: tuple[bytes | None, bytes | None]
    """The contents of mask and record, None where there was none."""
    written: tuple[str, str]
    """Digests of what was written."""
    saved_before: Saved | None


class Saving:
    """The folder of masks that were chosen.

    Args:
        folder: may not be there yet; nothing is written anywhere else.
        about: in whose mask values is written.
    """

    def __init__(self, folder: Path, about: DataDescription) -> None:
        self.folder, self.about = folder, about
        self._saved: dict[int, Saved] = {}
        self._steps: list[_Step] = []
        self._next = 1
        self._lock = threading.Lock()

    def saved(self, number: int) -> Saved | None:
        """What was saved of an image since the start."""
        return self._saved.get(number)

    def save(
        self, number: int, name: str, labels: NDArray[np.uint8], record: Mapping[str, Any], overwrite: bool
    ) -> dict[str, Any]:
        """Write a mask `(H, W)` of class indices, and its record, whose "choice" is what was chosen.

        Raises:
            Exists: there is a mask of this name, and `overwrite` is false.
            InputError: the name leads out of the folder, or nothing can be written there.
        """
        mask, beside = self._paths(name)
        stream = io.BytesIO()
        write_png(stream, mask_values(self.about)[labels])
        told = {"image": name, "mask": mask.name, **record, "saved": _now()}
        contents = stream.getvalue(), json.dumps(told, indent=2, ensure_ascii=False).encode()
        with self._lock:
            before = _content(mask), _content(beside)
            if not overwrite and before != (None, None):
                raise Exists(f"{self.file_name(mask)} is there already", exists=True, choice=_choice_of(before[1]))
            saved = Saved(number, record["choice"], self.file_name(mask))
            replace_file(mask, contents[0])
            replace_file(beside, contents[1])
            digests = _digest(contents[0]), _digest(contents[1])
            self._steps.append(_Step(self._next, number, name, before, digests, self._saved.get(number)))
            del self._steps[:-MAX_UNDO]
            self._next += 1
            self._saved[number] = saved
            return {"file": saved.file, "record": self.file_name(beside), "undo": self._next - 1}

    def undo(self, token: int | None) -> dict[str, Any]:
        """Bring the files back to what they were before a save: the last one, or that of a token.

        Raises:
            Exists: there is none to undo, or the files were changed since.
        """
        with self._lock:
            step = next((one for one in reversed(self._steps) if token in (None, one.token)), None)
            if step is None:
                raise Exists("there is nothing to undo")
            paths = self._paths(step.name)
            now = [_content(path) for path in paths]
            if [None if content is None else _digest(content) for content in now] != list(step.written):
                raise Exists(f"{self.file_name(paths[0])} was changed since: it is left as it is")
            for path, content in zip(paths, step.before, strict=True):
                if content is None:
                    path.unlink()
                else:
                    replace_file(path, content)
            self._steps.remove(step)
            if step.saved_before is None:
                self._saved.pop(step.number, None)
            else:
                self._saved[step.number] = step.saved_before
            return {"image": step.number, "restored": step.before[0] is not None, "left": len(self._steps)}

    def file_name(self, path: Path) -> str:
        """Of a file in the folder, for people."""
        return path.relative_to(self.folder).as_posix()

    def _paths(self, name: str) -> tuple[Path, Path]:
        """Of the mask and the record of an image."""
        mask = self.folder / f"{name}.png"
        if not is_within(mask, self.folder) or not mask.is_relative_to(self.folder):
            raise InputError(f"{name!r} is no name for a file in {self.folder}: rename the image")
        return mask, mask.with_name(f"{mask.name.removesuffix('.png')}.json")


def _content(path: Path) -> bytes | None:
    """Of a file; None if there is nothing of this name."""
    if not is_there(path):
        return None
    require_file(path)
    return path.read_bytes()


def _choice_of(record: bytes | None) -> Any:
    """What an earlier record says was chosen; None if it says nothing that can be read."""
    try:
        return None if record is None else parse_json(record.decode(), "the record", "")["choice"]
    except (InputError, UnicodeDecodeError, KeyError, TypeError):
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
