"""How well a method's samples match the raters' disagreement, on a set of examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.evaluation.further import further_samples
from plurimask.method import SegmentationMethod
from plurimask.metrics import (
    CalibrationBins,
    ErrorHistograms,
    PixelUncertainty,
    SegmentationMetrics,
    Totals,
    class_spread,
)
from plurimask.metrics.image import ComparedImage, image_with_raters
from plurimask.metrics.image_with_modes import image_with_modes
from plurimask.metrics.modes import flip_counts
from plurimask.metrics.scores import ImageEvaluation, evaluated
from plurimask.metrics.table import TABLE, Table
from plurimask.metrics.volume_table import VOLUMES
from plurimask.metrics.volumes import volume_rows
from plurimask.prediction.predict import (
    PredictedBatch,
    Sampling,
    predict_images,
    reconstruct_images,
    require_probabilities,
)

WITHOUT_POSTERIOR = (
    "images too large for memory have no reconstructions from a posterior, which sees all of an image at once"
)


@dataclass(frozen=True)
class ExampleView:
    """Examples of a set as a run sees them: some of them, cropped and normalised."""

    examples: ExampleSet
    indices: Sequence[int]
    preprocessing: Preprocessing
    counted_classes: tuple[int, ...]

    def seen(self, index: int) -> tuple[Example, float]:
        """An example as the run sees it, normalised, and the millilitres of one of its voxels; NaN where that is not
        known."""
        stored, size = self.examples[index], self.examples.pixel_size(index)
        voxel = self.preprocessing.pixel_size(size, stored.image.shape[1:])
        return self.preprocessing.example(stored, size), math.nan if voxel is None else voxel.millilitres


class EvaluatedImage(NamedTuple):
    """One image with what was predicted for it."""

    example: Example
    """As the network sees it: cropped, resized and normalised."""
    samples: Tensor
    """`(N, *spatial)`, uint8, in the order drawn."""
    mean: Tensor
    """`(C, *spatial)`, class probabilities."""
    entropy: Tensor
    """`(*spatial)`, nats, of the mean."""
    mutual_information: Tensor
    """`(*spatial)`, nats: the part of the entropy that comes from draws that disagree."""
    variance: Tensor
    """`(C, *spatial)`, of each class's probability over the draws, 0 to 1/4."""
    row: dict[str, Any]
    """Its figures."""

    def copied(self) -> EvaluatedImage:
        """The same in memory of its own: the maps of an evaluated image are parts of those of its batch."""
        own: dict[str, Any] = {name: part.clone() for name, part in self._asdict().items() if isinstance(part, Tensor)}
        return self._replace(example=replace(self.example, labels=self.example.labels.clone()), **own)

    @property
    def num_bytes(self) -> int:
        """How much memory all maps take."""
        return sum(maps.nbytes for maps in (*self, self.example.image, self.example.labels) if isinstance(maps, Tensor))


class ScoredImage(NamedTuple):
    """What the totals of an evaluation are made of, of one image."""

    name: str
    evaluation: ImageEvaluation
    flip_counts: Tensor | None = None
    """As in `Evaluation`."""
    volumes: Sequence[Mapping[str, Any]] = ()
    """As in `Evaluation`."""


@dataclass(frozen=True)
class Evaluation:
    """Totals, one row per image, the bins of a reliability diagram, and the counts of sparsification curves."""

    totals: Totals
    rows: list[dict[str, Any]]
    calibration: CalibrationBins
    errors: ErrorHistograms
    flip_counts: Tensor | None = None
    """Where classes flip: how many of the annotator's pixels of each class samples call it and its twin, `(K, 2)`."""
    volumes: list[dict[str, Any]] = field(default_factory=list)
    """Of volumes, where the table has figures of them: a row per image and class (`plurimask.metrics.volumes`)."""
    notes: tuple[str, ...] = ()
    """What is only approximated or left out, in sentences for people."""


def evaluate(
    method: SegmentationMethod,
    view: ExampleView,
    sampling: Sampling,
    on_image: Callable[[EvaluatedImage], None] | None = None,
    table: Table = TABLE,
    on_scored: Callable[[ScoredImage], object] = lambda scored: None,
) -> Evaluation:
    """Draw samples for every example of the view and compare them with its raters.

    Where the method has a posterior, each rater's map is reconstructed too, and compared with that rater. Where it
    draws latents of an image and the table has `ged_spread`, as many spread draws are made beside the independent ones.
    Where the table has `ged_representatives`, `DRAWS` draws more are made for them.

    Args:
        method: trained; used as it is, on the device where its weights are.
        sampling: samples per image, seed, batch size. An image's samples depend on the seed and its name alone.
        on_image: called for each image in turn (`plurimask.evaluation.kept.KeptImages` keeps those for figures).
        table: which figures.
        on_scored: given what each image adds to the totals.

    In a distributed training each process gives its own share of the indices, and the totals are of all shares.
    """
    metrics, has_volumes = _totals(method, view, table), VOLUMES[0] in table
    rows: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    notes: set[str] = set()
    examples: dict[str, tuple[Example, float]] = {}
    flip_totals: Tensor | None = None

    def take(predicted: PredictedBatch) -> None:
        nonlocal flip_totals
        samples, (mean, entropy, information, variance) = predicted.samples.cpu(), _maps_of(predicted)
        further = further_samples(predicted, sampling, view.counted_classes, {row.key for row in table})
        seen = [examples.pop(name) for name in predicted.names]
        notes.update(_notes_of(predicted))
        made = _reconstructed(method, predicted, [example for example, _ in seen])
        for number, (example, voxel) in enumerate(seen):
            row: dict[str, Any] = {"name": example.name}
            maps = (entropy[number], information[number], variance[number])
            image = EvaluatedImage(example, samples[:, number], mean[number], *maps, row)
            compared = _compared(image, None if made is None else made[number], view, voxel)
            scored = evaluated(replace(compared, **further.figures(number, example, view.counted_classes)), table)
            metrics.update([scored])
            row |= scored.scores
            rows.append(row)
            volumes.extend(own := volume_rows(example.name, compared.volumes, voxel) if has_volumes else [])
            counts = flip_counts(image.samples, example.labels[0], example.flips) if example.flips else None
            if counts is not None:
                flip_totals = counts if flip_totals is None else flip_totals + counts
            on_scored(ScoredImage(example.name, scored, counts, own))
            if on_image is not None:
                on_image(image)

    for predicted in predict_images(method, _seen(view, examples), sampling):
        take(predicted)
        del predicted  # before the next images are computed
    bins, errors = metrics.calibration_bins(), metrics.error_histograms()
    return Evaluation(metrics.compute(), rows, bins, errors, flip_totals, volumes, tuple(sorted(notes)))


def _seen(view: ExampleView, examples: dict[str, tuple[Example, float]]) -> Iterator[tuple[str, Tensor]]:
    """The images of the view by name; each is put among the `examples`, with the volume of its voxels."""
    for index in view.indices:
        example, voxel = view.seen(index)
        examples[example.name] = example, voxel
        yield example.name, example.image


def _maps_of(predicted: PredictedBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, entropy, mutual information and variance."""
    held = predicted.statistics
    mean, entropy, information, variance = held.mean(), held.entropy(), held.mutual_information(), held.variance()
    require_probabilities(mean, predicted.names)
    return mean.cpu(), entropy.cpu(), information.cpu(), variance.cpu()


def _reconstructed(
    method: SegmentationMethod, predicted: PredictedBatch, examples: Sequence[Example]
) -> list[Tensor] | None:
    if not predicted.fits:  # a posterior has seen all of an image at once, or nothing
        return None
    return reconstruct_images(method, [each.image for each in examples], [each.labels for each in examples])


def _notes_of(predicted: PredictedBatch) -> set[str]:
    """What was approximated or left out, in sentences."""
    return {*predicted.notes, *[WITHOUT_POSTERIOR] * (not predicted.fits)}


def _totals(method: SegmentationMethod, view: ExampleView, table: Table) -> SegmentationMetrics:
    metrics = SegmentationMetrics(view.counted_classes, table)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        metrics = metrics.to(next(method.parameters()).device)  # where processes can exchange tensors
        metrics.set_dtype(torch.float64)  # which .to forgets
    return metrics


def _compared(image: EvaluatedImage, made: Tensor | None, view: ExampleView, voxel: float) -> ComparedImage:
    example, samples, mean = image.example, image.samples, image.mean
    uncertainty = PixelUncertainty(image.mutual_information, class_spread(image.variance, dim=0))
    if example.flips:
        of_annotator = None if made is None else made[0]
        return image_with_modes(samples, mean, example.labels[0], example.flips, of_annotator, uncertainty)
    compared = image_with_raters(samples, mean, example.labels, view.counted_classes, made, uncertainty)
    return replace(compared, voxel=voxel, slice_axis=view.preprocessing.slices or 0)


def named_classes(totals: Totals, class_names: Sequence[str]) -> Totals:
    """The same totals with figures of each class by its name instead of lists: `class_iou: {"lesion": 0.75, ...}`.

    `class_names` are of all classes, in the order of their indices; ValueError if there is another number of them.
    """
    named: Totals = {}
    for name, value in totals.items():
        if isinstance(value, list) and value:  # empty where nothing was evaluated
            named[name] = dict(zip(class_names, value, strict=True))
        else:
            named[name] = named_classes(value, class_names) if isinstance(value, dict) else value
    return named


def flip_error(flips: Mapping[str, Mapping[str, float | None]]) -> float | None:
    """The mean absolute error of the frequencies of `flip_frequencies`; a class that no sample shows never flips."""
    errors = [abs((flip["frequency"] or 0.0) - (flip["probability"] or 0.0)) for flip in flips.values()]
    return sum(errors) / len(errors) if errors else None


def flip_frequencies(evaluation: Evaluation, description: DataDescription) -> dict[str, dict[str, float | None]]:
    """By class: the true `probability` that it flips, and the `frequency` among the samples (None: it never occurs)."""
    if evaluation.flip_counts is None:
        return {}
    totals = evaluation.flip_counts.double()
    frequency = (totals[:, 1] / totals.sum(1)).tolist()
    return {
        description.class_names[flip.source]: {
            "probability": flip.probability,
            "frequency": None if math.isnan(value) else value,
        }
        for flip, value in zip(description.flips, frequency, strict=True)
    }
