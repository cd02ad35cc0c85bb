"""What is measured of one method in a comparison, and how it is kept between interruptions."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurimask.data.layouts.npz import load_npz
from plurimask.evaluation.evaluate import (
    EvaluatedImage,
    ExampleView,
    evaluate,
    flip_frequencies,
    named_classes,
)
from plurimask.evaluation.writing import write_evaluation
from plurimask.figures.colours import thinned
from plurimask.files.writing import replace_file
from plurimask.flips import mode_table
from plurimask.metrics import TABLE, CalibrationBins, ErrorHistograms, image_distances
from plurimask.metrics.energy_distance import ged_of_fewer
from plurimask.metrics.modes import mode_distances, sample_modes
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.report.content import evenly_spread
from plurimask.report.flat import flattening
from plurimask.runs.folder import WEIGHTS_FILE
from plurimask.runs.load import Run
from plurimask.training.log import read_metrics

THUMBNAIL = 96
"""Pixels: the longer side of what the gallery shows of an image."""
NUM_SHOWN = 3
"""Images whose samples are kept, for a figure."""
_PLAIN = ("facts", "totals", "rows", "curve", "flips", "mode_shares")  # of a result: what JSON can hold
MAX_FLIPPED = 8
"""Samples of each image that the gallery can show."""
TIMED_IMAGES, TIMED_REPEATS = 4, 3


class ShownImage(NamedTuple):
    """What one method predicts for an image that a figure shows."""

    samples: NDArray[np.uint8]
    """`(N, H, W)`, label maps."""
    mean: NDArray[np.float32]
    """`(C, H, W)`, class probabilities."""
    entropy: NDArray[np.float32]
    """`(H, W)`, nats."""


@dataclass(frozen=True)
class MethodResult:
    """One method's figures on the evaluated split."""

    name: str
    facts: dict[str, Any]
    """`method`, `parameters`, `steps`, `minutes` of training and `seconds_per_image` of prediction."""
    totals: dict[str, Any]
    """`class_iou` and `class_dice` by the names of the classes."""
    rows: list[dict[str, Any]]
    calibration: CalibrationBins
    errors: ErrorHistograms
    curve: list[tuple[int, float]]
    """Number of samples and mean GED."""
    flips: dict[str, dict[str, float | None]] = field(default_factory=dict)
    mode_shares: list[float] = field(default_factory=list)
    """Share of the samples in each mode, over images that have all classes that flip; empty where none has."""
    maps: list[NDArray[np.uint8]] = field(default_factory=list)
    """Of each image, the most likely map `(h, w)`, thinned to `THUMBNAIL`; of a volume that of one plane."""
    entropies: list[NDArray[np.float16]] = field(default_factory=list)
    samples: list[NDArray[np.uint8]] = field(default_factory=list)
    """Of each image, its first samples `(n, h, w)`, thinned alike: at most `MAX_FLIPPED`, and one if all are equal."""
    shown: dict[int, ShownImage] = field(default_factory=dict)
    """By the number of the image."""


def numbers_of_samples(num_samples: int) -> list[int]:
    """1, 4, 8, 16 and on by doubling, up to and with `num_samples`."""
    numbers = [1] + [2**power for power in range(2, 20)]
    return [*(number for number in numbers if number < num_samples), num_samples]


def shown_images(count: int) -> list[int]:
    """The images whose samples are kept: evenly spread."""
    return evenly_spread(range(count), NUM_SHOWN)


def _curve(image: EvaluatedImage, counted_classes: Sequence[int], numbers: Sequence[int]) -> list[float]:
    """The image's GED with fewer samples."""
    example = image.example
    if example.flips:
        known = mode_distances(image.samples, example.labels[0], example.flips)
        crossed, raters = known.crossed @ known.weights, float(known.weights @ known.modes @ known.weights)
        return list(ged_of_fewer(known.samples, crossed, raters, numbers))
    between = image_distances(image.samples, example.labels, counted_classes)
    return list(ged_of_fewer(between.samples, between.crossed.mean(1), float(between.raters.mean()), numbers))


def measure(
    name: str, run: Run, view: ExampleView, sampling: Sampling, on_image: Callable[[], None] = lambda: None
) -> MethodResult:
    """Evaluate one run on a view of the data and collect what a comparison shows of it."""
    numbers, kept = numbers_of_samples(sampling.num_samples), shown_images(len(view.indices))
    curves: list[list[float]] = []
    modes: list[Tensor] = []
    maps: list[NDArray[np.uint8]] = []
    entropies: list[NDArray[np.float16]] = []
    samples: list[NDArray[np.uint8]] = []
    shown: dict[int, ShownImage] = {}

    def collect(image: EvaluatedImage) -> None:
        number, example = len(maps), image.example
        flat = flattening(example.labels, view.counted_classes)
        # Copies: a view would keep what it is thinned from.
        maps.append(thinned(flat.shown(image.mean.argmax(0).to(torch.uint8)), THUMBNAIL).copy())
        entropies.append(thinned(flat.shown(image.entropy.float()), THUMBNAIL).astype(np.float16))
        are_equal = bool((image.samples == image.samples[:1]).all())
        samples.append(thinned(flat.shown(image.samples[: 1 if are_equal else MAX_FLIPPED]), THUMBNAIL).copy())
        if number in kept:
            parts = (image.samples.clone(), image.mean.float().clone(), image.entropy.float().clone())
            shown[number] = ShownImage(*(part.numpy() for part in parts))
        if not np.isnan(image.row["ged"]):
            curves.append(_curve(image, view.counted_classes, numbers))
        if example.flips:
            mode_of_sample, present = sample_modes(image.samples, example.labels[0], example.flips)
            if bool(present.all()):
                modes.append(torch.bincount(mode_of_sample, minlength=len(mode_table(example.flips)[1])))
        on_image()

    evaluation = evaluate(run.method, view, sampling, collect)
    curve = np.mean(curves, axis=0).tolist() if curves else []
    history = read_metrics(run.folder / "metrics.csv")
    facts = {
        "method": run.record.method,
        "parameters": sum(parameter.numel() for parameter in run.method.parameters()),
        "seconds_per_image": _seconds_per_image(run, view, sampling),
    }
    if history:
        facts |= {"steps": int(history[-1]["step"]), "minutes": history[-1].get("minutes", 0.0)}
    if run.record.undertrained:
        facts["note"] = "undertrained"
    return MethodResult(
        name=name,
        facts=facts,
        totals=named_classes(evaluation.totals, run.record.data.class_names),
        rows=evaluation.rows,
        calibration=evaluation.calibration,
        errors=evaluation.errors,
        curve=list(zip(numbers, curve, strict=False)),
        flips=flip_frequencies(evaluation, run.record.data),
        mode_shares=(sum(modes) / torch.stack(modes).sum()).tolist() if modes else [],
        maps=maps,
        entropies=entropies,
        samples=samples,
        shown=shown,
    )


def _seconds_per_image(run: Run, view: ExampleView, sampling: Sampling) -> float:
    """The time that samples, mean and entropy of an image take, in batches of a few: the best of several."""
    chosen = [view.seen(index)[0] for index in view.indices[:TIMED_IMAGES]]
    images = [(example.name, example.image) for example in chosen]
    times = []
    for _ in range(TIMED_REPEATS):
        start = time.perf_counter()
        for predicted in predict_images(run.method, images, sampling):
            predicted.statistics.entropy().cpu()  # waits for the device
        times.append(time.perf_counter() - start)
    return min(times) / len(images)


# ---- on disk ------------------------------------------------------------------------------------------------------


def key_of(run: Run, examples: str, sampling: Sampling) -> str:
    """What decides a result: weights, record, samples and seed, the images and labels, by their `digest_of`, and
    which figures there are."""
    digest = hashlib.sha256((run.folder / WEIGHTS_FILE).read_bytes())
    digest.update(run.record.model_dump_json().encode())
    digest.update(json.dumps([sampling.num_samples, sampling.seed, [row.key for row in TABLE]]).encode())
    digest.update(examples.encode())
    return digest.hexdigest()


def store(result: MethodResult, key: str, folder: Path, facts: dict[str, Any]) -> None:
    """`NAME.json` and `NAME.csv` for people, `NAME.npz` to continue from."""
    facts = {**facts, **result.facts, "flips": result.flips}
    write_evaluation(result.totals, result.rows, folder / f"{result.name}.json", facts)
    plain = {"key": key} | {name: getattr(result, name) for name in _PLAIN}
    arrays: dict[str, NDArray[Any]] = {"plain": np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)}
    arrays["calibration"] = torch.stack(list(result.calibration)).numpy()
    arrays["errors"] = result.errors.stacked().numpy()
    for number, (one, entropy, few) in enumerate(zip(result.maps, result.entropies, result.samples, strict=True)):
        arrays[f"map-{number}"], arrays[f"entropy-{number}"], arrays[f"samples-{number}"] = one, entropy, few
    for number, image in result.shown.items():
        arrays |= {f"shown-{number}-{name}": maps for name, maps in image._asdict().items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    replace_file(folder / f"{result.name}.npz", buffer.getvalue())


def restore(name: str, key: str, folder: Path) -> MethodResult | None:
    """What an earlier call stored, if it was of the same weights, images and draws, and all that is asked for now."""
    try:
        return _read(name, key, folder / f"{name}.npz")
    except Exception:  # not there, damaged in whatever way, or by a version that measured less
        return None  # it is measured again


def _read(name: str, key: str, path: Path) -> MethodResult | None:
    arrays = load_npz(path)
    plain = json.loads(arrays["plain"].tobytes())
    if plain.pop("key") != key:
        return None
    count = len(plain["rows"])
    return MethodResult(
        name=name,
        **{**plain, "curve": [(int(number), float(ged)) for number, ged in plain["curve"]]},
        calibration=CalibrationBins(*torch.from_numpy(arrays["calibration"])),
        errors=ErrorHistograms.from_stacked(torch.from_numpy(arrays["errors"])),
        maps=[arrays[f"map-{number}"] for number in range(count)],
        entropies=[arrays[f"entropy-{number}"] for number in range(count)],
        samples=[arrays[f"samples-{number}"] for number in range(count)],
        shown={
            number: ShownImage(*(arrays[f"shown-{number}-{part}"] for part in ShownImage._fields))
            for number in shown_images(count)
        },
    )
