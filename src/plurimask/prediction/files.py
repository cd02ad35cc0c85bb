"""Plausible masks of new images, as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.data import DataDescription
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.files.writing import replace_file, replacing, table_bytes
from plurimask.metrics import ImageUncertainty, image_uncertainty, object_scores
from plurimask.metrics.maps import label_map_of
from plurimask.metrics.uncertainty import count_specks
from plurimask.prediction.finished import TABLE, begin
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.rasters import write_png, write_stack, write_tiff
from plurimask.prediction.readings import Reading, class_areas, find_readings, rule, same_maps

COLUMNS = ("name", *ImageUncertainty._fields, "num_objects")
"""Of the table with a row per image."""

LEAST_OBJECT = 9
"""Pixels: smaller connected parts of the most likely map are specks, and get no score of their own."""

_STALE = ("sample-*.png", "reading-*.png", "samples.tif")


@dataclass(frozen=True)
class Outputs:
    """What is written beside the files that every prediction has."""

    stack: bool = False
    """Whether samples are written as one TIFF of several pages too."""
    least_object: int = LEAST_OBJECT
    readings: int | None = None
    """How many at most; None: one to five, by the samples' energy distance."""

    def __post_init__(self) -> None:
        if self.least_object < 1:
            raise InputError(f"objects of at least {self.least_object} pixels were asked for: give 1 or more")
        if self.readings is not None and self.readings < 1:
            raise InputError(f"{self.readings} readings were asked for: give 1 or more")


@dataclass(frozen=True)
class Written:
    """One image whose files lie there."""

    predicted: Predicted
    readings: list[Reading]
    uncertainty: dict[str, Any]
    """The content of `uncertainty.json`, NaN where a score does not exist."""


def write_predictions(
    predictions: Iterator[Predicted],
    description: DataDescription,
    out: Path,
    on_image: Callable[[Written], object],
    outputs: Outputs = Outputs(),
) -> None:
    """`write_prediction` of each image, and `out/uncertainty.csv` of all of them, written at the end.

    The table has the image scores, a row per image in the order of names, "nan" where they do not exist.

    Raises:
        InputError: as there.
    """
    rows: list[dict[str, Any]] = []
    for predicted in predictions:
        written = write_prediction(predicted, description, out, outputs)
        rows.append(row_of(written))
        on_image(written)
    write_table(out, sorted(rows, key=lambda one: str(one["name"])))


def write_prediction(
    predicted: Predicted, description: DataDescription, out: Path, outputs: Outputs = Outputs()
) -> Written:
    """The files of one image, in the folder `out/NAME`; what speaks of it as finished goes before.

    In the folder: `reading-1.png` ... with `readings.json` (`plurimask.prediction.readings`), `sample-00.png` ...,
    `mask.png`, `mean.tif`, `entropy.tif`, `mutual_information.tif`, `variance.tif`, `samples.json` and
    `uncertainty.json`: in the image's height and width and the values of the data set's masks; with
    `outputs.stack` also `samples.tif`, a page a sample. The maps are float32: `mean.tif` `(C, H, W)`, class
    probabilities; `variance.tif` `(C, H, W)`, their variance over samples; the others `(H, W)`, nats. The TIFFs are
    OME-TIFFs with the names of the classes, and the size of a pixel where the image has it. What lies outside the
    window of a run with a centre crop is background; where the data have none it is not judged, and NaN in the maps.

    `uncertainty.json` has the scores of `ImageUncertainty`, and of each object of the most likely map those of
    `ObjectScore`, in positions of the image; scores are of the window, and null where they do not exist. Parts of
    fewer than `least_object` pixels are specks, of which only the number is told.

    Raises:
        InputError: an image's name leads out of the folder, or a file cannot be written.
    """
    folder = begin(out, predicted.name)
    for stale in [path for pattern in _STALE for path in folder.glob(pattern)]:
        stale.unlink()
    counted = description.counted_classes
    readings = find_readings(predicted.samples, counted, description.num_classes, outputs.readings)
    files = _write_masks(predicted, readings, description, folder, outputs.stack)
    _write_maps(predicted, description, folder)
    uncertainty = uncertainty_of(predicted, description, outputs.least_object)
    for name, content in (
        ("readings", {**readings_content(readings, files, predicted, description), "rule": rule(outputs.readings)}),
        ("samples", _drawn(predicted.sampling) | samples_content(predicted.samples, files, description)),
        ("uncertainty", _with_null(uncertainty)),
    ):
        replace_file(folder / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False).encode())
    return Written(predicted, readings, uncertainty)


def row_of(written: Written) -> dict[str, Any]:
    """What the table of all images says of one."""
    return {"name": written.predicted.name, **{name: written.uncertainty[name] for name in COLUMNS[1:]}}


def write_table(out: Path, rows: Iterable[Mapping[str, Any]], name: str = TABLE) -> None:
    """`out/uncertainty.csv`, or a file of another name, of rows of `COLUMNS`, in their order."""
    replace_file(out / name, table_bytes(rows, COLUMNS))


# ---- masks and maps -----------------------------------------------------------------------------------------------


def _write_masks(
    predicted: Predicted, readings: Sequence[Reading], description: DataDescription, folder: Path, stack: bool
) -> list[str]:
    """Samples, readings and the most likely map, one after the other; returns the names of the samples' files."""
    values, outside = mask_values(description), 0 if description.has_background else IGNORE
    samples = predicted.samples

    def whole(labels: NDArray[np.uint8]) -> NDArray[Any]:
        stored: NDArray[Any] = values[_whole(labels, predicted, outside)]
        return stored

    digits = max(2, len(str(len(samples) - 1)))
    files = [f"sample-{number:0{digits}d}.png" for number in range(len(samples))]
    shown = {file: samples[number] for number, file in enumerate(files)}
    shown |= {_reading_file(place): samples[one.medoid] for place, one in enumerate(readings)}
    shown["mask.png"] = label_map_of(torch.as_tensor(predicted.mean)).numpy()
    for file, labels in shown.items():
        with replacing(folder / file) as stream:
            write_png(stream, whole(labels))
    if stack:
        with replacing(folder / "samples.tif") as stream:
            write_stack(stream, map(whole, samples), len(samples), predicted.size, predicted.pixel_size)
    return files


def _reading_file(place: int) -> str:
    return f"reading-{place + 1}.png"


def _write_maps(predicted: Predicted, description: DataDescription, folder: Path) -> None:
    """Maps of the whole image: outside the window surely background, or NaN where there is none."""
    nothing = 0.0 if description.has_background else np.nan
    surely = np.full((len(predicted.mean), 1, 1), nothing)
    if description.has_background:
        surely[0] = 1
    outside: dict[str, Any] = {"mean": surely, "entropy": nothing, "mutual_information": nothing, "variance": nothing}
    for name, around in outside.items():
        own = getattr(predicted, name)
        with replacing(folder / f"{name}.tif") as stream:
            planes = description.class_names if own.ndim == 3 else ()
            write_tiff(stream, _whole(own, predicted, around), predicted.pixel_size, planes)


def mask_values(description: DataDescription) -> NDArray[Any]:
    """The value in mask files of each label from 0 to 255: `(256,)`, uint8 or uint16."""
    ignored = IGNORE if description.ignore_value is None else description.ignore_value
    values = np.full(IGNORE + 1, ignored)
    values[: description.num_classes] = description.class_values
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)


def _whole(values: NDArray[Any], predicted: Predicted, outside: float | NDArray[Any]) -> NDArray[Any]:
    return whole_map(values, predicted.window, predicted.size, outside)


def whole_map(
    values: NDArray[Any], window: tuple[slice, slice], size: tuple[int, int], outside: float | NDArray[Any]
) -> NDArray[Any]:
    """Values `(..., h, w)` of the window -> `(..., H, W)` of the image of this size, `outside` around them."""
    if values.shape[-2:] == size:
        return values
    whole = np.full((*values.shape[:-2], *size), outside, dtype=values.dtype)
    whole[..., *window] = values
    return whole


# ---- what is said about them --------------------------------------------------------------------------------------


def readings_content(
    readings: Sequence[Reading], files: Sequence[str], predicted: Predicted, description: DataDescription
) -> dict[str, Any]:
    """The content of `readings.json`: areas are the fewest and the most pixels of a class in one of the samples."""
    size = predicted.pixel_size if predicted.pixel_size and predicted.pixel_size.is_measured else None
    rows = []
    for place, one in enumerate(readings):
        pixels = dict(zip(description.class_names, map(list, one.areas), strict=True))
        row: dict[str, Any] = {
            "file": _reading_file(place),
            "share": one.share,
            "medoid": files[one.medoid],
            "samples": [files[number] for number in one.members],
            "mean_distance": one.mean_distance,
            "pixels": pixels,
        }
        if size:
            row["areas"] = {name: [area * size.height * size.width for area in two] for name, two in pixels.items()}
        rows.append(row)
    content: dict[str, Any] = {"num_samples": len(files), "num_readings": len(readings), "readings": rows}
    return {**content, **({"pixel_size": size._asdict(), "area_unit": f"{size.unit}²"} if size else {})}


def _drawn(sampling: Sampling | None) -> dict[str, Any]:
    """How samples were drawn, where that is known."""
    if sampling is None:
        return {}
    return {"seed": sampling.seed, "draws": "spread" if sampling.spread else "independent"}


def samples_content(samples: NDArray[np.uint8], files: Sequence[str], description: DataDescription) -> dict[str, Any]:
    """The content of `samples.json`: the distinct maps among samples `(N, H, W)`, the most frequent first."""
    distinct = [
        {
            "file": files[members[0]],
            "count": len(members),
            "frequency": len(members) / len(samples),
            "samples": [files[number] for number in members],
            "pixels": dict(
                zip(
                    description.class_names,
                    class_areas(samples[members[0]], description.num_classes).tolist(),
                    strict=True,
                )
            ),
        }
        for members in same_maps(samples)
    ]
    return {"num_samples": len(samples), "num_distinct": len(distinct), "distinct": distinct}


def uncertainty_of(
    predicted: Predicted, description: DataDescription, least_object: int = LEAST_OBJECT
) -> dict[str, Any]:
    """The content of `uncertainty.json`, NaN where a score does not exist."""
    counted = description.counted_classes
    samples, mean, nats = map(torch.as_tensor, (predicted.samples, predicted.mean, predicted.entropy))
    objects = object_scores(samples, mean, nats, counted, least_object)
    starts = np.array([[side.start] for side in predicted.window])
    rows = []
    for one in objects:
        row = {"class": description.class_names[one.class_index], **one._asdict()}
        del row["class_index"]
        rows.append({**row, "bounding_box": (starts + one.bounding_box).tolist()})
    image = image_uncertainty(samples, mean, counted)._asdict()
    specks = {"least_object": least_object, "num_specks": count_specks(mean, counted, least_object)}
    return {**image, "num_objects": len(objects), **specks, "objects": rows}


def _with_null(content: dict[str, Any]) -> dict[str, Any]:
    """None in place of NaN, which JSON does not know and which alone differs from itself."""
    return {
        name: [_with_null(part) for part in one] if name == "objects" else None if one != one else one
        for name, one in content.items()
    }
