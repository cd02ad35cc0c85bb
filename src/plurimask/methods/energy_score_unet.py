"""A U-Net that is trained as a sampler, by the score that judges samplers.

    sample   s = softmax f(x, z),   z ~ N(0, I)                    one vector z for the whole image
    loss     2 mean_(i, r) d(s_i, y_r) - mean_(i != j) d(s_i, s_j)  +  w_t mean_pixels - log mean_i s_i[y]

The first two terms are the energy score of n samples s of an image and its raters' maps y. With d of negative type,
E d(P, P') + E d(Q, Q') <= 2 E d(P, Q) for any two laws, so over all laws P of samples the expected score

    2 E d(P, Q) - E d(P, P')  =  D^2(P, Q) + E d(Q, Q'),    D^2(P, Q) = 2 E d(P, Q) - E d(P, P') - E d(Q, Q') >= 0

is least at the law Q of the raters: it is a proper scoring rule, and D^2 is the GED squared by which methods are
compared, but for d: 1 - IoU of hard masks there, the weighted Jaccard (Ruzicka) distance of soft ones here, which has a
gradient and is of negative type too (`nn/energy_score.py`). Pairs i = j are left out, so that the mean over n samples
is unbiased, and so is its gradient. There is no posterior network, no bound and no KL term that could collapse.

The last term, the likelihood of the mean of the samples, teaches where anything is while no sample overlaps with any
rater, where d has no gradient. Its weight w_t falls from `early_likelihood_weight` to `likelihood_weight` over
`early_steps`.

Encoder and coarse decoder run once for an image. In the last scales of the decoder z scales and shifts the features;
they run as one batch of all samples.

Bouchacourt, Mudigonda and Nowozin, "DISCO Nets: DISsimilarity COefficient Networks", NeurIPS 2016; Shen and
Meinshausen, "Engression: Extrapolation through the Lens of Distributional Regression", JRSSB 2024; Wang et al.,
"Jaccard Metric Losses: Optimizing the Jaccard Index with Soft Labels", NeurIPS 2023. arXiv:2605.08210 (2026) adds such
a term to the loss of a Probabilistic U-Net.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.method import Loss, SegmentationMethod, Tiling, TrainingStep
from plurimask.nn.energy_score import (
    Distance,
    EnergySamples,
    HasBackground,
    log_likelihood,
    mean_per_pixel,
    mean_score,
    rater_maps,
)
from plurimask.nn.initialisation import initialise
from plurimask.nn.modulated import HeadOfSamples, ModulatedDecoder
from plurimask.nn.settings import UNetSettings
from plurimask.nn.unet import Decoder, Encoder
from plurimask.noise import Noise, NoisePart


class SampledSegmentation(LatentSegmentation):
    """What samples of B images share, and the part of the network that z enters."""

    def __init__(self, method: EnergyScoreUNet, images: Tensor) -> None:
        self.method, self.images, self.shared = method, images, method.encode(images)
        config, (batch_size, _, *spatial) = method.config, images.shape
        self.prior: Gaussian | None = None
        if config.latent_stride is None:
            mean = torch.zeros(batch_size, config.latent_dim, device=images.device)
            self.prior = Gaussian(mean, mean)  # N(0, I)
            part = NoisePart("image", "normal", (config.latent_dim,))
        else:
            grid = (math.ceil(length / config.latent_stride) for length in spatial)
            strides = (config.latent_stride,) * len(spatial)
            part = NoisePart("places", "normal", (config.latent_dim, *grid), stride=strides)
        held = (
            (3 if config.latent_stride is None else 5) if config.sampled_scales else 0
        )  # maps of features for a sample
        super().__init__(
            (batch_size, config.num_classes, *spatial),
            images.device,
            [part],
            draw_elements=batch_size * held * config.channels[0] * math.prod(spatial),
        )

    def latents(self, noise: Noise) -> tuple[Tensor]:
        return (noise[0].to(self.images),)

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        z = noise[0] if latents[0] is None else latents[0]
        scores: Tensor = self.method.sampled(self.shared, z.to(self.images))
        return scores


class EnergyScoreUNetConfig(UNetSettings):
    latent_dim: int = Field(8, ge=1, le=4096, description="dimensions of z")
    latent_stride: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="pixels along each side that a z of its own is for; not given: one for the image",
    )
    sampled_scales: int = Field(
        2, ge=0, le=11, description="scales of the decoder, from the finest, that z changes; 0: a head behind it does"
    )
    sampled_convs: int = Field(2, ge=1, le=32, description="3x3 convolutions at each of them")
    samples_per_step: EnergySamples = 8
    distance: Distance = Field("min-max", description="between soft samples: min-max is that of a proper score")
    has_background: HasBackground = True
    early_likelihood_weight: float = Field(10.0, ge=0, le=1e6, description="weight of the pixels' likelihood at first")
    early_steps: int = Field(300, ge=1, le=10**9, description="steps in which it falls to likelihood_weight")
    likelihood_weight: float = Field(1.0, ge=0, le=1e6, description="weight of the pixels' likelihood in the end")

    @model_validator(mode="after")
    def _has_shared_scales(self) -> EnergyScoreUNetConfig:
        if self.sampled_scales >= len(self.channels):
            raise ValueError(
                f"sampled_scales {self.sampled_scales}: the decoder of channels {self.channels} has "
                f"{len(self.channels) - 1} scales; give at most so many"
            )
        if self.latent_stride is not None and self.sampled_scales == 0:
            raise ValueError(
                f"latent_stride {self.latent_stride}: a head takes one z for the whole image; give sampled_scales of "
                "at least 1, or leave latent_stride out"
            )
        coarsest = max(self.space.total_strides(max(1, self.sampled_scales))[-1])
        if self.latent_stride is not None and self.latent_stride % coarsest:
            raise ValueError(
                f"latent_stride {self.latent_stride}: the coarsest of the sampled scales has a place for every "
                f"{coarsest} pixels; give a multiple of {coarsest}"
            )
        return self


class EnergyScoreUNet(SegmentationMethod):
    Config = EnergyScoreUNetConfig
    summary = "U-Net with a latent vector, trained as a sampler by the energy score of its own samples"
    paper = "Bouchacourt et al., DISCO Nets, NeurIPS 2016; Shen and Meinshausen, Engression, JRSSB 2024"
    dimensions = (2, 3)
    uses_all_raters = True
    config: EnergyScoreUNetConfig
    num_steps: Tensor
    """`()`, int64: training steps so far."""

    def __init__(self, config: EnergyScoreUNetConfig) -> None:
        super().__init__(config)
        widths, count, convs, space = config.channels, config.sampled_scales, config.convs_per_scale, config.space
        self.encoder = Encoder(config.image_channels, widths, convs, config.style, space)
        self.decoder = Decoder(widths[count:], convs, config.style, space.coarser(count))
        self.sampled: ModulatedDecoder | HeadOfSamples
        if count:
            shape = config.sampled_convs, config.latent_dim, config.num_classes, space, config.latent_stride or 0
            self.sampled = ModulatedDecoder(widths[count::-1], *shape)
        else:
            self.sampled = HeadOfSamples(widths[0], config.latent_dim, config.num_classes)
        # Scale and shift are read between places: near the border of a tile they are not those of the whole image.
        self.tiling = Tiling(is_exact=config.latent_stride is None)
        initialise(self, config.initialisation)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(math.lcm(own, self.config.latent_stride or 1) for own in super().strides)

    def forward(self, images: Tensor) -> SampledSegmentation:
        return SampledSegmentation(self, images)

    def encode(self, images: Tensor) -> Any:
        """What samples share, once for images `(B, K, *spatial)`."""
        features, count = self.encoder(images), self.config.sampled_scales
        return self.sampled.shared(self.decoder(features[count:]), features[:count][::-1])

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        config, prediction = self.config, self(images)
        noise = prediction.draw_noise(config.samples_per_step, generator)
        logits = prediction.scores(noise).float().view(len(noise[0]), *prediction.logits_shape).flatten(3)
        with torch.autocast(images.device.type, enabled=False):
            raters = rater_maps(labels, config.num_classes)
            pixels = mean_per_pixel(self.pixel_score(logits, raters.maps), raters)
            score = mean_score(self.masks(logits), raters, config.has_background, config.distance)
        terms = {"energy_score": score.detach(), "pixels": pixels.detach()}
        return Loss(score + self.weight_now * pixels, terms)

    def masks(self, logits: Tensor) -> Tensor:
        """What the score sees of samples, `(N, B, C, pixels)`: probabilities, not their most likely classes."""
        return logits.softmax(2)

    def pixel_score(self, logits: Tensor, maps: Tensor) -> Tensor:
        """What the samples' mean is charged for the pixels of each rater's map, summed over pixels: `(B, R)`."""
        return -log_likelihood(logits, maps)

    @property
    def weight_now(self) -> Tensor:
        """w_t."""
        config = self.config
        share = (self.num_steps / config.early_steps).clamp(max=1)
        return config.early_likelihood_weight + share * (config.likelihood_weight - config.early_likelihood_weight)

    def after_step(self, step: TrainingStep) -> None:
        self.num_steps.add_(1)
