"""What a run predicts for an image, as one bundle for the page, and the scores by which images are sorted."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.data import DataDescription, Example, ImageSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.metrics.energy_distance import energy_distance, image_distances
from plurimask.metrics.maps import label_map_of
from plurimask.metrics.modes import mode_distances, weighted_energy_distance
from plurimask.metrics.uncertainty import image_uncertainty
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import Predicted, predict
from plurimask.prediction.readings import Reading, class_areas, find_readings
from plurimask.runs.load import Run
from plurimask.viewer.bundle import Scaled, pack, scaled, step_of
from plurimask.viewer.gallery import Stored
from plurimask.viewer.latents import Kind, latent_kind
from plurimask.viewer.work import Job, threads_for

MAX_PIXELS = 2**24
"""Of an image that is predicted here; larger ones take minutes and more memory than is left to a page."""
_FEW_PIXELS = 2**16


@dataclass(frozen=True)
class Scores:
    """By which images are sorted; NaN where a score does not exist."""

    quality: float
    """The Dice that the prediction expects of itself (`expected_dice`)."""
    entropy: float
    """Nats per pixel."""
    ged: float
    ged_oracle: float
    readings: tuple[float, ...]
    """Their shares."""

    def content(self) -> dict[str, Any]:
        """For JSON."""
        shares = [round(share, 6) for share in self.readings]
        own = {"disagreement": 1 - self.quality, "quality": self.quality, "entropy": self.entropy}
        return {**own, "ged": self.ged, "ged_oracle": self.ged_oracle, "readings": shares}


@dataclass(frozen=True)
class Shown:
    """What was predicted for an image, as it is sent."""

    bundle: bytes
    scores: Scores
    readings: tuple[Reading, ...]
    step: int


@dataclass(frozen=True)
class ShownRun:
    """A run that is looked at."""

    run: Run
    name: str
    latent: Kind | None


def shown_run(run: Run) -> ShownRun:
    """A run with what the page must know of it."""
    return ShownRun(run, run.folder.resolve().name, latent_kind(run.method))


class OneImage(ImageSet):
    """A stored image by itself."""

    def __init__(self, stored: Stored) -> None:
        self.names, self.stored = (stored.name,), stored

    def __getitem__(self, index: int) -> Tensor:
        return self.stored.image

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.stored.pixel_size


def predicted_of(run: Run, stored: Stored, sampling: Sampling, job: Job) -> Predicted:
    """The samples and maps of one image: those that `plurimask predict` writes for its name and this seed.

    Raises:
        InputError: the image is too large for the viewer.
    """
    rows, columns = stored.image.shape[-2:]
    if rows * columns > MAX_PIXELS:
        raise InputError(
            f"{stored.name}: {columns:,} x {rows:,} pixels, at most {MAX_PIXELS:,} are predicted here: use "
            "`plurimask predict`"
        )
    with threads_for(rows * columns, _FEW_PIXELS):
        return next(predict(run.method, OneImage(stored), run.record.preprocessing, sampling, job.tell))


def show(key: tuple[int, int], one: ShownRun, stored: Stored, sampling: Sampling, job: Job) -> tuple[Shown, Predicted]:
    """A prediction with its readings, scores and bundle; `key` is the number of the image, and that of the run."""
    start, run = time.perf_counter(), one.run
    predicted = predicted_of(run, stored, sampling, job)
    about = run.record.data
    job.tell(f"{stored.name}: readings")
    readings = tuple(find_readings(predicted.samples, about.counted_classes, about.num_classes))
    scores = scores_of(predicted, readings, stored, run)
    step = step_of((predicted.samples.shape[1], predicted.samples.shape[2]))
    likely = label_map_of(torch.as_tensor(predicted.mean)).numpy()
    rows, columns = predicted.window
    meta = {
        "id": key[0],
        "run": key[1],
        "name": stored.name,
        "num_samples": len(predicted.samples),
        "seed": sampling.seed,
        "size": predicted.size,
        "step": step,
        "window": {
            "top": rows.start,
            "left": columns.start,
            "height": rows.stop - rows.start,
            "width": columns.stop - columns.start,
        },
        "outside": "background" if about.has_background else "not judged",
        "readings": [_reading(one, about) for one in readings],
        "areas": [class_areas(one, about.num_classes).tolist() for one in predicted.samples],
        "mean_areas": class_areas(likely, about.num_classes).tolist(),
        "scores": scores.content(),
        "seconds": round(time.perf_counter() - start, 4),
        "latent": one.latent,
    }
    return Shown(pack(meta, _arrays(predicted, likely, step)), scores, readings, step), predicted


def _arrays(predicted: Predicted, likely: NDArray[np.uint8], step: int) -> dict[str, NDArray[Any] | Scaled]:
    nats = math.log(len(predicted.mean))

    def thin(maps: NDArray[Any]) -> NDArray[Any]:
        return maps[..., ::step, ::step]

    return {
        "samples": thin(predicted.samples),
        "most_likely": thin(likely),
        "mean": scaled(thin(predicted.mean), 1.0),
        "entropy": scaled(thin(predicted.entropy), nats),
        "mutual_information": scaled(thin(predicted.mutual_information), nats),
    }


def _reading(one: Reading, about: DataDescription) -> dict[str, Any]:
    return {
        "share": one.share,
        "medoid": one.medoid,
        "samples": one.members,
        "mean_distance": one.mean_distance,
        "areas": one.areas,
        "empty": about.has_background and not any(one.areas[index][1] for index in about.counted_classes),
    }


def scores_of(predicted: Predicted, readings: tuple[Reading, ...], stored: Stored, run: Run) -> Scores:
    """The scores of one image, of the window that the run sees."""
    about = run.record.data
    samples, mean = torch.as_tensor(predicted.samples), torch.as_tensor(predicted.mean)
    uncertainty = image_uncertainty(samples, mean, about.counted_classes)
    ged = ged_oracle = math.nan
    if stored.example is not None:
        ged, ged_oracle = _energy(samples, stored.example, run.record.preprocessing, about.counted_classes)
    shares = tuple(one.share for one in readings)
    return Scores(uncertainty.expected_dice, uncertainty.mean_entropy, ged, ged_oracle, shares)


def _energy(
    samples: Tensor, example: Example, preprocessing: Preprocessing, counted_classes: tuple[int, ...]
) -> tuple[float, float]:
    """GED and that of the raters themselves; NaN where nobody judged the image, or one rater alone."""
    labels = preprocessing.cut(example.labels)
    if example.flips:
        energy = weighted_energy_distance(mode_distances(samples, labels[0], example.flips))
        return energy.ged, energy.ged_oracle
    present = labels[(labels != IGNORE).flatten(1).any(1)]
    if not len(present):
        return math.nan, math.nan
    energy = energy_distance(image_distances(samples, present, counted_classes))
    return energy.ged, energy.ged_oracle
