"""M-heads: one U-Net that branches at its end into M heads, each with its own answer.

    p(y | x) = 1/M sum_m prod_i Cat(y_i | softmax h_m(f(x))_i)
    loss     = sum_m w_m L_m,   L_m = - sum_i log p_m(y_i | x),   w_m = 1 - eps where L_m is least, else eps / (M - 1)

Each rater's map teaches the head that fits it best (and the others a little, so that none is left without a gradient):
heads become hypotheses, and the best of M is good. How often a head is right is not learned: all count alike.

Rupprecht et al., "Learning in an Uncertain World: Representing Ambiguity Through Multiple Hypotheses", ICCV 2017; as a
baseline of Kohl et al., "A Probabilistic U-Net", NeurIPS 2018, with M = 1, 4, 8 and 16. A head has the layers of that
paper's f_comb, so that the two differ by what chooses a map and not by the capacity behind the choice.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from plurimask.distribution import SegmentationDistribution
from plurimask.method import Loss, SegmentationMethod, Tiling
from plurimask.nn.convolution import CONVOLUTION
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements, summed_cross_entropy
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import pixel_features
from plurimask.nn.unet import UNetFeatures
from plurimask.noise import Noise, NoisePart


class MultipleHypotheses(SegmentationDistribution):
    """M tables of class probabilities per pixel, equally likely. Noise is which head."""

    def __init__(self, tables: Tensor) -> None:
        super().__init__(tables.shape[1:], tables.device, [NoisePart("weights", "index", count=len(tables))])
        self.tables = tables  # (M, B, C, *spatial)

    def scores(self, noise: Noise) -> Tensor:
        return self.tables[noise[0].to(self.tables.device)]


class MHeadsConfig(UNetSettings):
    num_heads: int = Field(16, ge=1, le=1024, description="M; one network for each number of samples that is asked for")
    head_convs: int = Field(3, ge=1, le=32, description="1x1 convolutions with ReLU in each head")
    epsilon: float = Field(0.05, gt=0, lt=1, description="share of the gradient for all heads but the best")


class MHeads(SegmentationMethod):
    Config = MHeadsConfig
    summary = "one U-Net with M heads: a sample is a head, and each rater's map teaches the head nearest to it"
    paper = "Rupprecht et al., Learning in an Uncertain World, ICCV 2017"
    tiling = Tiling(is_exact=True)
    dimensions = (2, 3)
    config: MHeadsConfig

    def __init__(self, config: MHeadsConfig) -> None:
        super().__init__(config)
        space, convs = config.space, config.convs_per_scale
        self.features = UNetFeatures(config.image_channels, config.channels, convs, config.style, space)
        conv, width, count = CONVOLUTION[space.dims], config.channels[0], config.num_heads
        layers: list[nn.Module] = []
        for number in range(config.head_convs):  # all heads side by side: grouped convolutions
            before = width * count if number else width
            layers += [conv(before, width * count, 1, groups=count if number else 1), nn.ReLU(inplace=True)]
        self.heads = nn.Sequential(*layers, conv(width * count, config.num_classes * count, 1, groups=count))
        initialise(self, config.initialisation)

    def hypotheses(self, images: Tensor) -> Tensor:
        """Class scores of each head, `(M, B, C, *spatial)`."""
        scores: Tensor = pixel_features(self.features, images, self.heads)
        batch_size, _, *spatial = scores.shape
        return scores.view(batch_size, self.config.num_heads, self.config.num_classes, *spatial).movedim(1, 0)

    def forward(self, images: Tensor) -> MultipleHypotheses:
        return MultipleHypotheses(self.hypotheses(images))

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters, count = judgements(labels), self.config.num_heads
        logits = self.hypotheses(images)[:, raters.image].flatten(0, 1)  # (M * P, C, *spatial)
        repeated = raters.labels.repeat(count, *[1] * (raters.labels.ndim - 1))
        surprise = summed_cross_entropy(logits, repeated).view(count, -1)  # (M, P)
        share = torch.full_like(surprise, self.config.epsilon / max(1, count - 1))
        share.scatter_(0, surprise.detach().argmin(0, keepdim=True), 1 - self.config.epsilon if count > 1 else 1.0)
        total = (raters.weight * (share * surprise).sum(0)).sum()
        best = (raters.weight * surprise.amin(0)).sum() if surprise.numel() else total
        return Loss(total, {"best_head": best.detach()})
