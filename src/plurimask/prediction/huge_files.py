"""What is written beside the arrays of a large image: figures from sums over its tiles, and from a coarser level."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.files.writing import replace_file
from plurimask.metrics.distance import mean_of_pairs
from plurimask.prediction.files import (
    Outputs,
    Written,
    drawn,
    groups_content,
    readings_content,
    uncertainty_of,
    with_null,
)
from plurimask.prediction.huge import MEAN, OBJECT_PIXELS, OTHERS, SHOWN_PIXELS, HugePrediction
from plurimask.prediction.huge_tiles import HugeTiles
from plurimask.prediction.omezarr import Maps, describe_labels, label_metadata, remove_unfinished
from plurimask.prediction.outlines import geojson
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.readings import Reading, readings_of, rule
from plurimask.prediction.records import TileRecords
from plurimask.prediction.tiles import TilePlan
from plurimask.sets.distance import overlaps_of

OUTLINED_PIXELS = 2**22
"""Outlines are traced on the finest level of so many pixels."""

Colours = Mapping[int, Sequence[int]]
"""Of each class index R, G, B from 0 to 255."""


class _Sums:
    """The sums over all tiles."""

    def __init__(self, records: TileRecords, plan: TilePlan) -> None:
        tiles = list(records.read_all("tile", len(plan)))
        totals = {name: np.sum([one[name] for one in tiles], axis=0) for name in ("areas", "shared", "nats")}
        self.areas: NDArray[np.int64] = totals["areas"]
        self.shared, self.nats = torch.from_numpy(totals["shared"]), totals["nats"]
        together = np.concatenate([one["digests"] for one in tiles], axis=1)
        self.digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in together]
        self.dice, self.iou = overlaps_of(self.shared, len(self.digests))

    @property
    def order(self) -> list[int]:
        return sorted(range(len(self.digests)), key=self.digests.__getitem__)

    def same(self) -> list[list[int]]:
        """The numbers of equal samples, most frequent first."""
        groups: dict[bytes, list[int]] = {}
        for number, digest in enumerate(self.digests):
            groups.setdefault(digest, []).append(number)
        return sorted(groups.values(), key=lambda members: (-len(members), members))


def finish_huge(tiles: HugeTiles, outputs: Outputs, colours: Colours) -> Written:
    """Coarser levels, metadata, outlines and the JSON files of an image whose tiles are all recorded."""
    prediction, folder, records, plan = tiles.prediction, tiles.folder, tiles.records, tiles.cut.plan
    remove_unfinished(folder)
    arrays, description = prediction.arrays(folder, plan), prediction.description
    _describe(prediction, arrays, folder, colours)
    sums = _Sums(records, plan)
    readings = readings_of(
        (1 - sums.iou).numpy(), sums.areas, description.counted_classes, sums.order, outputs.readings
    )
    small = _small(prediction, arrays, prediction.level_of(SHOWN_PIXELS))
    small = replace(small, image=_picture(prediction, records, plan))
    files = [f"{MEAN}/labels/{label}" for label in prediction.labels()[1:]]
    shown = [files[one.medoid] for one in readings]
    full = replace(small, pixel_size=prediction.image.pixel_size)
    content = readings_content(readings, files, full, description, shown)
    uncertainty = _uncertainty(prediction, arrays, sums, outputs)
    areas = dict(enumerate(sums.areas))
    for name, one in (
        ("readings", {**content, "rule": rule(outputs.readings)}),
        ("samples", drawn(prediction.sampling) | groups_content(sums.same(), areas, files, description)),
        ("uncertainty", with_null(uncertainty)),
    ):
        replace_file(folder / f"{name}.json", json.dumps(one, indent=2, ensure_ascii=False).encode())
    if len(prediction.size) == 2:
        _outline(prediction, arrays, readings, folder, colours)
    return Written(small, readings, uncertainty)


def _describe(prediction: HugePrediction, arrays: Mapping[str, Maps], folder: Path, colours: Colours) -> None:
    description = prediction.description
    values = [description.class_values[index] for index in colours]
    names = [description.class_names[index] for index in colours]
    about = label_metadata(values, names, [colours[index] for index in colours])
    for name, maps in arrays.items():
        is_label = name not in (MEAN, *OTHERS)
        maps.make_levels(is_label)
        channels = [{"label": one, "color": "FFFFFF", "active": True} for one in description.class_names]
        of_planes = {"omero": {"channels": channels}} if maps.num_planes else {}
        maps.describe(name.removesuffix(".ome.zarr"), about if is_label else of_planes)
    describe_labels(folder / MEAN, prediction.labels())


def _small(prediction: HugePrediction, arrays: Mapping[str, Maps], level: int) -> Predicted:
    """The maps on a level, without the image."""
    size, description = prediction.layout.level_size(level), prediction.description
    classes = np.full(2**16, 255, np.uint8)
    classes[list(description.class_values)] = np.arange(description.num_classes)
    mask, *samples = prediction.labels()
    maps = {name: np.asarray(one.levels[level][:]) for name, one in arrays.items() if name != mask}
    nats, shared, variance = (maps[name].astype(np.float32) for name in OTHERS)
    return Predicted(
        prediction.image.name,
        np.zeros((0, *size), np.float32),
        np.stack([classes[maps[name]] for name in samples]),
        maps[MEAN].astype(np.float32),
        nats,
        tuple(slice(0, length) for length in size),
        size,
        shared,
        variance,
        None,
        prediction.sampling,
    )


def _picture(prediction: HugePrediction, records: TileRecords, plan: TilePlan) -> NDArray[np.float32]:
    """The image in small, from what each tile has kept of it."""
    level = prediction.level_of(SHOWN_PIXELS)
    shape = prediction.image.reader.shape[0], *prediction.layout.level_size(level)
    factors, image = prediction.factors(level), np.zeros(shape, np.float32)
    for tile, record in zip(plan, records.read_all("tile", len(plan)), strict=True):
        box = (slice(s.start // step, -(-s.stop // step)) for s, step in zip(tile.core, factors, strict=True))
        image[(slice(None), *box)] = record["picture"]
    return image


def _uncertainty(
    prediction: HugePrediction, arrays: Mapping[str, Maps], sums: _Sums, outputs: Outputs
) -> dict[str, Any]:
    """Scores of the image from sums over all of its pixels, those of objects from a coarser level."""
    level = prediction.level_of(OBJECT_PIXELS)
    factors = prediction.factors(level)
    of_pixel, small = math.prod(factors), _small(prediction, arrays, level)
    content = uncertainty_of(small, prediction.description, max(1, round(outputs.least_object / of_pixel)))
    nats, pixels, nats_marked, marked = sums.nats.tolist()
    content |= {
        "expected_dice": mean_of_pairs(sums.dice),
        "mean_entropy": nats / pixels,
        "foreground_entropy": nats_marked / marked if marked else math.nan,
        "least_object": outputs.least_object,
    }
    for one in content["objects"]:
        one["num_pixels"] *= of_pixel
        one["bounding_box"] = [
            [first * step, min(last * step, length)]
            for (first, last), step, length in zip(one["bounding_box"], factors, prediction.size, strict=True)
        ]
    note = f"objects and specks are of level {level}, on which a pixel is for {' x '.join(map(str, factors))}"
    return {**content, "level": level, "note": note if level else "all of it is of all pixels"}


def _outline(
    prediction: HugePrediction,
    arrays: Mapping[str, Maps],
    readings: Sequence[Reading],
    folder: Path,
    colours: Colours,
) -> None:
    """`mask.geojson`, and one for each reading."""
    layout, description = prediction.layout, prediction.description
    level = next(
        (one for one in range(layout.num_levels) if math.prod(layout.level_size(one)) <= OUTLINED_PIXELS),
        layout.num_levels - 1,
    )
    values = {index: int(description.class_values[index]) for index in description.counted_classes}
    names = {value: description.class_names[index] for index, value in values.items()}
    colour_of = {value: colours[index] for index, value in values.items()}
    mask, *samples = prediction.labels()
    shown = {"mask": mask, **{f"reading-{place + 1}": samples[one.medoid] for place, one in enumerate(readings)}}
    for name, label in shown.items():
        labels: NDArray[Any] = np.asarray(arrays[label].levels[level][:])
        what = f"{name}, outlined on level {level}" if level else name
        replace_file(folder / f"{name}.geojson", geojson(labels, names, colour_of, prediction.factors(level), what))
