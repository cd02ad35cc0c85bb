"""The images of a report as pictures that the page lays out itself, as the viewer does: each once, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib import colormaps
from matplotlib.colors import to_hex

from plurimask.figures.cells import (
    Cell,
    ImageCells,
    ReadingCell,
    Scales,
    image_cells,
    information_peak,
    uncertainty_cells,
)
from plurimask.figures.errors import ErrorRow
from plurimask.figures.page import Classes
from plurimask.figures.planes import is_volume
from plurimask.figures.samples import entropy_peak
from plurimask.prediction.readings import class_areas
from plurimask.report.content import ReportContent
from plurimask.report.html import data_uri
from plurimask.report.words import area_words, class_words, headline, percent, size_words

_STOPS = 6  # colours of a scale


@dataclass(frozen=True)
class Picture:
    """One cell for the page."""

    address: str
    """A data URI."""
    caption: str
    ruler: dict[str, Any] | None


class ReadingLine(NamedTuple):
    """A reading as the page lists it."""

    share: str
    words: str
    area: str
    percent: float
    """The length of its bar."""
    address: str
    """A data URI, of its medoid in small."""
    samples: list[tuple[str, Picture]]
    """Its members with their anchors, the medoid first."""


def classes_of(content: ReportContent) -> Classes:
    """The classes of the run's data, and how each is drawn."""
    about = content.record.data
    return Classes(tuple(about.class_names), about.has_background)


def image_blocks(content: ReportContent) -> Iterator[dict[str, Any]]:
    """For each image that the report shows, the ranks of the best first: what the page shows of it.

    Samples are unfolded for the images that are evenly spread over the ranking.
    """
    rows = {row.name: row for row in (*content.spread, *content.best, *content.worst)}
    scores = {row["name"]: row for row in content.evaluation.rows}
    ranking = sorted((row["ged"], name) for name, row in scores.items() if not math.isnan(row["ged"]))
    ranks = {name: rank for rank, (_, name) in enumerate(ranking, 1)}
    open_names = {row.name for row in content.spread}
    classes = classes_of(content)
    for number, name in enumerate(sorted(rows, key=lambda name: ranks.get(name, math.inf)), 1):
        made = image_cells(rows[name], classes)
        readings = _reading_lines(rows[name], made, classes, f"image-{number}")
        disagreement = 1 - float(scores[name]["expected_dice"])
        yield {
            "name": name,
            "headline": headline([one.words == "nothing" for one in readings], disagreement),
            "summary": _summary(rows[name].caption, disagreement, classes),
            "rank": f"rank {ranks[name]} of {len(ranks)}" if name in ranks else "",
            "whole": _picture(made.whole),
            "contours": _picture(made.contours),
            "key": made.key,
            "raters": [_picture(cell) for cell in made.raters],
            "num_raters": made.num_raters,
            "readings": readings,
            "num_shown": sum(len(one.samples) for one in readings),
            "num_samples": len(rows[name].samples),
            "is_open": name in open_names,
        }


def _summary(caption: str, disagreement: float, classes: Classes) -> str:
    overlap = "" if math.isnan(disagreement) else f"Two samples overlap by {percent(1 - disagreement)} (Dice)"
    return ". ".join(part for part in (overlap, caption) if part) + "." * bool(overlap or caption)


def _reading_lines(row: ErrorRow, made: ImageCells, classes: Classes, anchor: str) -> list[ReadingLine]:
    areas = [class_areas(row.samples[one.reading.medoid], len(classes.names)) for one in made.readings]
    if classes.is_binary:
        words = size_words([int(own[1]) for own in areas])
    else:
        words = class_words([own.tolist() for own in areas], classes.names)
    return [_reading_line(one, word, row, classes, anchor) for one, word in zip(made.readings, words, strict=True)]


def _reading_line(one: ReadingCell, words: str, row: ErrorRow, classes: Classes, anchor: str) -> ReadingLine:
    reading = one.reading
    has_area = classes.is_binary and words != "nothing"
    return ReadingLine(
        percent(reading.share),
        words,
        area_words(reading.areas[1], row.pixel_size, "voxels" if is_volume(row) else "px") if has_area else "",
        round(100 * reading.share, 2),
        data_uri(one.picture, "webp"),
        [(f"{anchor}-sample-{number + 1}", _picture(cell)) for number, cell in one.samples],
    )


def unsure_blocks(content: ReportContent) -> Iterator[dict[str, Any]]:
    """For each of the images that are evenly spread over the ranking, maps of where the method is unsure."""
    if not content.spread:
        return
    classes, scales = classes_of(content), scales_of(content)
    for row in content.spread:
        yield {"name": row.name, "cells": [_picture(cell) for cell in uncertainty_cells(row, classes, scales)]}


def scales_of(content: ReportContent) -> Scales:
    """The ends of the scales of entropy and mutual information, for all images of the page."""
    return Scales(entropy_peak(content.spread, classes_of(content)), information_peak(content.spread))


def _picture(cell: Cell) -> Picture:
    bar = None if cell.ruler is None else {"words": cell.ruler.words, "percent": round(100 * cell.ruler.share, 2)}
    return Picture(data_uri(cell.picture, "webp"), cell.caption, bar)


def scale_legend(content: ReportContent) -> list[tuple[str, str, str]]:
    """For each scale of colours: what it shows, its end, and the colours as a CSS gradient."""
    if not content.spread:
        return []
    scales = [("probability", "1", "viridis")] if classes_of(content).is_binary else []
    ends = scales_of(content)
    scales.append(("entropy", f"{ends.entropy:.2g} nats", "magma"))
    scales.append(("mutual information", f"{ends.information:.2g} nats", "magma"))
    return [(what, top, _gradient(cmap)) for what, top, cmap in scales]


def _gradient(cmap: str) -> str:
    colours = [to_hex(colormaps[cmap](stop / (_STOPS - 1))) for stop in range(_STOPS)]
    return f"linear-gradient(90deg, {', '.join(colours)})"


def class_legend(content: ReportContent) -> list[tuple[str, str]]:
    """Names and colours of the classes, where there are several."""
    return [(name, to_hex(colour)) for name, colour in classes_of(content).legend()]
