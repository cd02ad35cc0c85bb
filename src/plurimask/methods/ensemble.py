"""Ensemble: several networks that were trained on their own, each one reading of the image.

    p(y | x) = 1/M sum_m p_m(y | x)

Members differ by their initial weights, the order in which they saw the data and the raters that were drawn for them.
They may be of any methods, also of different ones: of a deterministic member every sample is its one map, of a
stochastic one each is a draw. The weights of the members are equal.

Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
NeurIPS 2017; as a baseline of Kohl et al., "A Probabilistic U-Net", NeurIPS 2018, with 16 U-Nets.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from plurimask.distribution import MixtureSegmentation, SegmentationDistribution
from plurimask.method import Loss, MethodConfig, SegmentationMethod
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


class EnsembleConfig(MethodConfig):
    members: tuple[str, ...] = Field(
        ("unet",) * 4, min_length=1, max_length=256, description="the method of each member"
    )
    member_settings: dict[str, dict[str, Any]] = Field(
        {}, description="settings of the members, by the name of their method or by their number from 0"
    )

    @field_validator("member_settings", mode="before")
    @classmethod
    def _with_words_as_keys(cls, settings: Any) -> Any:
        """A file may number the members by numbers."""
        return {str(key): value for key, value in settings.items()} if isinstance(settings, dict) else settings

    @model_validator(mode="after")
    def _has_no_ensembles(self) -> EnsembleConfig:
        if "ensemble" in self.members:
            raise ValueError("an ensemble's members are other methods: name those that the inner one would have")
        return self


class Ensemble(SegmentationMethod):
    """It is given the built members too, in the order of the config."""

    Config = EnsembleConfig
    summary = "networks trained independently, of one method or of several: a sample is a member's map"
    paper = "Lakshminarayanan et al., Deep Ensembles, NeurIPS 2017"
    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, members: Sequence[SegmentationMethod]) -> None:
        super().__init__(config)
        if len(members) != len(config.members):
            raise ValueError(f"{len(members)} members for the {len(config.members)} of the config: give one for each")
        self.members = nn.ModuleList(members)

    def parts(self) -> list[SegmentationMethod]:
        return [member for member in self.members if isinstance(member, SegmentationMethod)]

    def forward(self, images: Tensor) -> EnsembleSegmentation:
        return EnsembleSegmentation([member(images) for member in self.members])

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The sum of the members' losses, for training them together on the same batches; `fit` trains each alone."""
        losses = [member.loss(images, labels, generator) for member in self.parts()]
        total = torch.stack([loss.total for loss in losses]).sum()
        return Loss(total, {f"member_{number}": loss.total.detach() for number, loss in enumerate(losses)})
