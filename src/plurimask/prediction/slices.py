"""Volumes predicted slice by slice by a method for images, with samples that agree from slice to slice.

    volume (K, D, H, W) -> D images (K, H, W) --method--> D distributions, whose noise is drawn once for all

What a method draws for an image, its latent vector or maps, or the random numbers of its pixels, is drawn once for a
sample of a volume, and every slice of the sample is decoded with it: a reading (large or small, there or not) is then
the same reading in neighbouring slices, whose images are nearly the same. Latent maps lie in the plane of the slices
and are the same in all of them. What belongs to weights (dropout masks, weight draws, members) is one network for all
images anyway, and so for all slices. With independent draws each slice has noise of its own: the law of a slice is the
same, but samples jump from one slice to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from plurimask.data.preprocessing import SliceAxis
from plurimask.distribution import MixtureSegmentation, SegmentationDistribution, SegmentationStatistics, Statistics
from plurimask.errors import InputError
from plurimask.method import Loss, MethodConfig, SegmentationMethod
from plurimask.noise import Noise, NoisePart
from plurimask.prediction.device import images_in_layout

SliceDraws = Literal["shared", "independent"]
MAX_GROUP_PIXELS = 2**20
"""Slices are passed through the network in groups of at most so many pixels; of one group the features are kept."""


class SlicedSegmentation(SegmentationDistribution):
    """p(label maps | volumes) of B volumes `(B, K, D, H, W)`, each slice of which is an image to `method`.

    Args:
        method: trained on images `(B, K, h, w)`.
        volumes: normalised; D, H and W of which `axis` is the one along which slices follow each other.
        axis: 0, 1 or 2.
        draws: whether all slices of a sample share their noise, or each has its own.
    """

    def __init__(self, method: SegmentationMethod, volumes: Tensor, axis: SliceAxis, draws: SliceDraws) -> None:
        self.method, self.axis, self.shares = method, axis, draws == "shared"
        self.slices = volumes.movedim(axis + 2, 1)  # (B, D, K, h, w)
        batch_size, count, _, *plane = self.slices.shape
        step = max(1, MAX_GROUP_PIXELS // (batch_size * math.prod(plane)))
        self.groups = [slice(start, min(start + step, count)) for start in range(0, count, step)]
        self._kept: tuple[int, SegmentationDistribution] = (0, self._predicted(0))
        first = self._kept[1]
        self.parts = first.noise
        self.has_closed_form = first.closed_form is not None
        self.is_of_weights = all(part.kind == "weights" for part in self.parts)
        shape = (batch_size, first.logits_shape[1], *volumes.shape[2:])
        noise = [self._of_volume(part, count) for part in self.parts]
        super().__init__(shape, volumes.device, noise, first.draw_elements)

    def _of_volume(self, part: NoisePart, num_slices: int) -> NoisePart:
        """What is drawn for a volume where `part` is drawn for a slice."""
        if part.kind == "weights":
            return part
        shape = part.shape if self.shares else (num_slices, *part.shape)
        return replace(part, kind="image", shape=shape, stride=())

    def _predicted(self, number: int) -> SegmentationDistribution:
        own = self.slices[:, self.groups[number]].flatten(0, 1)
        prediction: SegmentationDistribution = self.method(images_in_layout(own, "channels_last"))
        return prediction

    def group(self, number: int) -> SegmentationDistribution:
        """The distribution of the slices of a group, `(B * D', C, h, w)`, volume by volume."""
        if self._kept[0] != number:
            with torch.no_grad(), self.precision():
                self._kept = (number, self._predicted(number))
        return self._kept[1]

    def noise_of_group(self, noise: Noise, number: int) -> Noise:
        """The noise of a volume as that of the slices of a group."""
        if self.is_of_weights:
            return noise
        own = self.groups[number]
        return tuple(
            drawn if part.kind == "weights" else self._of_slices(drawn, own)
            for part, drawn in zip(self.parts, noise, strict=True)
        )

    def _of_slices(self, drawn: Tensor, own: slice) -> Tensor:
        """`(N, B, *shape)`, or `(N, B, D, *shape)` of independent draws -> `(N, B * D', *shape)`."""
        if not self.shares:
            return drawn[:, :, own].flatten(1, 2)
        count = own.stop - own.start
        return drawn.unsqueeze(2).expand(-1, -1, count, *[-1] * (drawn.ndim - 2)).flatten(1, 2)

    def joined(self, maps: Callable[[int], Tensor], before: int) -> Tensor:
        """What `maps` gives of the slices of each group, put together to volumes.

        `(*leading, B * D', *own, h, w)` of each -> `(*leading, B, *own, *spatial)`; `before`: how many lead.
        """
        batch_size = len(self.slices)
        parts = [_of_batch(maps(number), before, batch_size) for number in range(len(self.groups))]
        together = parts[0] if len(parts) == 1 else torch.cat(parts, before + 1)
        return together.movedim(before + 1, -3).movedim(-3, self.axis - 3)

    def scores(self, noise: Noise) -> Tensor:
        return self.joined(lambda number: self.group(number).logits(self.noise_of_group(noise, number)), 1)

    def expand(self, noise: Noise) -> Noise:
        return self.group(0).expand(noise) if self.is_of_weights else noise

    def components(self) -> MixtureSegmentation | None:
        finite = self.group(0).components()
        if finite is None or finite.base is not self.group(0):
            return super().components()
        weights = finite.weights.tolist()
        return MixtureSegmentation(self, finite.draws, None if len(set(weights)) == 1 else weights)

    @property
    def closed_form(self) -> SegmentationStatistics | None:
        return _ClosedForm(self) if self.has_closed_form else None

    def statistics_of(self, draws: Noise, weights: Tensor, on_draws: Callable[[int], object]) -> Statistics:
        """Group by group: no more than the features of one group and the statistics are held."""
        count, of_groups = len(draws[0]), []
        for number in range(len(self.groups)):
            of_groups.append(self.group(number).statistics_of(self.noise_of_group(draws, number), weights, int))
            on_draws(count * (number + 1) // len(self.groups))
        maps, mean, expected, variance = zip(*of_groups, strict=True)
        return Statistics(
            self.joined(lambda number: maps[number], 1),
            self.joined(lambda number: mean[number], 0),
            self.joined(lambda number: expected[number], 0),
            self.joined(lambda number: variance[number], 0),
        )


def _of_batch(maps: Tensor, before: int, batch_size: int) -> Tensor:
    """`(*leading, B * D, ...)` -> `(*leading, B, D, ...)`; `before`: how many lead."""
    return maps.reshape(*maps.shape[:before], batch_size, -1, *maps.shape[before + 1 :])


class _ClosedForm:
    """The statistics of volumes by closed forms of their slices."""

    def __init__(self, prediction: SlicedSegmentation) -> None:
        self.prediction = prediction

    def _of_slices(self, number: int) -> SegmentationStatistics:
        statistics = self.prediction.group(number).closed_form
        assert statistics is not None
        return statistics

    def mean(self) -> Tensor:
        return self.prediction.joined(lambda number: self._of_slices(number).mean(), 0)

    def entropy(self) -> Tensor:
        return self.prediction.joined(lambda number: self._of_slices(number).entropy(), 0)

    def mutual_information(self) -> Tensor:
        return self.prediction.joined(lambda number: self._of_slices(number).mutual_information(), 0)

    def variance(self) -> Tensor:
        return self.prediction.joined(lambda number: self._of_slices(number).variance(), 0)

    def log_prob(self, labels: Tensor) -> Tensor:
        own, batch_size = labels.movedim(self.prediction.axis + 2, 1), len(labels)  # (B, D, R, h, w)
        of_groups = [
            self._of_slices(number).log_prob(own[:, group].flatten(0, 1)).view(batch_size, -1, labels.shape[1]).sum(1)
            for number, group in enumerate(self.prediction.groups)
        ]
        return torch.stack(of_groups).sum(0)


class SliceBySlice(SegmentationMethod):
    """A method for images that is given volumes, `(B, K, D, H, W)`, and predicts their slices along one axis.

    Images `(B, K, H, W)` are predicted as the method underneath does.
    """

    Config = MethodConfig
    summary = "a method for images, applied to the slices of volumes"
    paper = ""

    def __init__(self, method: SegmentationMethod, axis: SliceAxis, draws: SliceDraws = "shared") -> None:
        super().__init__(method.config)
        self.method, self.axis, self.draws = method, axis, draws

    def parts(self) -> list[SegmentationMethod]:
        return self.method.parts()

    def forward(self, images: Tensor) -> SegmentationDistribution:
        if images.ndim == 4:
            prediction: SegmentationDistribution = self.method(images)
            return prediction
        return self.of_volumes(images)

    def of_volumes(self, volumes: Tensor) -> SlicedSegmentation:
        """The distribution for volumes `(B, K, D, H, W)`.

        Raises:
            InputError: each slice is to have draws of its own, and the method draws nothing for an image.
        """
        prediction = SlicedSegmentation(self.method, volumes, self.axis, self.draws)
        if self.draws == "independent" and prediction.is_of_weights:
            raise InputError(
                "independent draws of slices are for methods that draw something for each image, and samples of this "
                "one are networks, each the same for all slices: leave out --slice-draws independent"
            )
        return prediction

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        """That of the method, of all slices as a batch."""
        if images.ndim == 4:
            return self.method.loss(images, labels, generator)
        return self.method.loss(self._slices(images), self._slices(labels), generator)

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Each slice of a rater's volume by the posterior that has seen this slice."""
        if images.ndim == 4:
            return self.method.reconstruct(images, labels)
        made = self.method.reconstruct(self._slices(images), self._slices(labels))
        return None if made is None else _of_batch(made, 0, len(images)).movedim(1, self.axis + 2)

    def _slices(self, maps: Tensor) -> Tensor:
        """`(B, F, D, H, W)` -> `(B * D, F, h, w)`."""
        return maps.movedim(self.axis + 2, 1).flatten(0, 1)


def underneath(method: SegmentationMethod) -> SegmentationMethod:
    """The method that has the weights: of one that is applied slice by slice that for images."""
    return method.method if isinstance(method, SliceBySlice) else method
