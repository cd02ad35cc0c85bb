"""Ensemble: several networks that were trained on their own, each one reading of the image.

    p(y | x) = 1/M sum_m p_m(y | x)

Members differ by their initial weights, the order in which they saw the data and the raters that were drawn for them.
They may be of any methods, also of different ones: of a deterministic member every sample is its one map, of a
stochastic one each is a draw. The weights of the members are equal.

Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
NeurIPS 2017; as a baseline of Kohl et al., "A Probabilistic U-Net", NeurIPS 2018, with 16 U-Nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from plurimask.method import Loss, MethodConfig, SegmentationMethod
from plurimask.nn.ensemble import EnsembleSegmentation, tiling_of_members


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
    dimensions = (2, 3)
    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, members: Sequence[SegmentationMethod]) -> None:
        super().__init__(config)
        if len(members) != len(config.members):
            raise ValueError(f"{len(members)} members for the {len(config.members)} of the config: give one for each")
        self.members = nn.ModuleList(members)
        self.tiling = tiling_of_members("members", members)

    def parts(self) -> list[SegmentationMethod]:
        return [member for member in self.members if isinstance(member, SegmentationMethod)]

    def forward(self, images: Tensor) -> EnsembleSegmentation:
        return EnsembleSegmentation([member(images) for member in self.members])

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The sum of the members' losses, for training them together on the same batches; `fit` trains each alone."""
        losses = [member.loss(images, labels, generator) for member in self.parts()]
        total = torch.stack([loss.total for loss in losses]).sum()
        return Loss(total, {f"member_{number}": loss.total.detach() for number, loss in enumerate(losses)})
