"""What an evaluation has found of each image, kept on disk until all are evaluated: no image is evaluated twice.

A file of lines of JSON for each call: a first line says what was evaluated and how, then a line per image. A line that
was not written to its end is not read. The sums of an image are kept as they were computed, in float64, so that the
totals of an evaluation in several calls equal those of one to the last bit.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plurimask.data.example import ExampleSet
from plurimask.errors import InputError
from plurimask.evaluation.evaluate import Evaluation, ScoredImage
from plurimask.files.writing import remove
from plurimask.metrics import (
    CalibrationBins,
    ErrorHistograms,
    PixelSums,
    SegmentationMetrics,
)
from plurimask.metrics.calibration import LogLikelihood
from plurimask.metrics.overlap import ClassOverlap
from plurimask.metrics.scores import ImageEvaluation
from plurimask.metrics.table import Table
from plurimask.prediction.cohort import Part
from plurimask.prediction.finished import MadeWith, Stamp, stamp_of

_ENDING = ".jsonl"


class _Place(NamedTuple):
    path: Path
    offset: int
    stamp: Any


def folder_beside(out: Path) -> Path:
    """Where the records of an evaluation lie until the file `out` is written."""
    return out.with_suffix(".parts")


def has_begun(folder: Path, made_with: MadeWith) -> bool:
    """Whether there are records of this evaluation: an earlier call was allowed to write its outcome."""
    known = json.loads(json.dumps(dict(made_with)))
    return any(_whole_lines(path, known) for path in folder.glob(f"*{_ENDING}"))


class Records:
    """The records of all calls that share in an evaluation; this call adds to a file of its own.

    Args:
        folder: is made if it is not there.
        made_with: what figures depend on beside the images. Records of another evaluation are not used.
    """

    def __init__(self, folder: Path, made_with: MadeWith, part: Part) -> None:
        self.folder, self.made_with = folder, json.loads(json.dumps(dict(made_with)))
        self.own = folder / f"{part.number}-of-{part.total}{_ENDING}"
        self.num_foreign = 0
        """Files of another evaluation."""
        self._places: dict[str, list[_Place]] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Records:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = _whole_lines(self.own, self.made_with)
            self._file = self.own.open("ab" if whole else "wb")
            if whole:
                self._file.truncate(whole)
            else:
                self._write(self.made_with)
        except OSError as error:
            raise InputError(f"{self.own}: could not be written ({error.strerror}): give another --out") from error
        self.look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()

    def look(self) -> None:
        """Read which images are recorded by now, by all calls."""
        self._places, self.num_foreign = {}, 0
        for path in sorted(self.folder.glob(f"*{_ENDING}")):
            if not _whole_lines(path, self.made_with):
                self.num_foreign += 1
                continue
            for offset, content in _lines(path):
                if isinstance(content, dict) and {"name", "image", "scores", "sums"} <= content.keys():
                    places = self._places.setdefault(str(content["name"]), [])
                    places.append(_Place(path, offset, content["image"]))

    def missing(self, examples: ExampleSet, indices: Iterable[int]) -> list[int]:
        """Those examples that are not evaluated in the state in which their files are now."""
        missing = []
        for index in indices:
            name = examples.names[index]
            stamp = stamp_of(examples, index) if name in self._places else None
            if fitting := [place for place in self._places.get(name, ()) if place.stamp == stamp]:
                self._places[name] = fitting
            else:
                missing.append(index)
        return missing

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Record images, as `content_of` gives them."""
        for content in lines:
            self._write(content)

    def __getitem__(self, name: str) -> ScoredImage:
        place = self._places[name][0]
        with place.path.open("rb") as stream:
            stream.seek(place.offset)
            return scored_of(json.loads(stream.readline()))

    def remove(self) -> None:
        """Remove the files, and the folder if nothing else is in it: the evaluation is written."""
        for path in self.folder.glob(f"*{_ENDING}"):
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            remove(self.folder)

    def _write(self, content: Mapping[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"{self.own}: could not be written ({error.strerror})") from error


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The whole lines of a file with the places where they begin; what is no JSON is left out."""
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                with suppress(ValueError, RecursionError):
                    yield offset, json.loads(line)
            offset += len(line)


def _whole_lines(path: Path, made_with: MadeWith) -> int:
    """How many bytes of a file are whole lines; 0 if it is not of this evaluation."""
    if not path.is_file():
        return 0
    size = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            try:
                if not number and json.loads(line) != made_with:
                    return 0
            except (ValueError, RecursionError):
                return 0
            size += len(line) if line.endswith(b"\n") else 0
    return size


def content_of(scored: ScoredImage, stamp: Stamp) -> dict[str, Any]:
    """An image as JSON: `scored_of` is the way back, to the last bit."""
    sums = scored.evaluation.sums
    tensors = [torch.stack(list(sums.calibration)), sums.errors.stacked(), torch.stack(list(sums.classes))]
    return {
        "name": scored.name,
        "image": stamp,
        "scores": scored.evaluation.scores,
        "likelihood": [sums.likelihood.total, sums.likelihood.num_labels],
        "counted_classes": list(sums.counted_classes),
        "sums": [_packed(one) for one in tensors],
        "volumes": [dict(row) for row in scored.volumes],
        "flips": None if scored.flip_counts is None else _packed(scored.flip_counts),
    }


def scored_of(content: Mapping[str, Any]) -> ScoredImage:
    """What `content_of` was made from."""
    calibration, errors, classes = map(_unpacked, content["sums"])
    total, num_labels = content["likelihood"]
    sums = PixelSums(
        CalibrationBins(*calibration),
        LogLikelihood(total, num_labels),
        ErrorHistograms.from_stacked(errors),
        ClassOverlap(*classes),
        tuple(content["counted_classes"]),
    )
    flips = None if content["flips"] is None else _unpacked(content["flips"])
    return ScoredImage(str(content["name"]), ImageEvaluation(content["scores"], sums), flips, content["volumes"])


def _packed(values: Tensor) -> list[Any]:
    array = values.cpu().numpy()
    return [str(array.dtype), list(array.shape), base64.b64encode(zlib.compress(array.tobytes(), 1)).decode()]


def _unpacked(content: Sequence[Any]) -> Tensor:
    kind, shape, data = content
    return torch.from_numpy(np.frombuffer(zlib.decompress(base64.b64decode(data)), kind).reshape(shape).copy())


def rows_of(images: Iterable[ScoredImage]) -> Iterator[dict[str, Any]]:
    """The rows of the table of images."""
    for one in images:
        yield {"name": one.name, **one.evaluation.scores}


def folded(images: Iterable[ScoredImage], counted_classes: Sequence[int], table: Table) -> Evaluation:
    """The evaluation of images in this order, without rows: one image at a time is held in memory."""
    metrics = SegmentationMetrics(counted_classes, table)
    flips: Tensor | None = None
    for one in images:
        metrics.update([one.evaluation])
        if one.flip_counts is not None:
            flips = one.flip_counts if flips is None else flips + one.flip_counts
    return Evaluation(metrics.compute(), [], metrics.calibration_bins(), metrics.error_histograms(), flips)
