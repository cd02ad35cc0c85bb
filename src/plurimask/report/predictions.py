"""One self-contained HTML page about predicted images, the most uncertain first: thumbnails with their readings."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from matplotlib.colors import to_hex

from plurimask.errors import InputError
from plurimask.figures.page import Classes
from plurimask.figures.planes import main_plane
from plurimask.figures.rows import GridRow
from plurimask.figures.samples import area_range, measure_of, share_of_samples
from plurimask.figures.thumbnails import thumbnails
from plurimask.files.writing import replace_file, replacing
from plurimask.prediction.files import Written
from plurimask.prediction.finished import INDEX
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.readings import Reading
from plurimask.report.html import data_uri, template

ENTRY = "thumbnails.json"
"""In the folder of an image: what the page shows of it."""
PAGE_ROWS = 100
"""Images that are shown at a time."""
MAX_IMAGES = 5_000
"""On one page, some 60 MB: of more, the most uncertain."""
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


def write_entry(folder: Path, entry: IndexEntry) -> None:
    """What the page shows of an image, into the image's folder: `read_entry` is the way back."""
    content = entry._asdict() | {"pictures": [base64.b64encode(one).decode() for one in entry.pictures]}
    if math.isnan(entry.expected_dice):
        content["expected_dice"] = None
    replace_file(folder / ENTRY, json.dumps(content, ensure_ascii=False).encode())


def read_entry(folder: Path) -> IndexEntry:
    """What `write_entry` wrote.

    Raises:
        InputError: it is not there or damaged.
    """
    try:
        content = json.loads((folder / ENTRY).read_bytes())
        content["pictures"] = tuple(base64.b64decode(one) for one in content["pictures"])
        content["captions"] = tuple(map(str, content["captions"]))
        agreement = content["expected_dice"]
        return IndexEntry(**content | {"expected_dice": math.nan if agreement is None else float(agreement)})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / ENTRY}: missing or damaged: remove {folder} and predict again") from error


def build_index(entries: Sequence[IndexEntry], page: IndexPage) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere.

    Images are in the order of their uncertainty: those whose samples agree least first; of equals, or where there is
    one sample, those of the highest entropy.
    """
    ordered = sorted(entries, key=lambda one: certainty(one.expected_dice, one.mean_entropy, one.name))
    return "".join(_index_parts(ordered, page, len(ordered)))


def write_index(out: Path, names: Sequence[str], page: IndexPage) -> None:
    """`out/index.html` of images in the order of their certainty, from what `write_entry` wrote for each; one image at
    a time is held in memory. Of more than `MAX_IMAGES` names the first ones are shown.

    Raises:
        InputError: as `read_entry`, or the page cannot be written.
    """
    entries = (read_entry(out / name) for name in names[:MAX_IMAGES])
    with replacing(out / INDEX) as stream:
        for part in _index_parts(entries, page, len(names)):
            stream.write(part.encode())


def _index_parts(entries: Iterable[IndexEntry], page: IndexPage, num_images: int) -> Iterator[str]:
    return template("report", "predictions.html").generate(
        page=page,
        num_images=num_images,
        most=MAX_IMAGES,
        rows=map(_row, entries),
        legend=[(name, to_hex(shade)) for name, shade in page.classes.legend()],
        page_rows=PAGE_ROWS,
    )


def certainty(expected_dice: float, mean_entropy: float, name: str) -> tuple[float, float, str]:
    """What images are ordered by: those whose samples agree least first."""
    return 1.0 if math.isnan(expected_dice) else expected_dice, -mean_entropy, name


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
