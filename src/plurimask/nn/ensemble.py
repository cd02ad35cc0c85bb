"""What several networks predict together: each sample is decoded by one of them, all equally likely."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from plurimask.distribution import MixtureSegmentation, SegmentationDistribution
from plurimask.method import SegmentationMethod, Tiling
from plurimask.noise import Noise, NoisePart, take


class EnsembleSegmentation(SegmentationDistribution):
    """The members' distributions, equally weighted. Noise is who decodes each sample, then the noise of each member."""

    def __init__(self, members: Sequence[SegmentationDistribution]) -> None:
        self.members = [member.components() or member for member in members]
        who = NoisePart("weights", "index", count=len(members))
        super().__init__(
            members[0].logits_shape,
            torch.device("cpu"),
            [who, *itertools.chain.from_iterable(member.noise for member in self.members)],
            max(member.draw_elements for member in self.members),
        )

    def scores(self, noise: Noise) -> Tensor:
        (who, *rest), logits = noise, None
        for number, own in enumerate(self._by_member(rest)):
            chosen = (who == number).nonzero().flatten()
            if len(chosen):
                drawn = self.members[number].logits(take(own, chosen))
                logits = drawn.new_empty(len(who), *self.logits_shape) if logits is None else logits
                logits[chosen.to(drawn.device)] = drawn
        assert logits is not None
        return logits

    def expand(self, noise: Noise) -> Noise:
        pairs = zip(self.members, self._by_member(noise[1:]), strict=True)
        return (noise[0], *itertools.chain.from_iterable(member.expand(own) for member, own in pairs))

    def _by_member(self, noise: Sequence[Tensor]) -> Iterator[Noise]:
        """The noise of each member."""
        remaining = iter(noise)
        return (tuple(itertools.islice(remaining, len(member.noise))) for member in self.members)

    def components(self) -> MixtureSegmentation | None:
        """The components of all members, where each has a finite number of them."""
        finite = [member for member in self.members if isinstance(member, MixtureSegmentation)]
        if len(finite) < len(self.members):
            return None
        counts = [member.num_components for member in finite]
        who = torch.arange(len(finite)).repeat_interleave(torch.tensor(counts))
        own = [torch.zeros_like(who).masked_scatter_(who == m, torch.arange(count)) for m, count in enumerate(counts)]
        weights = torch.cat([member.weights for member in finite]).tolist()
        return MixtureSegmentation(self, (who, *own), None if len(set(weights)) == 1 else weights)


def tiling_of_members(path: str, members: Sequence[SegmentationMethod]) -> Tiling:
    """How tiles fit together of what is predicted by several methods; of one alone `path` is its own, else a list's."""
    names = [f"{path}.{number}" for number in range(len(members))] if path == "members" else [path]
    return Tiling(
        all(member.tiling.is_exact for member in members),
        tuple(f"{name}.{own}" for name, member in zip(names, members, strict=True) for own in member.tiling.averages),
        tuple(math.lcm(*axis) for axis in zip(*(member.strides for member in members), strict=True)),
    )
