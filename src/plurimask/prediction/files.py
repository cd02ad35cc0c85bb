"""Plausible masks of new images, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.data import DataDescription
from plurimask.data.images.pixel_size import PixelSize
from plurimask.errors import InputError
from plurimask.files.writing import remove, replace_file, replacing
from plurimask.metrics import image_uncertainty, object_scores
from plurimask.metrics.maps import label_map_of
from plurimask.metrics.uncertainty import count_specks
from plurimask.prediction.dicom_seg import write_dicom_seg
from plurimask.prediction.finished import begin
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.rasters import write_png, write_stack, write_tiff
from plurimask.prediction.readings import Reading, class_areas, find_readings, rule, same_maps
from plurimask.prediction.volumes import VolumeFiles, remove_stale
from plurimask.prediction.whole import mask_values, outside_label, outside_maps, whole

LEAST_OBJECT = 9
"""Pixels: smaller connected parts of the most likely map are specks, and get no score of their own."""

STALE = ("sample-*.png", "reading-*.png", "samples.tif", "*.ome.zarr", "*.geojson")
"""What an earlier prediction may have left of which there may be fewer now."""


def clear(folder: Path, patterns: Sequence[str]) -> None:
    """Remove what an earlier prediction has left of an image."""
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        remove(path)
    remove_stale(folder)


@dataclass(frozen=True)
class Outputs:
    """What is written beside the files that every prediction has."""

    stack: bool = False
    """Whether samples are written as one TIFF of several pages too."""
    least_object: int = LEAST_OBJECT
    readings: int | None = None
    """How many at most; None: one to five, by the samples' energy distance."""
    dicom_seg: bool = False
    """Whether the mean of a DICOM series is written as a DICOM segmentation too."""

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

    Of a volume the images are NIfTI files on its own grid, `NAME_sample-00.nii.gz`, `NAME_mean.nii.gz` (the classes on
    the last axis) and so on (`plurimask.prediction.volumes`), and readings have volumes in ml in place of areas.

    `uncertainty.json` has the scores of `ImageUncertainty`, and of each object of the most likely map those of
    `ObjectScore`, in positions of the image; scores are of the window, and null where they do not exist. Parts of
    fewer than `least_object` pixels are specks, of which only the number is told.

    Raises:
        InputError: an image's name leads out of the folder, or a file cannot be written.
    """
    folder = begin(out, predicted.name)
    clear(folder, STALE)
    counted = description.counted_classes
    readings = find_readings(predicted.samples, counted, description.num_classes, outputs.readings)
    if outputs.dicom_seg:
        write_dicom_seg(predicted, description, folder / f"{folder.name}_mean.dcm")
    files, shown = _write_images(predicted, readings, description, folder, outputs.stack)
    uncertainty = uncertainty_of(predicted, description, outputs.least_object)
    for name, content in (
        (
            "readings",
            {**readings_content(readings, files, predicted, description, shown), "rule": rule(outputs.readings)},
        ),
        ("samples", drawn(predicted.sampling) | _distinct(predicted, files, description)),
        ("uncertainty", with_null(uncertainty)),
    ):
        replace_file(folder / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False).encode())
    return Written(predicted, readings, uncertainty)


# ---- masks and maps -----------------------------------------------------------------------------------------------


def _write_images(
    predicted: Predicted, readings: Sequence[Reading], description: DataDescription, folder: Path, stack: bool
) -> tuple[list[str], list[str]]:
    """All masks and maps, in the format of the image; the names of the samples' files, and of the readings'."""
    if len(predicted.size) == 3:
        volume = VolumeFiles(predicted, description, folder)
        files = volume.masks(readings, stack)
        volume.maps()
        return files
    files = _write_masks(predicted, readings, description, folder, stack)
    _write_maps(predicted, description, folder)
    return files


def _write_masks(
    predicted: Predicted, readings: Sequence[Reading], description: DataDescription, folder: Path, stack: bool
) -> tuple[list[str], list[str]]:
    """Samples, readings and the most likely map, one after the other."""
    values, outside, samples = mask_values(description), outside_label(description), predicted.samples

    def stored(labels: NDArray[np.uint8]) -> NDArray[Any]:
        own: NDArray[Any] = values[whole(labels, predicted, outside)]
        return own

    digits = max(2, len(str(len(samples) - 1)))
    of_samples = [f"sample-{number:0{digits}d}.png" for number in range(len(samples))]
    of_readings = [f"reading-{place + 1}.png" for place in range(len(readings))]
    shown = dict(zip(of_samples, samples, strict=True))
    shown |= {file: samples[one.medoid] for file, one in zip(of_readings, readings, strict=True)}
    shown["mask.png"] = label_map_of(torch.as_tensor(predicted.mean)).numpy()
    for file, labels in shown.items():
        with replacing(folder / file) as stream:
            write_png(stream, stored(labels))
    if stack:
        height, width = predicted.size
        with replacing(folder / "samples.tif") as stream:
            write_stack(stream, map(stored, samples), len(samples), (height, width), predicted.pixel_size)
    return of_samples, of_readings


def _write_maps(predicted: Predicted, description: DataDescription, folder: Path) -> None:
    """Maps of the whole image: outside the window surely background, or NaN where there is none."""
    for name, outside in outside_maps(description).items():
        own = getattr(predicted, name)
        with replacing(folder / f"{name}.tif") as stream:
            planes = description.class_names if own.ndim == 3 else ()
            write_tiff(stream, whole(own, predicted, outside), predicted.pixel_size, planes)


# ---- what is said about them --------------------------------------------------------------------------------------


def readings_content(
    readings: Sequence[Reading],
    files: Sequence[str],
    predicted: Predicted,
    description: DataDescription,
    shown: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The content of `readings.json`: areas, or volumes, are the fewest and the most pixels of a class in one of the
    samples. `files` are those of the samples, `shown` those of the readings."""
    size = predicted.pixel_size if predicted.pixel_size and predicted.pixel_size.is_measured else None
    what, unit, of_pixel = _measure(size)
    shown = [f"reading-{place + 1}.png" for place in range(len(readings))] if shown is None else shown
    rows = []
    for file, one in zip(shown, readings, strict=True):
        pixels = dict(zip(description.class_names, map(list, one.areas), strict=True))
        row: dict[str, Any] = {
            "file": file,
            "share": one.share,
            "medoid": files[one.medoid],
            "samples": [files[number] for number in one.members],
            "mean_distance": one.mean_distance,
            "pixels": pixels,
        }
        if size:
            row[f"{what}s"] = {name: [count * of_pixel for count in two] for name, two in pixels.items()}
        rows.append(row)
    content: dict[str, Any] = {"num_samples": len(files), "num_readings": len(readings), "readings": rows}
    if size is None:
        return content
    sides = {side: length for side, length in size._asdict().items() if length is not None}
    return {**content, "pixel_size": sides, f"{what}_unit": unit}


def _measure(size: PixelSize | None) -> tuple[str, str, float]:
    """What is told of a class: area or volume; its unit, and how much of it one pixel or voxel is."""
    if size is None:
        return "area", "", 1.0
    if size.depth is None:
        return "area", f"{size.unit}²", size.height * size.width
    return "volume", "ml", size.millilitres


def voxel_ml(size: PixelSize | None) -> float:
    """Millilitres of one voxel; 0 where that is not known, and of pixels."""
    return 0.0 if size is None or size.depth is None else size.millilitres


def drawn(sampling: Sampling | None) -> dict[str, Any]:
    """How samples were drawn, where that is known."""
    if sampling is None:
        return {}
    return {"seed": sampling.seed, "draws": "spread" if sampling.spread else "independent"}


def _distinct(predicted: Predicted, files: Sequence[str], description: DataDescription) -> dict[str, Any]:
    """The content of `samples.json`, with volumes where the size of a voxel is known."""
    content, ml = samples_content(predicted.samples, files, description), voxel_ml(predicted.pixel_size)
    for row in content["distinct"] if ml else ():
        row["volumes"] = {name: count * ml for name, count in row["pixels"].items()}
    return {**content, **({"volume_unit": "ml"} if ml else {})}


def samples_content(samples: NDArray[np.uint8], files: Sequence[str], description: DataDescription) -> dict[str, Any]:
    """The content of `samples.json`: the distinct maps among samples `(N, H, W)`, the most frequent first."""
    groups = same_maps(samples)
    areas = {members[0]: class_areas(samples[members[0]], description.num_classes) for members in groups}
    return groups_content(groups, areas, files, description)


def groups_content(
    groups: Sequence[Sequence[int]],
    areas: Mapping[int, NDArray[np.int64]],
    files: Sequence[str],
    description: DataDescription,
) -> dict[str, Any]:
    """The same from the numbers of equal samples, and the areas `(C,)` of the first of each group."""
    distinct = [
        {
            "file": files[members[0]],
            "count": len(members),
            "frequency": len(members) / len(files),
            "samples": [files[number] for number in members],
            "pixels": dict(zip(description.class_names, areas[members[0]].tolist(), strict=True)),
        }
        for members in groups
    ]
    return {"num_samples": len(files), "num_distinct": len(distinct), "distinct": distinct}


def uncertainty_of(
    predicted: Predicted, description: DataDescription, least_object: int = LEAST_OBJECT
) -> dict[str, Any]:
    """The content of `uncertainty.json`, NaN where a score does not exist."""
    counted = description.counted_classes
    samples, mean, nats = map(torch.as_tensor, (predicted.samples, predicted.mean, predicted.entropy))
    objects = object_scores(samples, mean, nats, counted, least_object)
    starts = np.array([[side.start] for side in predicted.window])
    ml = voxel_ml(predicted.pixel_size)
    rows = []
    for one in objects:
        row = {"class": description.class_names[one.class_index], **one._asdict()}
        del row["class_index"]
        if ml:
            row["volume_ml"] = one.num_pixels * ml
        rows.append({**row, "bounding_box": (starts + one.bounding_box).tolist()})
    image = image_uncertainty(samples, mean, counted)._asdict()
    specks = {"least_object": least_object, "num_specks": count_specks(mean, counted, least_object)}
    return {**image, "num_objects": len(objects), **specks, "objects": rows}


def with_null(content: dict[str, Any]) -> dict[str, Any]:
    """None in place of NaN, which JSON does not know and which alone differs from itself."""
    return {
        name: [with_null(part) for part in one] if name == "objects" else None if one != one else one
        for name, one in content.items()
    }
