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

import torch
from pydantic import Field, model_validator
from torch import Tensor

from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.method import Loss, SegmentationMethod, Tiling, TrainingStep
from plurimask.nn.energy_score import Distance, energy_score
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements, one_hot
from plurimask.nn.modulated import ModulatedDecoder, Shared
from plurimask.nn.settings import UNetSettings
from plurimask.nn.unet import Decoder, Encoder
from plurimask.noise import Noise, NoisePart


class SampledSegmentation(LatentSegmentation):
    """What samples of B images share, and the scales of the decoder that z changes."""

    def __init__(self, method: EnergyScoreUNet, images: Tensor) -> None:
        self.method, self.images, self.shared = method, images, method.encode(images)
        config, (batch_size, _, *spatial) = method.config, images.shape
        mean = torch.zeros(batch_size, config.latent_dim, device=images.device)
        self.prior: Gaussian = Gaussian(mean, mean)  # N(0, I)
        super().__init__(
            (batch_size, config.num_classes, *spatial),
            images.device,
            [NoisePart("image", "normal", (config.latent_dim,))],
            draw_elements=batch_size * 3 * config.channels[0] * math.prod(spatial),
        )

    def latents(self, noise: Noise) -> tuple[Tensor]:
        return (noise[0].to(self.prior.mean),)

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        z = noise[0] if latents[0] is None else latents[0]
        scores: Tensor = self.method.sampled(self.shared, z.to(self.prior.mean))
        return scores


class EnergyScoreUNetConfig(UNetSettings):
    latent_dim: int = Field(8, ge=1, le=4096, description="dimensions of z")
    sampled_scales: int = Field(2, ge=1, le=11, description="scales of the decoder, from the finest, that z changes")
    sampled_convs: int = Field(2, ge=1, le=32, description="3x3 convolutions at each of them")
    samples_per_step: int = Field(8, ge=2, le=256, description="samples of each image in a step")
    distance: Distance = Field("min-max", description="between soft samples: min-max is that of a proper score")
    has_background: bool = Field(True, description="whether class 0 is background, which no distance counts")
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
        return self


class EnergyScoreUNet(SegmentationMethod):
    Config = EnergyScoreUNetConfig
    summary = "U-Net with a latent vector, trained as a sampler by the energy score of its own samples"
    paper = "Bouchacourt et al., DISCO Nets, NeurIPS 2016; Shen and Meinshausen, Engression, JRSSB 2024"
    tiling = Tiling(is_exact=True)
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
        self.sampled = ModulatedDecoder(
            widths[count::-1], config.sampled_convs, config.latent_dim, config.num_classes, space
        )
        initialise(self, config.initialisation)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> SampledSegmentation:
        return SampledSegmentation(self, images)

    def encode(self, images: Tensor) -> Shared:
        """What samples share, once for images `(B, K, *spatial)`."""
        features, count = self.encoder(images), self.config.sampled_scales
        shared: Shared = self.sampled.shared(self.decoder(features[count:]), features[:count][::-1])
        return shared

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        config, prediction = self.config, self(images)
        noise = prediction.draw_noise(config.samples_per_step, generator)
        logits = prediction.scores(noise).float().view(len(noise[0]), *prediction.logits_shape).flatten(3)
        with torch.autocast(images.device.type, enabled=False):
            raters = judgements(labels)
            weight = torch.zeros(labels.shape[:2], device=labels.device)
            weight[raters.image, raters.rater] = raters.weight
            maps = one_hot(labels.flatten(0, 1), config.num_classes).view(*labels.shape[:2], *logits.shape[2:])
            judged = maps.sum(2)  # (B, R, pixels)
            pixels = -(weight * log_likelihood(logits, maps) / judged.sum(2).clamp(min=1)).sum()
            # One distance for all pairs of an image: of the pixels that all of its raters judged.
            by_all = ((judged > 0) | (weight == 0)[..., None]).all(1)[:, None, None]
            counted = slice(int(config.has_background), None)
            samples = (self.masks(logits)[:, :, counted] * by_all[:, 0]).transpose(0, 1)
            score = energy_score(samples, maps[:, :, counted] * by_all, weight, config.distance).sum()
        terms = {"energy_score": score.detach(), "pixels": pixels.detach()}
        return Loss(score + self.weight_now * pixels, terms)

    def masks(self, logits: Tensor) -> Tensor:
        """What the score sees of samples, `(N, B, C, pixels)`: probabilities, not their most likely classes."""
        return logits.softmax(2)

    @property
    def weight_now(self) -> Tensor:
        """w_t."""
        config = self.config
        share = (self.num_steps / config.early_steps).clamp(max=1)
        return config.early_likelihood_weight + share * (config.likelihood_weight - config.early_likelihood_weight)

    def after_step(self, step: TrainingStep) -> None:
        self.num_steps.add_(1)


def log_likelihood(logits: Tensor, maps: Tensor) -> Tensor:
    """log of the mean over N samples of a pixel's probability, summed over pixels, nats: `(B, R)`.

    Of logits `(N, B, C, pixels)` and one-hot maps `(B, R, C, pixels)`; pixels that are 0 in all classes are left out.
    """
    mean = logits.log_softmax(2).logsumexp(0) - math.log(len(logits))
    return torch.einsum("brcp,bcp->br", maps, mean)
