"""U-Net: one network, one answer.

    p(y | x) = prod_i Cat(y_i | softmax f(x)_i)          pixels independent given the image
    loss     = - sum_i log p(y_i | x)                    summed over pixels, averaged over raters and images

With several raters its optimum is the raters' frequency at each pixel: well calibrated, and mute about which masks
occur as a whole. It is the baseline that every distribution must beat.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015. The
layers are by default those of the Probabilistic U-Net (see `nn/unet.py`), so that the two can be compared; the preset
`bbbc010` is the network that the Monte-Carlo-dropout U-Net is compared with.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from plurimask.distribution import SegmentationDistribution
from plurimask.method import Loss, SegmentationMethod, Tiling
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements, summed_cross_entropy
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import pixel_features
from plurimask.nn.unet import UNetFeatures, all_scores, class_scores
from plurimask.noise import Noise, NoisePart


class PixelwiseSegmentation(SegmentationDistribution):
    """One table of class probabilities per pixel. Its samples are all the same map, the most likely one."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape, logits.device, [NoisePart("weights", "index", count=1)])
        self.table = logits.float()  # (B, C, *spatial)

    def scores(self, noise: Noise) -> Tensor:
        return self.table.expand(len(noise[0]), *self.table.shape)


class UNetConfig(UNetSettings):
    sigmoid: bool = Field(False, description="no score for class 0: with two classes, one score and a sigmoid")


class UNet(SegmentationMethod):
    Config = UNetConfig
    summary = "one deterministic U-Net: pixel-wise probabilities, the baseline"
    paper = "Ronneberger et al., U-Net, MICCAI 2015"
    tiling = Tiling(is_exact=True)
    dimensions = (2, 3)
    config: UNetConfig

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        space, widths = config.space, config.channels
        self.features = UNetFeatures(config.image_channels, widths, config.convs_per_scale, config.style, space)
        self.scores = class_scores(widths[0], config.num_classes, config.sigmoid, space.dims)
        initialise(self, config.initialisation)

    def logits(self, images: Tensor) -> Tensor:
        """Class scores `(B, C, *spatial)` of images `(B, K, *spatial)`."""
        return all_scores(pixel_features(self.features, images, self.scores), self.config.num_classes)

    def forward(self, images: Tensor) -> PixelwiseSegmentation:
        return PixelwiseSegmentation(self.logits(images))

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters = judgements(labels)
        logits = self.logits(images)[raters.image]
        total = (raters.weight * summed_cross_entropy(logits, raters.labels)).sum()
        return Loss(total, {"cross_entropy": total.detach()})
