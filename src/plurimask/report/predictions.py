"""One self-contained HTML page about predicted images, the most uncertain first: thumbnails with their readings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from matplotlib.colors import to_hex

from plurimask.figures.page import Classes
from plurimask.figures.planes import main_plane
from plurimask.figures.rows import GridRow
from plurimask.figures.samples import area_range, measure_of, share_of_samples
from plurimask.figures.thumbnails import thumbnails
from plurimask.prediction.files import Written
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.readings import Reading
from plurimask.report.html import data_uri, template

INDEX = "index.html"
PAGE_ROWS = 100
"""Images that are shown at a time."""
_SIDES = ((300, 160), (1000, 112), (math.inf, 72))


class IndexEntry(NamedTuple):
    """What the page shows of one image: some kilobytes, where its maps have the size of the image."""

    name: str
    pictures: tuple[bytes, ...]
    """The image, and one of each reading, as WebP."""
    captions: tuple[str, ...]
    """Of each reading."""
    expected_dice: float
    """NaN for a single sample."""
    mean_entropy: float
    """Nats per pixel."""
    num_objects: int


@dataclass(frozen=True)
class IndexPage:
    """What holds for all images of the page."""

    run: str
    """Its name."""
    method: str
    num_samples: int
    classes: Classes
    spread: bool = False
    """Whether the draws are spread evenly."""


def thumbnail_side(num_images: int) -> int:
    """The longer side of thumbnails, pixels: smaller for many images, so that a page of 5,000 has some 60 MB."""
    return next(side for most, side in _SIDES if num_images <= most)


def index_entry(written: Written, classes: Classes, side: int) -> IndexEntry:
    """An image and its readings in small."""
    predicted, readings, scores = written.predicted, written.readings, written.uncertainty
    whole = row_of(predicted)
    row = main_plane(whole, classes.counted)
    maps = [row.samples[one.medoid] for one in readings]
    return IndexEntry(
        predicted.name,
        tuple(thumbnails(row.image, maps, classes, side)),
        tuple(reading_caption(one, classes, measure_of(whole)) for one in readings),
        scores["expected_dice"],
        scores["mean_entropy"],
        scores["num_objects"],
    )


def row_of(predicted: Predicted) -> GridRow:
    """What is drawn of a predicted image."""
    maps = predicted.samples, predicted.mean, predicted.entropy
    return GridRow(predicted.name, predicted.image, None, *maps, pixel_size=predicted.pixel_size)


def reading_caption(reading: Reading, classes: Classes, measure: tuple[str, float] = ("pixels", 1.0)) -> str:
    """Its share of the samples, and the range of its areas: "62 %, 120 to 155 pixels"."""
    return ", ".join(filter(None, (share_of_samples(reading), area_range(reading, classes, measure))))


def build_index(entries: Sequence[IndexEntry], page: IndexPage) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere.

    Images are in the order of their uncertainty: those whose samples agree least first; of equals, or where there is
    one sample, those of the highest entropy.
    """
    return template("report", "predictions.html").render(
        page=page,
        rows=[_row(entry) for entry in sorted(entries, key=_certainty)],
        legend=[(name, to_hex(shade)) for name, shade in page.classes.legend()],
        page_rows=PAGE_ROWS,
    )


def _certainty(entry: IndexEntry) -> tuple[float, float, str]:
    agreement = 1.0 if math.isnan(entry.expected_dice) else entry.expected_dice
    return agreement, -entry.mean_entropy, entry.name


def _row(entry: IndexEntry) -> dict[str, Any]:
    image, *readings = (data_uri(picture, "webp") for picture in entry.pictures)
    return {
        "name": entry.name,
        "folder": quote(entry.name) + "/",
        "image": image,
        "readings": list(zip(readings, entry.captions, strict=True)),
        "agreement": "-" if math.isnan(entry.expected_dice) else f"{entry.expected_dice:.2f}",
        "entropy": f"{entry.mean_entropy:.3f}",
        "num_objects": entry.num_objects,
    }
