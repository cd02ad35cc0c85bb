"""What every method predicts: a distribution over the label maps of a batch of images.

    images (B, K, *spatial) --method--> SegmentationDistribution --sample(N)--> label maps (N, B, *spatial)

A distribution is *noise plus a decoder*: `draw_noise` gives base noise that knows nothing of the image, `logits` is a
pure function from noise to class scores. All that is shared by the samples (encoded features, a prior) is held by the
object, so it is computed once, whatever the number of samples.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

IGNORE = 255
"""The label of a pixel that nobody judged. An absent rater is a map of IGNORE; one who saw nothing is one of 0."""

MAX_CHUNK_ELEMENTS = 2**24
"""Samples are decoded in chunks of at most this many logits (64 MB of float32), so that memory is bounded."""

_NORMAL_GROUP = 16

Noise: TypeAlias = Tensor | tuple[Tensor, ...]


class Generators(NamedTuple):
    """Random numbers for a batch whose images keep their own draws, whatever images are beside them."""

    shared: torch.Generator
    """For noise that belongs to weights: dropout masks, members of an ensemble."""
    images: tuple[torch.Generator, ...]
    """One per image, for noise that belongs to an image."""


RandomSource: TypeAlias = torch.Generator | Generators | None


def normal_noise(num_samples: int, batch_size: int, shape: Sequence[int], source: RandomSource = None) -> Tensor:
    """Standard normal draws `(N, B, *shape)`, float32 on the CPU: a seed means the same on every device.

    The first samples are the same however many are drawn.
    """
    # torch draws numbers in groups of 16, and others where the last group is not full.
    whole = -(-num_samples // _NORMAL_GROUP) * _NORMAL_GROUP
    if not isinstance(source, Generators):
        return torch.randn(whole, batch_size, *shape, generator=source)[:num_samples]
    if len(source.images) != batch_size:
        raise ValueError(f"{len(source.images)} generators for a batch of {batch_size} images: give one per image")
    return torch.stack([torch.randn(whole, *shape, generator=one)[:num_samples] for one in source.images], dim=1)


def shared_generator(source: RandomSource) -> torch.Generator | None:
    """The generator for noise that belongs to weights."""
    return source.shared if isinstance(source, Generators) else source


def balanced_indices(count: int, num_samples: int, generator: torch.Generator | None) -> Tensor:
    """`(N,)` indices below `count` in random order: each once before any comes again."""
    rounds = [torch.randperm(count, generator=generator) for _ in range(0, num_samples, count)]
    return torch.cat([*rounds, torch.empty(0, dtype=torch.long)])[:num_samples]


class SegmentationDistribution(abc.ABC):
    """p(label maps | images) for a batch of B images with C classes."""

    @property
    @abc.abstractmethod
    def logits_shape(self) -> torch.Size:
        """`(B, C, *spatial)`: the shape of one draw's logits."""

    @property
    def draw_elements(self) -> int:
        """How many numbers decoding one draw holds at once: the logits, or more where much is computed per draw."""
        return math.prod(self.logits_shape)

    @abc.abstractmethod
    def draw_noise(self, num_samples: int, generator: RandomSource = None) -> Noise:
        """Base noise for N samples: a CPU tensor, or a tuple of them, each with the N samples leading."""

    @abc.abstractmethod
    def logits(self, noise: Noise) -> Tensor:
        """Class scores `(N, B, C, *spatial)`, float32: a pure function of the noise."""

    def sample(self, num_samples: int, generator: RandomSource = None) -> Tensor:
        """N label maps `(N, B, *spatial)`, uint8: the most likely map of each draw."""
        maps = [most_likely(chunk) for chunk in self.logit_chunks(self.draw_noise(num_samples, generator))]
        return torch.cat(maps) if len(maps) != 1 else maps[0]

    def freeze(self, num_samples: int, generator: RandomSource = None) -> MixtureSegmentation:
        """N fixed draws as an equally weighted mixture, on which every statistic is exact and mutually consistent.

        Where there is a finite number of components it is those, whatever N is.
        """
        return self.components() or MixtureSegmentation(self, self.draw_noise(num_samples, generator))

    def components(self) -> MixtureSegmentation | None:
        """All that can be drawn, with exact weights, where that is a finite number of maps; None where it is not."""
        return None

    @property
    def has_closed_form(self) -> bool:
        """Whether mean, entropy, mutual information, variance and log_prob need no draws."""
        return False

    def mean(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        """Class probabilities `(B, C, *spatial)`: the mean over draws of the softmax."""
        return self.freeze(num_samples, generator).mean()

    def entropy(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        """Entropy of the mean probabilities `(B, *spatial)` in nats, from 0 to ln C: the whole uncertainty."""
        return self.freeze(num_samples, generator).entropy()

    def mutual_information(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        """Entropy of the mean less the mean entropy of the draws `(B, *spatial)`, nats: how far the draws disagree."""
        return self.freeze(num_samples, generator).mutual_information()

    def variance(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        """Variance over draws of each class's probability `(B, C, *spatial)`, from 0 to 1/4."""
        return self.freeze(num_samples, generator).variance()

    def log_prob(self, labels: Tensor, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        """log p(whole label map | image) in nats, `(B, R)`, for labels `(B, R, *spatial)`; IGNORE pixels do not count.

        The Monte-Carlo estimate log 1/N sum_n p(labels | draw n): a lower bound of the truth in expectation.
        """
        return self.freeze(num_samples, generator).log_prob(labels)

    def logit_chunks(self, noise: Noise) -> Iterator[Tensor]:
        """The logits of `noise`, a bounded number of samples at a time."""
        num_samples = len(noise[0]) if isinstance(noise, tuple) else len(noise)
        if num_samples == 0:
            raise ValueError("0 samples were asked for: at least 1 is needed")
        step = max(1, MAX_CHUNK_ELEMENTS // self.draw_elements)
        for start in range(0, num_samples, step):
            yield self.logits(take(noise, slice(start, start + step)))


class MixtureSegmentation(SegmentationDistribution):
    """A finite mixture of M components: frozen draws of another distribution, or heads, or the members of an ensemble.

    Its statistics enumerate the components, so they are exact, and the number of samples asked for does not matter to
    them. `sample` gives each of equally weighted components once before any repeats.

    Args:
        base: what decodes the components.
        noise: the base's noise, one entry per component.
        weights: `(M,)`, positive; equal if not given.
    """

    def __init__(self, base: SegmentationDistribution, noise: Noise, weights: Tensor | None = None) -> None:
        self.base, self.noise = base, noise
        self.num_components = len(noise[0]) if isinstance(noise, tuple) else len(noise)
        self.is_uniform = weights is None
        weights = torch.ones(self.num_components) if weights is None else weights.detach().cpu().float()
        if weights.shape != (self.num_components,) or not bool((weights > 0).all()):
            raise ValueError(f"weights must be {self.num_components} positive numbers, one a component, not {weights}")
        self.weights = weights / weights.sum()

    @property
    def logits_shape(self) -> torch.Size:
        return self.base.logits_shape

    def draw_noise(self, num_samples: int, generator: RandomSource = None) -> Tensor:
        """Component indices `(N,)`."""
        random, count = shared_generator(generator), self.num_components
        if self.is_uniform:
            return balanced_indices(count, num_samples, random)
        # Systematic draws: the count of each component is its expectation rounded up or down; the order is random.
        points = (torch.arange(num_samples) + torch.rand(1, generator=random)) / num_samples
        indices = torch.searchsorted(self.weights.cumsum(0), points).clamp(max=count - 1)
        return indices[torch.randperm(num_samples, generator=random)]

    def logits(self, noise: Noise) -> Tensor:
        assert isinstance(noise, Tensor)
        return self.base.logits(take(self.noise, noise))

    @property
    def draw_elements(self) -> int:
        return self.base.draw_elements

    def components(self) -> MixtureSegmentation:
        return self

    @property
    def has_closed_form(self) -> bool:
        return True

    def sample(self, num_samples: int, generator: RandomSource = None) -> Tensor:
        maps = self.statistics.maps
        return maps[self.draw_noise(num_samples, generator).to(maps.device)]

    @cached_property
    def statistics(self) -> Statistics:
        """All statistics of the components in one streamed pass, `Statistics`."""
        maps, weight, start = [], 0.0, 0
        mean = expected_entropy = scatter = torch.zeros(())
        for logits in self.base.logit_chunks(self.noise):
            maps.append(most_likely(logits))
            share = self.weights[start : start + len(logits)].to(logits.device)
            probabilities = logits.softmax(2)
            expected_entropy = expected_entropy + torch.einsum("n,n...->...", share, entropy(probabilities, dim=2))
            # Chan's update of mean and scatter: sums of squares, so that a variance cannot become negative.
            chunk_weight, start = float(share.sum()), start + len(logits)
            chunk_mean = torch.einsum("n,n...->...", share / chunk_weight, probabilities)
            chunk_scatter = torch.einsum("n,n...->...", share, (probabilities - chunk_mean).square())
            shift, total = chunk_mean - mean, weight + chunk_weight
            scatter = scatter + chunk_scatter + shift.square() * (weight * chunk_weight / total)
            mean, weight = mean + shift * (chunk_weight / total), total
        return Statistics(torch.cat(maps), mean, expected_entropy, scatter)

    def mean(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        return self.statistics.mean

    def entropy(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        return entropy(self.statistics.mean, dim=1)

    def mutual_information(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        return (self.entropy() - self.statistics.expected_entropy).clamp(min=0)

    def variance(self, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        return self.statistics.variance

    def log_prob(self, labels: Tensor, num_samples: int = 16, generator: RandomSource = None) -> Tensor:
        valid = labels != IGNORE
        index = labels.masked_fill(~valid, 0).long()
        log_weights, scores = self.weights.log().to(labels.device), []
        for logits in self.base.logit_chunks(self.noise):
            pixels = logits.log_softmax(2).gather(2, index.expand(len(logits), *index.shape))
            scores.append(pixels.masked_fill(~valid, 0).flatten(3).sum(3))
        return (torch.cat(scores) + log_weights[:, None, None]).logsumexp(0)


class Statistics(NamedTuple):
    """Exact statistics of a mixture of M components."""

    maps: Tensor  # (M, B, *spatial) uint8: the most likely map of each component
    mean: Tensor  # (B, C, *spatial)
    expected_entropy: Tensor  # (B, *spatial), nats
    variance: Tensor  # (B, C, *spatial)


def most_likely(logits: Tensor) -> Tensor:
    """The most likely class `(N, B, *spatial)`, uint8, of logits `(N, B, C, *spatial)`; of equals, the first.

    One pass per class: argmax over a dimension that is not the innermost is many times slower on a processor.
    """
    best, winner = logits[:, :, 0], torch.zeros_like(logits[:, :, 0], dtype=torch.uint8)
    for index in range(1, logits.shape[2]):
        winner.masked_fill_(logits[:, :, index] > best, index)
        if index + 1 < logits.shape[2]:
            best = torch.maximum(best, logits[:, :, index])
    return winner


def entropy(probabilities: Tensor, dim: int) -> Tensor:
    """-sum p ln p over `dim`, in nats; 0 ln 0 = 0."""
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(dim)


def take(noise: Noise, index: slice | Tensor) -> Noise:
    """The samples `index` of a noise."""
    return tuple(part[index] for part in noise) if isinstance(noise, tuple) else noise[index]
