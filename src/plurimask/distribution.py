"""What every method predicts: a distribution over the label maps of a batch of images.

    images (B, K, *spatial) --method--> SegmentationDistribution --sample(N)--> label maps (N, B, *spatial)

A distribution is *noise plus a decoder*: it declares its noise, which knows nothing of the image, and `logits` is a
pure function from noise to class scores. All that is shared by the samples (encoded features, a prior) is held by the
object, so it is computed once, whatever the number of samples. Statistics are of fixed draws, `freeze`, so that those
shown beside samples are the statistics of these samples.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from plurimask.noise import Noise, NoisePart, RandomSource, draw_noise, take
from plurimask.sets.maps import IGNORE as IGNORE
from plurimask.sets.maps import most_likely as most_likely
from plurimask.sets.representatives import Representatives, representatives_of_batch

MAX_CHUNK_ELEMENTS = 2**24
"""Samples are decoded in chunks of at most this many logits (64 MB of float32), so that memory is bounded."""

MAX_BLOCK_ELEMENTS = 2**22
"""Statistics are computed from at most this many logits at a time."""


class SegmentationStatistics(Protocol):
    """What is known without further draws: of fixed draws, or by closed forms."""

    def mean(self) -> Tensor:
        """Class probabilities `(B, C, *spatial)`: the mean over draws of the softmax."""

    def entropy(self) -> Tensor:
        """Entropy of the mean probabilities `(B, *spatial)` in nats, from 0 to ln C: the whole uncertainty."""

    def mutual_information(self) -> Tensor:
        """Entropy of the mean less the mean entropy of the draws `(B, *spatial)`, nats: how far the draws disagree."""

    def variance(self) -> Tensor:
        """Variance over draws of each class's probability `(B, C, *spatial)`, from 0 to 1/4."""

    def log_prob(self, labels: Tensor) -> Tensor:
        """log p(label map | image) in nats, `(B, R)`, of labels `(B, R, *spatial)`; IGNORE pixels are left out."""


class SegmentationDistribution(abc.ABC):
    """p(label maps | images) for a batch of B images with C classes.

    Args:
        logits_shape: `(B, C, *spatial)`, of one draw's logits.
        device: where it decodes.
        noise: what it draws, part by part.
        draw_elements: how many numbers decoding one draw holds at once, where that is more than the logits.
    """

    def __init__(
        self, logits_shape: Sequence[int], device: torch.device, noise: Sequence[NoisePart], draw_elements: int = 0
    ) -> None:
        self.logits_shape, self.noise = torch.Size(logits_shape), tuple(noise)
        self.draw_elements = max(draw_elements, math.prod(logits_shape))
        self.precision = _autocast_in_force(device)

    @abc.abstractmethod
    def scores(self, noise: Noise) -> Tensor:
        """Class scores `(N, B, C, *spatial)`, or with N and B flattened: a pure function of the noise.

        It is called in the precision in which the prediction was started.
        """

    def logits(self, noise: Noise) -> Tensor:
        """Class scores `(N, B, C, *spatial)`, float32: a pure function of the noise, with its seeds or `expand`ed."""
        with self.precision():
            return self.scores(noise).float().view(-1, *self.logits_shape)

    def draw_noise(
        self, num_samples: int, generator: RandomSource = None, at_mean: Collection[int] = (), spread: bool = False
    ) -> Noise:
        """Base noise for N samples, a CPU tensor for each part; normal parts `at_mean` are 0 (`noise.draw_noise`)."""
        return draw_noise(self.noise, num_samples, self.logits_shape[0], generator, at_mean, spread)

    def expand(self, noise: Noise) -> Noise:
        """The same noise with the random numbers themselves in place of seeds: for programs that cannot draw them."""
        return noise

    def sample(
        self, num_samples: int, generator: RandomSource = None, at_mean: Collection[int] = (), spread: bool = False
    ) -> Tensor:
        """N label maps `(N, B, *spatial)`, uint8: the most likely map of each draw.

        Together spread draws stand for the distribution more evenly than independent ones: fewer of them show as much.
        They differ from each other a little more than independent draws do. InputError where there are no latents.
        """
        noise = self.draw_noise(num_samples, generator, at_mean, spread)
        return torch.cat([most_likely(chunk) for chunk in self.logit_chunks(noise)])

    def freeze(self, num_samples: int, generator: RandomSource = None, spread: bool = False) -> MixtureSegmentation:
        """N fixed draws as an equally weighted mixture, on which every statistic is exact and mutually consistent.

        Where there is a finite number of components it is those, whatever N is. `spread` as for `sample`.
        """
        if spread or (finite := self.components()) is None:
            return MixtureSegmentation(self, self.draw_noise(num_samples, generator, spread=spread))
        return finite

    def representatives(
        self, k: int, draws: int = 100, generator: RandomSource = None, classes: Sequence[int] | None = None
    ) -> Representatives:
        """The at most k maps with weights that stand best for the distribution, of so many draws (`freeze`).

        They are the weighted subset with the least squared energy distance to all draws, in d = 1 - IoU of the
        `classes` that count, all but 0 if not given (`plurimask.sets.representatives`). InputError if k is below 1.
        """
        drawn = self.freeze(draws, generator)
        counted = range(1, self.logits_shape[1]) if classes is None else classes
        return representatives_of_batch(drawn.maps, counted, k, drawn.weights)

    def components(self) -> MixtureSegmentation | None:
        """All that can be drawn, with exact weights, where that is a finite number of maps; None where it is not."""
        if len(self.noise) == 1 and self.noise[0].law == "index":
            return MixtureSegmentation(self, (torch.arange(self.noise[0].count),), self.noise[0].weights)
        return None

    @property
    def closed_form(self) -> SegmentationStatistics | None:
        """The statistics of the distribution itself, where they need no draws; None where they do."""
        return None

    def statistics_of(self, draws: Noise, weights: Tensor, on_draws: Callable[[int], object]) -> Statistics:
        """All statistics of M fixed draws with weights `(M,)` in one streamed pass; `on_draws` is told how many are
        done."""
        running: RunningStatistics | None = None
        start = 0
        for logits in self.logit_chunks(draws):
            running = running or RunningStatistics(len(draws[0]), logits)
            stop = start + len(logits)
            running.add(logits, slice(start, stop), weights[start:stop].to(logits.device))
            on_draws(start := stop)
        assert running is not None
        return running.result

    def chunks(self, num_samples: int) -> Iterator[slice]:
        """Parts of N samples that are decoded at once: what they hold in memory is bounded."""
        if num_samples == 0:
            raise ValueError("0 samples were asked for: at least 1 is needed")
        step = max(1, MAX_CHUNK_ELEMENTS // self.draw_elements)
        return (slice(start, start + step) for start in range(0, num_samples, step))

    def logit_chunks(self, noise: Noise) -> Iterator[Tensor]:
        """The logits of `noise`, a bounded number of samples at a time."""
        return (self.logits(take(noise, part)) for part in self.chunks(len(noise[0])))


class MixtureSegmentation(SegmentationDistribution):
    """A finite mixture of M components: fixed draws of another distribution, or heads, or the members of an ensemble.

    Its statistics enumerate the components, so they are exact. `sample` gives each of equally weighted components once
    before any repeats.

    Args:
        base: what decodes the components.
        draws: the base's noise, one entry per component.
        weights: of M components, positive; equal if not given.

    Attributes:
        on_draws: called while statistics are computed, with the number of components that are done.
    """

    def __init__(self, base: SegmentationDistribution, draws: Noise, weights: Sequence[float] | None = None) -> None:
        self.num_components = len(draws[0])
        if weights is not None and (len(weights) != self.num_components or min(weights) <= 0):
            raise ValueError(f"weights must be {self.num_components} positive numbers, one a component, not {weights}")
        shares = None if weights is None else tuple(weight / sum(weights) for weight in weights)
        index = NoisePart("weights", "index", count=self.num_components, weights=shares)
        super().__init__(base.logits_shape, torch.device("cpu"), [index], base.draw_elements)
        self.base, self.draws = base, draws
        self.on_draws: Callable[[int], object] = int
        self.weights = torch.tensor(shares or [1 / self.num_components] * self.num_components)

    def scores(self, noise: Noise) -> Tensor:
        return self.base.logits(take(self.draws, noise[0]))

    def components(self) -> MixtureSegmentation:
        return self

    @property
    def closed_form(self) -> SegmentationStatistics:
        return self

    def sample(
        self, num_samples: int, generator: RandomSource = None, at_mean: Collection[int] = (), spread: bool = False
    ) -> Tensor:
        (index,) = self.draw_noise(num_samples, generator, at_mean, spread)
        return self.maps[index.to(self.maps.device)]

    @property
    def maps(self) -> Tensor:
        """The most likely map of each component `(M, B, *spatial)`, uint8."""
        return self.statistics.maps

    @cached_property
    def statistics(self) -> Statistics:
        """All statistics of the components in one streamed pass, `Statistics`."""
        return self.base.statistics_of(self.draws, self.weights, self.on_draws)

    def mean(self) -> Tensor:
        return self.statistics.mean

    def entropy(self) -> Tensor:
        return entropy(self.statistics.mean, dim=1)

    def mutual_information(self) -> Tensor:
        return (self.entropy() - self.statistics.expected_entropy).clamp(min=0)

    def variance(self) -> Tensor:
        return self.statistics.variance

    def log_prob(self, labels: Tensor) -> Tensor:
        """Of fixed draws log 1/N sum_n p(labels | draw n): in expectation a lower bound of their distribution's."""
        valid = labels != IGNORE
        index = labels.masked_fill(~valid, 0).long()
        log_weights, scores = self.weights.log().to(labels.device), []
        for logits in self.base.logit_chunks(self.draws):
            pixels = logits.log_softmax(2).gather(2, index.expand(len(logits), *index.shape))
            scores.append(pixels.masked_fill(~valid, 0).flatten(3).sum(3))
        return (torch.cat(scores) + log_weights[:, None, None]).logsumexp(0)


class RunningStatistics:
    """Statistics of the draws so far, updated in place: nothing else of the size of an image is held.

    Args:
        num_components: of all draws.
        logits: of some of them, for shape and device.
    """

    def __init__(self, num_components: int, logits: Tensor) -> None:
        _, batch_size, _, *spatial = logits.shape
        maps = logits.new_empty((num_components, batch_size, *spatial), dtype=torch.uint8)
        mean, scatter = torch.zeros_like(logits[0]), torch.zeros_like(logits[0])
        self.result = Statistics(maps, mean, logits.new_zeros(batch_size, *spatial), scatter)
        self.weight = 0.0

    def add(self, logits: Tensor, draws: slice, share: Tensor) -> None:
        """Logits `(n, B, C, *spatial)` of these draws, of weights `(n,)`."""
        maps, all_means, expected_entropy, scatter = self.result
        added = float(share.sum())
        total = self.weight + added
        for part in _blocks(logits):
            own = logits[..., *part]
            maps[draws, ..., *part] = most_likely(own)
            probabilities = own.softmax(2)
            expected_entropy[..., *part] += torch.einsum("n,n...->...", share, entropy(probabilities, dim=2))
            # Chan's update of mean and scatter: sums of squares, so that a variance cannot become negative.
            own_mean = torch.einsum("n,n...->...", share / added, probabilities)
            own_scatter = torch.einsum("n,n...->...", share, (probabilities - own_mean).square())
            mean = all_means[..., *part]
            shift = own_mean - mean
            scatter[..., *part] += own_scatter + shift.square() * (self.weight * added / total)
            mean += shift * (added / total)
        self.weight = total


def _blocks(logits: Tensor) -> Iterator[Any]:
    """Parts of the first spatial axis of `(N, B, C, *spatial)`, each of a bounded number of logits, with all of the
    others, as tuples of slices: what is computed from a part is freed before the next."""
    spatial = logits.shape[3:]
    per_row = max(1, logits.numel() // max(1, spatial[0]))
    rows = max(1, MAX_BLOCK_ELEMENTS // per_row)
    for start in range(0, spatial[0], rows):
        yield (slice(start, start + rows), *[slice(None)] * (len(spatial) - 1))


class Statistics(NamedTuple):
    """Exact statistics of a mixture of M components."""

    maps: Tensor  # (M, B, *spatial) uint8: the most likely map of each component
    mean: Tensor  # (B, C, *spatial)
    expected_entropy: Tensor  # (B, *spatial), nats
    variance: Tensor  # (B, C, *spatial)


def entropy(probabilities: Tensor, dim: int) -> Tensor:
    """-sum p ln p over `dim`, in nats; 0 ln 0 = 0."""
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(dim)


def _autocast_in_force(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """A function that gives contexts with the autocast that is in force now, for what runs later."""
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype, enabled=enabled)
