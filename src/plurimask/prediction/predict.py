"""Running a trained method on named images: what is drawn for one depends on its name, not on its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from plurimask.distribution import IGNORE, SegmentationDistribution, SegmentationStatistics
from plurimask.errors import InputError
from plurimask.files.reading import memory_bytes
from plurimask.method import SegmentationMethod
from plurimask.noise import can_spread
from plurimask.prediction.budget import Budget, in_tiles
from plurimask.prediction.device import fast_precision, images_in_layout
from plurimask.prediction.seeds import generators_of

MAX_BATCH_PIXELS = 2**20
"""Images of one size are batched up to this many pixels."""
MAX_SAMPLE_BYTES = 2**31
"""Of all samples of a batch."""
MAX_SAMPLES, MAX_BATCH_SIZE = 4096, 4096
"""Metrics hold all pairs of samples, and nobody looks at more."""


@dataclass(frozen=True)
class Sampling:
    """How many masks to draw for each image, from which seed, and whether independently or spread evenly."""

    num_samples: int = 16
    seed: int = 0
    batch_size: int = 16
    spread: bool = False
    memory: int | None = None
    """Bytes that predicting may take; images that would need more are computed in tiles, and large ones in any case
    (`budget.LARGEST_WHOLE`). None: no bound."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_samples <= MAX_SAMPLES:
            raise InputError(
                f"{self.num_samples} samples were asked for: at least 1 sample is needed, and at most {MAX_SAMPLES:,} "
                "are drawn"
            )
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise InputError(f"a batch of {self.batch_size} images was asked for: give 1 to {MAX_BATCH_SIZE:,}")


class PredictedBatch(NamedTuple):
    """What was predicted for a batch of named images of one size."""

    names: list[str]
    samples: Tensor
    """`(N, B, *spatial)`, uint8: in the order drawn."""
    statistics: SegmentationStatistics
    """For every statistic, which it gives without further draws: the prediction itself where it has closed forms, else
    the same draws as a mixture, or the components of a finite one."""
    prediction: SegmentationDistribution
    """For further draws: it holds the features of the images."""
    notes: tuple[str, ...] = ()
    """What is only approximated, in sentences for people."""
    fits: bool = True
    """Whether there is memory for all of an image at once."""


def spread_samples(batch: PredictedBatch, sampling: Sampling) -> Tensor | None:
    """As many spread draws of the images of a batch, `(N, B, *spatial)`, uint8; None of a method that has none."""
    if not can_spread(batch.prediction.noise):
        return None
    with torch.inference_mode():
        source = generators_of(sampling.seed, batch.names)
        return batch.prediction.sample(sampling.num_samples, source, spread=True)


def predict_images(
    method: SegmentationMethod,
    images: Iterable[tuple[str, Tensor]],
    sampling: Sampling,
    on_phase: Callable[[str], object] = str,
) -> Iterator[PredictedBatch]:
    """Predictions for named, normalised images `(K, *spatial)`, batched where neighbours have one size, in their order.

    An image's samples depend on the method, the seed and the image's name, and on nothing else. No batch reaches over
    a multiple of the batch size in the list: blocks of so many images give the same alone, to the last bit. `on_phase`
    is told what is being done, in words for a progress bar. InputError for spread draws of a method that has none.
    """
    batch: list[tuple[str, Tensor]] = []
    for place, (name, image) in enumerate(images):
        if batch and not (place % sampling.batch_size and _fits(batch, image, sampling)):
            yield _predict(method, batch, sampling, on_phase)
            batch = []
        bound = math.inf if sampling.memory is None else sampling.memory
        budget = Budget(method, bound, sampling.num_samples, len(image))
        if not budget.is_whole(image.shape[1:]):
            if batch:
                yield _predict(method, batch, sampling, on_phase)
                batch = []
            yield _predict_in_tiles(budget, name, image, sampling, on_phase)
            continue
        batch.append((name, image))
    if batch:
        yield _predict(method, batch, sampling, on_phase)


def require_probabilities(mean: Tensor, names: Sequence[str]) -> None:
    """Raise `InputError` if the mean `(B, C, *spatial)` of predictions holds what is no probability."""
    for name, probabilities in zip(names, mean, strict=True):
        if not bool(torch.isfinite(probabilities).all()):
            raise InputError(
                f"{name}: the method gives NaN in place of probabilities: its weights are damaged or its training "
                "diverged; restore the run, or train again with a lower learning rate"
            )


def _fits(batch: list[tuple[str, Tensor]], image: Tensor, sampling: Sampling) -> bool:
    pixels = (len(batch) + 1) * image[0].numel()
    is_small = pixels <= MAX_BATCH_PIXELS and pixels * sampling.num_samples <= MAX_SAMPLE_BYTES
    return is_small and image.shape == batch[0][1].shape and len(batch) < sampling.batch_size


def _require_memory(name: str, size: Sequence[int], num_samples: int) -> None:
    """Raise `InputError` if the samples of an image, with the distances between them, are more than memory holds."""
    needed = num_samples * math.prod(size) + num_samples**2 * 8
    if needed > memory_bytes():
        raise InputError(
            f"{name}: {num_samples} samples of {' x '.join(map(str, size))} pixels take {needed / 2**30:.1f} GB, and "
            f"this machine has {memory_bytes() / 2**30:.1f}: ask for fewer samples, or give smaller images"
        )


def _predict(
    method: SegmentationMethod,
    batch: list[tuple[str, Tensor]],
    sampling: Sampling,
    on_phase: Callable[[str], object],
) -> PredictedBatch:
    names, device = [name for name, _ in batch], next(method.parameters()).device
    _require_memory(names[0], batch[0][1].shape[1:], sampling.num_samples)
    who = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    on_phase(f"{who}: features")
    images = _stacked([image for _, image in batch], device)
    with torch.inference_mode(), fast_precision(device):
        prediction = method(images)
    return _drawn(prediction, names, sampling, lambda words: on_phase(f"{who}: {words}"))


def _predict_in_tiles(
    budget: Budget, name: str, image: Tensor, sampling: Sampling, on_phase: Callable[[str], object]
) -> PredictedBatch:
    """One large image, whose results are held in memory.

    Raises:
        InputError: not even these fit into it.
    """
    size = tuple(image.shape[1:])
    if not budget.holds(size):
        raise InputError(
            f"{name}: what is predicted of {' x '.join(map(str, size))} pixels takes "
            f"{budget.results(math.prod(size)) / 1e9:.1f} GB, too much beside the program in {budget.total / 1e9:.1f} "
            "GB: give more --memory, ask for fewer samples, or give parts of the image"
        )
    prediction = in_tiles(
        budget, lambda box: image[(slice(None), *box)], size, lambda words: on_phase(f"{name}: {words}")
    )
    return _drawn(prediction, [name], sampling, str)._replace(notes=budget.notes, fits=budget.fits(size))


def _drawn(
    prediction: SegmentationDistribution, names: list[str], sampling: Sampling, on_phase: Callable[[str], object]
) -> PredictedBatch:
    """The samples and statistics of a prediction."""
    with torch.inference_mode():
        mixture = prediction.freeze(sampling.num_samples, generators_of(sampling.seed, names), sampling.spread)
        count = mixture.num_components  # the function must not hold the mixture: neither would be freed at once
        mixture.on_draws = lambda done: on_phase(f"mask {done} of {count}")
        samples = mixture.maps
        if mixture.num_components != sampling.num_samples:  # heads or members: as many of them as were asked for
            samples = mixture.sample(sampling.num_samples, generators_of(sampling.seed, names))
    return PredictedBatch(names, samples, prediction.closed_form or mixture, prediction)


def reconstruct_images(
    method: SegmentationMethod, images: Sequence[Tensor], labels: Sequence[Tensor]
) -> list[Tensor] | None:
    """What the method makes of each rater's map when its posterior has seen it (`SegmentationMethod.reconstruct`).

    B normalised images `(K, *spatial)` of one size and the labels of each, `(R, *spatial)`, uint8, where R may differ
    from image to image -> of each image, label maps `(R, *spatial)`, uint8 on the CPU, IGNORE for absent raters; None
    for a method without a posterior.
    """
    device = next(method.parameters()).device
    padded = pad_sequence(list(labels), batch_first=True, padding_value=IGNORE)  # raters that an image lacks are absent
    # As many images at once as their maps fill a batch of predictions: each map may need features of its own.
    step = max(1, MAX_BATCH_PIXELS // max(1, padded[0].numel()))
    made: list[Tensor] = []
    for start in range(0, len(images), step):
        own = slice(start, start + step)
        with torch.inference_mode(), fast_precision(device):
            maps_of_all = method.reconstruct(_stacked(images[own], device), padded[own].to(device))
        if maps_of_all is None:
            return None
        made += [of_image[: len(maps)] for of_image, maps in zip(maps_of_all.cpu(), labels[own], strict=True)]
    return made


def _stacked(images: Sequence[Tensor], device: torch.device) -> Tensor:
    """Images `(K, *spatial)` of one size as a batch, in the memory layout that is fast."""
    return images_in_layout(torch.stack(list(images)).to(device), "channels_last")
