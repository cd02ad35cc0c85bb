"""Dropout U-Net: a U-Net that goes on dropping features when it predicts (Monte-Carlo dropout).

    p(y | x, m) = prod_i Cat(y_i | softmax f(x; m)_i)       m: which elements of some layers' inputs are kept
    p(y | x)    ~ 1/T sum_t p(y | x, m_t)                   m_t drawn anew for each of T samples
    loss        = - sum_i log p(y_i | x, m)                 summed over pixels, averaged over raters and images

Dropout acts with probability 1/2 on the features that come into the three innermost encoder and decoder blocks. As a
variational approximation of a Bayesian network's weights it was proposed by Gal and Ghahramani, "Dropout as a Bayesian
Approximation", ICML 2016; with these blocks, after Kendall, Badrinarayanan and Cipolla, "Bayesian SegNet", BMVC 2017,
it is a baseline of Kohl et al., "A Probabilistic U-Net", NeurIPS 2018. The preset `bbbc010` is the U-Net of 494,009
parameters, batch norm and five dropout layers that was published for C. elegans in BBBC010.

A sample's masks are the same for all images of a batch, and for all images of one size if the generator is seeded
alike: each sample is one network.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from plurimask.distribution import SegmentationDistribution
from plurimask.method import Loss, SegmentationMethod, Tiling
from plurimask.nn.convolution import CONVOLVE
from plurimask.nn.dropout import (
    MonteCarloPasses,
    draw_masks,
    dropped_features,
    innermost_blocks,
    mask_shapes,
    masks_at,
)
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements, summed_cross_entropy
from plurimask.nn.place import here, places_of_tile
from plurimask.nn.settings import UNetSettings
from plurimask.nn.unet import UNetFeatures, all_scores, class_scores
from plurimask.noise import Noise, NoisePart


class DropoutSegmentation(SegmentationDistribution):
    """What no dropout reaches, computed once, and the rest of the network to pass with each sample's masks."""

    def __init__(self, method: DropoutUNet, images: Tensor) -> None:
        self.method, self.size = method, images.shape[2:]
        self.passes = MonteCarloPasses(method.features, images, method.sites, method.config.dropout)
        # The masks themselves would be gigabytes for many samples.
        seeds = NoisePart("weights", "seed")
        shape = (len(images), method.config.num_classes, *self.size)
        super().__init__(shape, images.device, [seeds], self.passes.elements)

    def expand(self, noise: Noise) -> Noise:
        """What each sample keeps, bool `(N, 1, F, *spatial)`, of each layer that is dropped."""
        if noise[0].dtype == torch.bool:
            return noise
        samples = [self._masks(seed) for seed in noise[0].tolist()]
        return tuple(torch.stack(of_layer) for of_layer in zip(*samples, strict=True))

    def _masks(self, seed: int) -> tuple[Tensor, ...]:
        """Those of an image, or of a tile of it, which has its part of the same."""
        shapes, probability, place = self.method.mask_shapes(self.size), self.method.config.dropout, here()
        if place is None:
            return draw_masks(1, shapes, probability, torch.Generator().manual_seed(seed))
        boxes = [places_of_tile(place, shape[1:]) for shape in shapes]
        return masks_at(seed, self.method.mask_shapes(torch.Size(place.whole)), boxes, probability)

    def scores(self, noise: Noise) -> Tensor:
        features, last = self.passes(self.expand(noise)), self.method.scores
        assert last.bias is not None
        with torch.autocast(features.device.type, enabled=False):
            scores = CONVOLVE[len(self.size)](features, last.weight.to(features), last.bias.to(features))
        return all_scores(scores.float(), self.method.config.num_classes)


class DropoutUNetConfig(UNetSettings):
    dropout: float = Field(0.5, gt=0, le=0.99, description="probability that an element is dropped")
    dropout_encoder_blocks: int = Field(3, ge=0, le=32, description="innermost encoder blocks whose input is dropped")
    dropout_decoder_blocks: int = Field(3, ge=0, le=32, description="innermost decoder blocks whose input is dropped")
    sigmoid: bool = Field(False, description="no score for class 0: with two classes, one score and a sigmoid")

    @model_validator(mode="after")
    def _drops_something(self) -> DropoutUNetConfig:
        if self.dropout_encoder_blocks + self.dropout_decoder_blocks == 0:
            raise ValueError("no block is dropped: give dropout_encoder_blocks or dropout_decoder_blocks above 0")
        return self


class DropoutUNet(SegmentationMethod):
    Config = DropoutUNetConfig
    summary = "a U-Net with dropout in training and when it predicts: a sample is a pass with other masks"
    paper = "Gal and Ghahramani, Dropout as a Bayesian Approximation, ICML 2016; Kendall et al., Bayesian SegNet, 2017"
    tiling = Tiling(is_exact=True)
    dimensions = (2, 3)
    config: DropoutUNetConfig

    def __init__(self, config: DropoutUNetConfig) -> None:
        super().__init__(config)
        space, widths = config.space, config.channels
        self.features = UNetFeatures(config.image_channels, widths, config.convs_per_scale, config.style, space)
        self.scores = class_scores(widths[0], config.num_classes, config.sigmoid, space.dims)
        self.sites = innermost_blocks(len(widths), config.dropout_encoder_blocks, config.dropout_decoder_blocks)
        initialise(self, config.initialisation)

    def mask_shapes(self, size: torch.Size) -> list[tuple[int, ...]]:
        """`(F, *spatial)` of each layer that is dropped, for images of a size."""
        return mask_shapes(self.config.channels, size, self.sites, self.config.space)

    def forward(self, images: Tensor) -> DropoutSegmentation:
        return DropoutSegmentation(self, images)

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters = judgements(labels)
        masks = draw_masks(len(images), self.mask_shapes(images.shape[2:]), self.config.dropout, generator)
        on_device = [mask.to(images.device) for mask in masks]
        features = dropped_features(self.features, images, on_device, self.sites, self.config.dropout)
        logits = all_scores(self.scores(features), self.config.num_classes)[raters.image]
        total = (raters.weight * summed_cross_entropy(logits, raters.labels)).sum()
        return Loss(total, {"cross_entropy": total.detach()})
